// Files of sparse llamas of any size for benchmarks: q4_0 weights that are noise, with predictors.
//
// Neurons fire as often as a power law says, the hottest ones first in the file. What decides it,
// the row of the gate, is a sum of a few of the layer's random sign rows P, times a scale that
// makes it exceed 1 as often as it shall; fc1 = [P; -P] and fc2 hold the same sum, as
// relu(z) - relu(-z) = z, so that the predictor selects the neurons that fire. All other rows are
// random bits.
#pragma once

#include "error.h"
#include "gguf_writer.h"
#include "half.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace bench {

using powerinfer::DType;

struct ModelShape {
    const char* name;
    int n_layers;
    int dim;
    int hidden_dim;
    int n_heads;
    int n_kv_heads;
    int vocab_size;
    int rank;

    int kv_dim() const { return dim / n_heads * n_kv_heads; }
};

inline constexpr ModelShape kModelShapes[] = {
    {"tiny", 2, 256, 1280, 8, 4, 512, 128},
    {"1b", 22, 2048, 5632, 32, 4, 32000, 512},
    {"7b", 32, 4096, 11008, 32, 32, 32000, 1024},
};

inline const ModelShape* find_shape(std::string_view name) {
    for (const ModelShape& shape : kModelShapes) {
        if (name == shape.name) {
            return &shape;
        }
    }
    return nullptr;
}

// Noise that any thread can begin anywhere.
inline uint64_t mix(uint64_t z) {
    z += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

class RandomModel {
public:
    explicit RandomModel(const ModelShape& shape, double active_share = 0.1)
        : shape_(shape), scales_(test_scales(shape.hidden_dim, active_share)) {
        writer_.magic = "PWRI";
        writer_.pads_last_tensor = false;
        add_metadata();
        add_tensors();
    }

    // With as many threads as there are processors.
    void write(const std::string& path) {
        const test::Bytes header = writer_.build();
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(header.data()), std::ssize(header));
        const size_t data = aligned(writer_.header_bytes());
        std::atomic<size_t> next = 0;
        std::atomic<bool> is_good = true;
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
            threads.emplace_back([&] {
                std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
                std::vector<uint8_t> bytes;
                for (size_t t = next++; t < fills_.size(); t = next++) {
                    bytes.resize(fills_[t].n_bytes);
                    fills_[t].fill(bytes.data());
                    file.seekp(static_cast<std::streamoff>(data + fills_[t].offset));
                    file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
                }
                is_good = file.flush().good() && is_good;
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        PI_CHECK(is_good, io, "cannot write %s", path.c_str());
    }

private:
    static constexpr int kBlock = 32;
    static constexpr size_t kBlockBytes = 18;
    static constexpr int kTerms = 14; // of a test; halved, their sum is one of -7..7
    static constexpr double kThreshold = 1.0;
    // Of the residual's variance, by each branch. So small that its size, which predictors see
    // without a norm, stays 1.
    static constexpr double kGrowth = 2e-4;
    static constexpr double kNibbleDeviation = 4.61; // of 0..15 in equal shares

    struct Fill {
        size_t offset; // in the data
        size_t n_bytes;
        std::function<void(uint8_t*)> fill;
    };

    static size_t aligned(size_t n) { return (n + 31) / 32 * 32; }
    // P(standard normal > x)
    static double tail(double x) { return 0.5 * std::erfc(x / std::sqrt(2.0)); }

    // Deviations of the neurons' tests, hottest first.
    static std::vector<double> test_scales(int n, double share) {
        constexpr double kSkew = 1.44; // as measured with models that exist
        constexpr double kMost = 0.45; // a test of mean 0 cannot exceed 1 more often than 0.5
        constexpr double kLeast = 1e-4;
        const auto probability = [&](int i, double level) {
            return std::clamp(level * std::pow((i + 0.5) / n, -kSkew), kLeast, kMost);
        };
        double low = 0;
        double high = 1;
        for (int step = 0; step < 60; ++step) {
            const double level = (low + high) / 2;
            double mean = 0;
            for (int i = 0; i < n; ++i) {
                mean += probability(i, level) / n;
            }
            (mean > share ? high : low) = level;
        }
        std::vector<double> scales;
        for (int i = 0; i < n; ++i) {
            double near = 0;
            double far = 6;
            for (int step = 0; step < 50; ++step) {
                const double x = (near + far) / 2;
                (tail(x) > probability(i, low) ? near : far) = x;
            }
            scales.push_back(kThreshold / near);
        }
        return scales;
    }

    // Of a down row.
    double down_scale() const {
        double energy = 0; // of the inputs of a down projection: gate, where it fires, times up
        for (const double scale : scales_) {
            const double x = kThreshold / scale;
            const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
            energy += scale * scale * (x * density + tail(x));
        }
        return std::sqrt(kGrowth / energy) / kNibbleDeviation;
    }

    void add_metadata() {
        const auto u32 = [&](const char* key, int value) {
            writer_.add_u32(std::string("llama.") + key, static_cast<uint32_t>(value));
        };
        const auto f32 = [&](const char* key, double value) {
            writer_.add(key, test::MetaType::f32, static_cast<float>(value));
        };
        writer_.add_string("general.architecture", "llama");
        u32("context_length", 4096);
        u32("embedding_length", shape_.dim);
        u32("feed_forward_length", shape_.hidden_dim);
        u32("block_count", shape_.n_layers);
        u32("attention.head_count", shape_.n_heads);
        u32("attention.head_count_kv", shape_.n_kv_heads);
        f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
        f32("powerinfer.fatrelu_threshold", kThreshold);
        f32("powerinfer.sparse_threshold", kThreshold);
    }

    void add_tensors() {
        const int dim = shape_.dim;
        const double unit = 1.0 / (kNibbleDeviation * std::sqrt(dim)); // products of deviation 1
        noise("token_embd.weight", shape_.vocab_size, dim, 1.0 / kNibbleDeviation);
        noise("output.weight", shape_.vocab_size, dim, 2.0 * unit);
        norm("output_norm.weight");
        for (int i = 0; i < shape_.n_layers; ++i) {
            const std::string block = "blk." + std::to_string(i) + ".";
            norm(block + "attn_norm.weight");
            norm(block + "ffn_norm.weight");
            noise(block + "attn_q.weight", dim, dim, unit);
            noise(block + "attn_k.weight", shape_.kv_dim(), dim, unit);
            noise(block + "attn_v.weight", shape_.kv_dim(), dim, unit);
            noise(block + "attn_output.weight", dim, dim, unit * std::sqrt(kGrowth));
            noise(block + "ffn_up.weight", shape_.hidden_dim, dim, unit);
            noise(block + "ffn_down_t.weight", shape_.hidden_dim, dim, down_scale());
            q4_0(block + "ffn_gate.weight", shape_.hidden_dim, dim, [this, i](uint8_t* out) {
                fill_gate(out, i);
            });
            q4_0(block + "fc1.weight", shape_.rank, dim, [this, i](uint8_t* out) {
                fill_fc1(out, i);
            });
            q4_0(block + "fc2.weight", shape_.hidden_dim, shape_.rank, [this, i](uint8_t* out) {
                fill_fc2(out, i);
            });
        }
    }

    void add(
        const std::string& name,
        DType type,
        std::vector<uint64_t> ne,
        size_t n_bytes,
        std::function<void(uint8_t*)> fill
    ) {
        test::WriterTensor tensor{name, static_cast<uint32_t>(type), std::move(ne), {}};
        tensor.offset = n_data_;
        writer_.tensors.push_back(std::move(tensor));
        fills_.push_back({n_data_, n_bytes, std::move(fill)});
        n_data_ = aligned(n_data_ + n_bytes);
    }

    void q4_0(const std::string& name, int rows, int cols, std::function<void(uint8_t*)> fill) {
        const std::vector<uint64_t> ne = {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)};
        add(name, DType::q4_0, ne, ne[1] * row_bytes(cols), std::move(fill));
    }

    void norm(const std::string& name) {
        const auto n = static_cast<size_t>(shape_.dim);
        add(name, DType::f32, {n}, n * sizeof(float), [n](uint8_t* out) {
            const std::vector<float> ones(n, 1.0F);
            std::memcpy(out, ones.data(), n * sizeof(float));
        });
    }

    void noise(const std::string& name, int rows, int cols, double scale) {
        const uint64_t seed = mix(fills_.size());
        const size_t n_blocks = static_cast<size_t>(rows) * static_cast<size_t>(cols) / kBlock;
        q4_0(name, rows, cols, [seed, n_blocks, scale](uint8_t* out) {
            const uint16_t half = powerinfer::f32_to_f16(static_cast<float>(scale));
            for (size_t b = 0; b < n_blocks; ++b) {
                const uint64_t words[2] = {mix(seed + 2 * b), mix(seed + 2 * b + 1)};
                std::memcpy(out + b * kBlockBytes, &half, sizeof half);
                std::memcpy(out + b * kBlockBytes + sizeof half, words, sizeof words);
            }
        });
    }

    // ---- the test of a neuron ----

    struct Term {
        int row; // of P
        int sign;
    };

    int n_projections() const { return shape_.rank / 2; }

    static size_t row_bytes(int cols) { return static_cast<size_t>(cols) / kBlock * kBlockBytes; }

    // P, (n_projections, dim) of +1 and -1.
    std::vector<int8_t> projections(int layer) const {
        std::vector<int8_t> signs(
            static_cast<size_t>(n_projections()) * static_cast<size_t>(shape_.dim)
        );
        const uint64_t seed = mix(0x10000U + static_cast<uint64_t>(layer));
        for (size_t i = 0; i < signs.size(); ++i) {
            signs[i] = (mix(seed + i / 64) >> i % 64 & 1) != 0 ? 1 : -1;
        }
        return signs;
    }

    std::array<Term, kTerms> terms(int layer, int neuron) const {
        std::array<Term, kTerms> found{};
        uint64_t state =
            mix(mix(0x20000U + static_cast<uint64_t>(layer)) + static_cast<uint64_t>(neuron));
        for (int k = 0; k < kTerms;) {
            state = mix(state);
            const int row = static_cast<int>(state % static_cast<uint64_t>(n_projections()));
            const auto* end = found.begin() + k;
            if (std::none_of(found.cbegin(), end, [&](const Term& t) { return t.row == row; })) {
                found[static_cast<size_t>(k)] = {row, state >> 63 != 0 ? 1 : -1};
                k += 1;
            }
        }
        return found;
    }

    // One row of integers, -8..7, times a scale.
    static void put_row(uint8_t* out, const int8_t* q, int cols, double scale) {
        const uint16_t half = powerinfer::f32_to_f16(static_cast<float>(scale));
        for (int b = 0; b < cols / kBlock; ++b, out += kBlockBytes, q += kBlock) {
            std::memcpy(out, &half, sizeof half);
            for (int j = 0; j < kBlock / 2; ++j) {
                const unsigned low = static_cast<unsigned>(q[j] + 8);
                const unsigned high = static_cast<unsigned>(q[j + kBlock / 2] + 8);
                out[2 + j] = static_cast<uint8_t>(low | high << 4);
            }
        }
    }

    void fill_gate(uint8_t* out, int layer) const {
        const auto dim = static_cast<size_t>(shape_.dim);
        const std::vector<int8_t> signs = projections(layer);
        std::vector<int8_t> row(dim);
        const double unit = 2.0 / std::sqrt(kTerms * static_cast<double>(dim));
        for (int i = 0; i < shape_.hidden_dim; ++i, out += row_bytes(shape_.dim)) {
            std::fill(row.begin(), row.end(), int8_t{0});
            for (const Term& term : terms(layer, i)) {
                const int8_t* p = signs.data() + static_cast<size_t>(term.row) * dim;
                for (size_t j = 0; j < dim; ++j) {
                    row[j] = static_cast<int8_t>(row[j] + term.sign * p[j]);
                }
            }
            for (int8_t& sum : row) {
                sum = static_cast<int8_t>(sum / 2); // an even number of odd ones
            }
            put_row(out, row.data(), shape_.dim, unit * scales_[static_cast<size_t>(i)]);
        }
    }

    void fill_fc1(uint8_t* out, int layer) const {
        const auto dim = static_cast<size_t>(shape_.dim);
        std::vector<int8_t> signs = projections(layer);
        const double unit = 1.0 / std::sqrt(static_cast<double>(dim));
        for (int half = 0; half < 2; ++half) {
            for (size_t j = 0; j < static_cast<size_t>(n_projections()); ++j) {
                put_row(out, signs.data() + j * dim, shape_.dim, unit);
                out += row_bytes(shape_.dim);
            }
            for (int8_t& sign : signs) {
                sign = static_cast<int8_t>(-sign);
            }
        }
    }

    void fill_fc2(uint8_t* out, int layer) const {
        std::vector<int8_t> row(static_cast<size_t>(shape_.rank));
        const double unit = 1.0 / std::sqrt(static_cast<double>(kTerms));
        for (int i = 0; i < shape_.hidden_dim; ++i, out += row_bytes(shape_.rank)) {
            std::fill(row.begin(), row.end(), int8_t{0});
            for (const Term& term : terms(layer, i)) {
                row[static_cast<size_t>(term.row)] = static_cast<int8_t>(term.sign);
                row[static_cast<size_t>(term.row + n_projections())] =
                    static_cast<int8_t>(-term.sign);
            }
            put_row(out, row.data(), shape_.rank, unit * scales_[static_cast<size_t>(i)]);
        }
    }

    ModelShape shape_;
    std::vector<double> scales_; // (hidden_dim,)
    test::GgufWriter writer_;
    std::vector<Fill> fills_;
    size_t n_data_ = 0;
};

} // namespace bench
