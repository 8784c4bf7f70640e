// What the tests of rotation and attention share: tokens of a step, and a paged cache.
#pragma once

#include "check.h"
#include "cpu/rounded.h"
#include "cuda/kernels.h"
#include "half.h"
#include "kv_cache.h"
#include "test_device.h"
#include "twin.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace cuda_step {

using namespace powerinfer;
using cuda::Heads;

inline size_t at(int i) {
    return static_cast<size_t>(i);
}

struct Token {
    int sequence;
    int position;
};

// A cache whose pages lie in random order, and the tokens of a step. All memory is exactly as long
// as it must be; pages that no token reaches are not in the lists.
struct Step {
    Heads heads;
    DType type;
    int n_ctx;
    std::vector<Token> tokens;

    device::vector<int32_t> positions;
    device::vector<int32_t> sequences;
    device::vector<int32_t> pages;
    device::vector<uint8_t> keys;
    device::vector<uint8_t> values;
    device::vector<float> rotation;
    device::vector<float> q;

    Step(Heads shape, DType dtype, int context, std::vector<Token> list, twin::Random& random)
        : heads(shape), type(dtype), n_ctx(context), tokens(std::move(list)) {
        int n_sequences = 0;
        for (const Token& token : tokens) {
            positions.push_back(token.position);
            sequences.push_back(token.sequence);
            n_sequences = std::max(n_sequences, token.sequence + 1);
        }
        pages.assign(at(n_sequences) * at(pages_per_sequence()), 0x40000000);
        int n_pages = 0;
        for (int s = 0; s < n_sequences; ++s) {
            for (int p = 0; p * kPageTokens < length(s); ++p) {
                page(s, p) = n_pages++;
            }
        }
        std::vector<int32_t> shuffled(at(n_pages));
        std::iota(shuffled.begin(), shuffled.end(), 0);
        for (int i = n_pages - 1; i > 0; --i) {
            std::swap(shuffled[at(i)], shuffled[at(random.below(i + 1))]);
        }
        for (int32_t& number : pages) {
            number = number < n_pages ? shuffled[at(number)] : number;
        }
        const size_t n_bytes = at(n_pages) * kPageTokens * row_bytes(type, heads.kv_dim());
        keys.assign(n_bytes, 0xff); // NaN
        values.assign(n_bytes, 0xff);
        q = device::copy(random.normals(tokens.size() * at(heads.dim())));
        for (const Token& token : tokens) {
            for (int i = 0; i < heads.head_dim / 2; ++i) {
                const double angle = token.position * std::pow(10000.0, -2.0 * i / heads.head_dim);
                rotation.push_back(static_cast<float>(std::cos(angle)));
            }
            for (int i = 0; i < heads.head_dim / 2; ++i) {
                const double angle = token.position * std::pow(10000.0, -2.0 * i / heads.head_dim);
                rotation.push_back(static_cast<float>(std::sin(angle)));
            }
        }
    }

    int n() const { return static_cast<int>(tokens.size()); }
    int pages_per_sequence() const { return (n_ctx + kPageTokens - 1) / kPageTokens; }
    int32_t& page(int sequence, int index) {
        return pages[at(sequence) * at(pages_per_sequence()) + at(index)];
    }
    // Positions that some token of the sequence sees.
    int length(int sequence) const {
        int longest = 0;
        for (const Token& token : tokens) {
            longest = std::max(longest, token.sequence == sequence ? token.position + 1 : 0);
        }
        return longest;
    }

    uint8_t* row(device::vector<uint8_t>& rows, int sequence, int position) {
        const int32_t number = page(sequence, position / kPageTokens);
        const size_t index = at(number) * kPageTokens + at(position % kPageTokens);
        return rows.data() + index * row_bytes(type, heads.kv_dim());
    }
    void set(device::vector<uint8_t>& rows, int sequence, int position, int column, float value) {
        uint8_t* p = row(rows, sequence, position) + row_bytes(type, column);
        const uint16_t half = f32_to_f16(value);
        std::memcpy(
            p,
            type == DType::f16 ? static_cast<const void*>(&half) : &value,
            at(static_cast<int>(row_bytes(type, 1)))
        );
    }
    double get(device::vector<uint8_t>& rows, int sequence, int position, int column) {
        return twin::weight(type, row(rows, sequence, position), column).value();
    }

    void fill(twin::Random& random) {
        for (int s = 0; s < static_cast<int>(pages.size()) / pages_per_sequence(); ++s) {
            for (int p = 0; p < length(s); ++p) {
                for (int c = 0; c < heads.kv_dim(); ++c) {
                    set(keys, s, p, c, random.normal());
                    set(values, s, p, c, random.normal());
                }
            }
        }
    }

    cuda::DeviceCache cache() { return {keys.data(), values.data(), type}; }
    // Tokens [begin, begin + count).
    cuda::DeviceTokens device_tokens(int begin, int count) {
        return {
            positions.data() + begin,
            sequences.data() + begin,
            pages.data(),
            pages_per_sequence(),
            heads.rope == Rope::none ? nullptr : rotation.data() + begin * heads.head_dim,
            count
        };
    }

    struct Output {
        device::vector<float> out;
        device::vector<int8_t> low;
        device::vector<int8_t> high;
        device::vector<cuda::BlockScale> blocks;
    };

    Output attend(int begin, int count, int max_step) {
        Output result;
        const size_t n_values = at(count) * at(heads.dim());
        result.out.assign(n_values, std::nanf(""));
        cuda::Packed packed;
        if (heads.dim() % 32 == 0) {
            result.low.assign(n_values, 0);
            result.high.assign(n_values, 0);
            result.blocks.resize(n_values / 32);
            packed = {result.low.data(), result.high.data(), result.blocks.data()};
        }
        device::vector<float> scratch(
            cuda::attention_scratch(heads.n_heads, heads.head_dim, count, n_ctx), std::nanf("")
        );
        cuda::attend(
            nullptr,
            result.out.data(),
            packed,
            q.data() + begin * heads.dim(),
            cache(),
            device_tokens(begin, count),
            heads,
            n_ctx,
            max_step,
            scratch.data()
        );
        device::wait();
        return result;
    }

    // What attend() should give, and how large an error to allow.
    void check_values(std::span<const float> out, const char* name) {
        const int group = heads.n_heads / heads.n_kv_heads;
        const double scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim));
        double worst = 0;
        for (int t = 0; t < n(); ++t) {
            const auto [s, position] = tokens[at(t)];
            for (int h = 0; h < heads.n_heads; ++h) {
                const int first = h / group * heads.head_dim;
                const int column = t * heads.dim() + h * heads.head_dim;
                std::vector<double> weights;
                double max = -HUGE_VAL;
                for (int p = 0; p <= position; ++p) {
                    double dot = 0;
                    for (int c = 0; c < heads.head_dim; ++c) {
                        dot += static_cast<double>(q[at(column + c)]) * get(keys, s, p, first + c);
                    }
                    weights.push_back(dot * scale);
                    max = std::fmax(max, dot * scale);
                }
                double sum = 0;
                for (double& weight : weights) {
                    weight = std::exp(weight - max);
                    sum += weight;
                }
                for (int c = 0; c < heads.head_dim; ++c) {
                    double wanted = 0;
                    double size = 0;
                    for (int p = 0; p <= position; ++p) {
                        const double term = weights[at(p)] / sum * get(values, s, p, first + c);
                        wanted += term;
                        size += std::abs(term);
                    }
                    const double found = static_cast<double>(out[at(column + c)]);
                    if (std::isnan(wanted) || std::isnan(found)) {
                        CHECK_MSG(
                            std::isnan(wanted) && std::isnan(found),
                            "%s: token %d, head %d, column %d: %g, not %g",
                            name,
                            t,
                            h,
                            c,
                            found,
                            wanted
                        );
                    } else {
                        worst = std::max(worst, std::abs(found - wanted) / (size + 1e-30));
                    }
                }
            }
        }
        CHECK_MSG(worst < 1e-5, "%s: worst error %g of the sum's terms", name, worst);
    }

    void check_packed(const Output& result, int bits, const char* name) {
        for (size_t b = 0; b < result.blocks.size(); ++b) {
            const cpu::RoundedBlock wanted = cpu::round_block(result.out.data() + 32 * b, bits);
            bool same = std::memcmp(&wanted.scale, &result.blocks[b].scale, sizeof(float)) == 0;
            for (size_t j = 0; j < 32; ++j) {
                const int step = 256 * result.high[32 * b + j] + result.low[32 * b + j];
                same = same && step == wanted.q[j];
            }
            same = same && result.blocks[b].sums[0] + result.blocks[b].sums[1] == wanted.sum;
            CHECK_MSG(same, "%s: rounded block %zu", name, b);
        }
    }
};

} // namespace cuda_step
