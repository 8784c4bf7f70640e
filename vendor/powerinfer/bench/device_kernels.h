// Speed of each kernel at the shapes of a model.
#pragma once

#include "cuda/kernels.h"
#include "cuda/weights.h"
#include "device_timing.h"
#include "random_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace bench {

// What the kernels of one shape read: matrices in several copies that are used in turn, more than
// the device's second cache holds, so that they come from memory.
class Kernels {
public:
    // What they read is told as a share of the speed of a copy, bytes a second, if that is known.
    Kernels(const ModelShape& shape, int n_tokens, double copy_speed)
        : shape_(shape), n_tokens_(n_tokens), copy_speed_(copy_speed), x_(*this, shape.dim),
          hidden_(*this, shape.rank) {
        cudaDeviceProp properties;
        cuda::check(cudaGetDeviceProperties(&properties, 0), "asking the device");
        rotated_bytes_ = effort().rotated_caches * properties.l2CacheSize;
    }

    // Products of a prompt: at once, and in steps that are short enough for the kernels of few
    // tokens.
    void run_prompt() {
        for (const int n_step : {n_tokens_, kMaxTokens}) {
            prompt_product(shape_.dim, shape_.dim, n_step);
            prompt_product(shape_.hidden_dim, shape_.dim, n_step);
        }
    }

    void run() {
        product(shape_.dim, shape_.dim);
        product(shape_.hidden_dim, shape_.dim);
        product(shape_.vocab_size, shape_.dim);
        predictor_hidden();
        selection();
        for (const int percent : {100, 30, 10}) {
            feed_forward(percent);
        }
        for (const int n_positions : effort().n_positions) {
            attention(n_positions);
        }
        norm();
    }

private:
    static size_t at(int i) { return static_cast<size_t>(i); }

    // Of deviation 1; also room for outputs.
    struct Input {
        Input(const Kernels& kernels, int dim)
            : f32(noise(at(kernels.n_tokens_) * at(dim))), low(f32.size()), high(f32.size()),
              blocks(f32.size() / 32) {
            pack(kernels.stream_, packed(), f32.data(), kernels.n_tokens_, dim, kMaxStep);
            kernels.stream_.wait();
        }

        static std::vector<float> noise(size_t n) {
            std::vector<float> values(n);
            for (size_t i = 0; i < n; ++i) {
                values[i] = static_cast<float>(static_cast<int64_t>(mix(i)) >> 40) * 0x1.bb68p-23F;
            }
            return values;
        }
        Packed packed() const { return {low.data(), high.data(), blocks.data()}; }

        Array<float> f32;
        Array<int8_t> low;
        Array<int8_t> high;
        Array<BlockScale> blocks;
    };

    // Of what is read in parts of so many bytes.
    size_t n_copies(double n_bytes) const {
        return std::clamp<size_t>(static_cast<size_t>(rotated_bytes_ / n_bytes) + 1, 2, 256);
    }

    // Random q4_0 rows, copy after copy; products with an input of deviation 1 have deviation 1.
    class Matrices {
    public:
        Matrices(const Kernels& kernels, int rows, int cols, double read_share = 1)
            : rows_(rows), cols_(cols), body_(cuda::body_bytes(DType::q4_0, rows, cols)),
              scales_(cuda::scales_bytes(DType::q4_0, rows, cols)),
              n_(kernels.n_copies(read_share * bytes())), memory_(n_ * (body_ + aligned_scales())) {
            const PinnedMemory staging(body_ + scales_);
            auto* words = reinterpret_cast<uint64_t*>(staging.data());
            for (size_t i = 0; i < body_ / sizeof *words; ++i) {
                words[i] = mix(i);
            }
            auto* scales = reinterpret_cast<uint16_t*>(staging.data() + body_);
            const uint16_t scale = f32_to_f16(0.217F / std::sqrt(static_cast<float>(cols)));
            std::fill(scales, scales + scales_ / sizeof *scales, scale);
            for (size_t i = 0; i < n_; ++i) {
                std::byte* to = memory_.data() + i * (body_ + aligned_scales());
                copy_to_device(kernels.stream_, to, staging.data(), body_);
                copy_to_device(kernels.stream_, to + body_, staging.data() + body_, scales_);
            }
            kernels.stream_.wait();
        }

        size_t n() const { return n_; }
        double bytes() const { return static_cast<double>(body_ + scales_); }
        DeviceMatrix operator[](size_t i) const {
            const auto* body =
                reinterpret_cast<const uint8_t*>(memory_.data()) + i * (body_ + aligned_scales());
            return {body, body + body_, DType::q4_0, rows_, cols_};
        }

    private:
        size_t aligned_scales() const { return (scales_ + 255) / 256 * 256; }

        int rows_;
        int cols_;
        size_t body_;
        size_t scales_;
        size_t n_;
        DeviceMemory memory_;
    };

    // Launched as a graph, as a step is: once with every copy, timed as a whole. `n_operations` are
    // additions and multiplications of bytes, 0: not told.
    void measure(
        const std::string& what,
        double n_bytes,
        size_t n_copies,
        const std::function<void(size_t)>& enqueue,
        double n_operations = 0
    ) {
        for (size_t i = 0; i < n_copies; ++i) { // what a kernel does at its first launch
            enqueue(i);
        }
        stream_.wait();
        const Graph graph(stream_, [&] {
            for (size_t i = 0; i < n_copies; ++i) {
                enqueue(i);
            }
        });
        Stopwatch watch(stream_);
        std::vector<double> seconds;
        for (int i = -1; i < effort().n_passes; ++i) {
            const double time = watch.seconds([&] { graph.launch(stream_); });
            if (i >= 0) {
                seconds.push_back(time / static_cast<double>(n_copies));
            }
        }
        const Timing t = timing_of(seconds);
        std::printf(
            "%-4s x%d %-28s %9.2f us (%.2f..%.2f) %9.2f GB/s",
            shape_.name,
            n_tokens_,
            what.c_str(),
            1e6 * t.median,
            1e6 * t.least,
            1e6 * t.most,
            n_bytes / t.median / 1e9
        );
        if (n_operations > 0) {
            std::printf(
                " %10.0f tokens/s %8.2f TOPS", n_tokens_ / t.median, 1e-12 * n_operations / t.median
            );
        } else if (copy_speed_ > 0) {
            std::printf(" %5.1f %% of copy", 100 * n_bytes / t.median / copy_speed_);
        }
        std::printf("\n");
    }

    DeviceActivations activations(const Input& in, int dim) const {
        return {in.f32.data(), in.packed(), n_tokens_, dim};
    }

    void product(int rows, int cols) {
        const Matrices w(*this, rows, cols);
        const Array<float> out(at(n_tokens_) * at(rows));
        const std::string what = "multiply " + std::to_string(rows) + " x " + std::to_string(cols);
        measure(what, w.bytes(), w.n(), [&](size_t i) {
            const DeviceProduct one{w[i], out.data(), rows};
            multiply(stream_, activations(x_, cols), std::span(&one, 1));
        });
    }

    void prompt_product(int rows, int cols, int n_step) {
        const Matrices w(*this, rows, cols);
        const Array<float> out(at(n_tokens_) * at(rows));
        const std::string what = "multiply " + std::to_string(rows) + " x " + std::to_string(cols) +
                                 " by " + std::to_string(n_step);
        // Of 16-bit activations: two products of bytes for each weight and token.
        const double n_operations = 2.0 * 2.0 * rows * cols * n_tokens_;
        const double n_bytes = w.bytes() * ceil_div(n_tokens_, n_step);
        const auto enqueue = [&](size_t i) {
            for (int first = 0; first < n_tokens_; first += n_step) {
                const DeviceActivations x{
                    x_.f32.data() + at(first) * at(cols),
                    tokens_from(x_.packed(), first, cols),
                    std::min(n_step, n_tokens_ - first),
                    cols
                };
                const DeviceProduct one{w[i], out.data() + at(first) * at(rows), rows};
                multiply(stream_, x, std::span(&one, 1));
            }
        };
        measure(what, n_bytes, w.n(), enqueue, n_operations);
    }

    void predictor_hidden() {
        const Matrices fc1(*this, shape_.rank, shape_.dim);
        const Input out(*this, shape_.rank);
        measure("predict_hidden", fc1.bytes(), fc1.n(), [&](size_t i) {
            predict_hidden(
                stream_, out.f32.data(), out.packed(), fc1[i], activations(x_, shape_.dim), kMaxStep
            );
        });
    }

    // Of about a tenth.
    void selection() {
        const Matrices fc2(*this, shape_.hidden_dim, shape_.rank);
        const Lists lists(n_segments(shape_.hidden_dim, shape_.hidden_dim));
        measure("select", fc2.bytes(), fc2.n(), [&](size_t i) {
            cuda::select(
                stream_,
                lists.view(),
                fc2[i],
                activations(hidden_, shape_.rank),
                1.28F,
                shape_.hidden_dim
            );
        });
    }

    struct Lists {
        explicit Lists(int n_segments)
            : Lists(
                  std::vector<int32_t>(at(n_segments)),
                  std::vector<int32_t>(kSegment * at(n_segments))
              ) {}
        Lists(const std::vector<int32_t>& n, const std::vector<int32_t>& listed)
            : counts(n), rows(listed), needed(std::vector<uint32_t>(listed.size(), ~0U)) {}

        Selection view() const { return {counts.data(), rows.data(), needed.data()}; }

        Array<int32_t> counts;
        Array<int32_t> rows;
        Array<uint32_t> needed;
    };

    // That share of the neurons is listed for all tokens, and read whole.
    void feed_forward(int percent) {
        const int n = shape_.hidden_dim;
        std::vector<int32_t> counts(at(n_hot_segments(n)));
        std::vector<int32_t> rows(kSegment * counts.size());
        int n_listed = 0;
        for (int i = 0; i < n; ++i) {
            if (mix(at(i)) % 100 < static_cast<uint64_t>(percent)) {
                int32_t& count = counts[at(i / kSegment)];
                rows[at(i / kSegment * kSegment + count)] = i;
                count += 1;
                n_listed += 1;
            }
        }
        const Lists lists(counts, rows);
        const Selection selection = lists.view();
        const Selection* selected = percent == 100 ? nullptr : &selection;
        const double share = static_cast<double>(n_listed) / n;
        const std::string suffix = " " + std::to_string(percent) + " %";
        const std::vector<float> ones(at(n_tokens_) * at(n), 1.0F);
        const Array<float> coef(ones);
        const Array<uint32_t> counters(kLayerCounters);
        {
            const Matrices gate(*this, n, shape_.dim, share);
            const Matrices up(*this, n, shape_.dim, share);
            measure("weigh" + suffix, 2 * share * gate.bytes(), gate.n(), [&](size_t i) {
                DeviceNeurons neurons;
                neurons.gate = gate[i];
                neurons.up = up[i];
                neurons.n = n;
                weigh(
                    stream_,
                    coef.data(),
                    neurons,
                    activations(x_, shape_.dim),
                    selected,
                    {Activation::relu, 0.0F, true},
                    {counters.data(), nullptr}
                );
            });
        }
        const Array<float> down_coef(ones);
        const Matrices down(*this, n, shape_.dim, share);
        const Array<float> out(at(n_tokens_) * at(shape_.dim));
        const Array<float> partial(kDownParts * out.size());
        const Array<uint32_t> arrived(at(n_tokens_ * ceil_div(shape_.dim, kDownColumns)));
        measure("project_down" + suffix, share * down.bytes(), down.n(), [&](size_t i) {
            DeviceNeurons neurons;
            neurons.down_t = down[i];
            neurons.n = n;
            project_down(
                stream_,
                out.data(),
                neurons,
                down_coef.data(),
                selected,
                nullptr,
                n_tokens_,
                partial.data(),
                arrived.data()
            );
        });
    }

    static std::vector<int32_t> counting(int n) {
        std::vector<int32_t> values(at(n));
        std::iota(values.begin(), values.end(), 0);
        return values;
    }

    // Each token is the last one of a sequence of its own.
    void attention(int n_positions) {
        const int head_dim = shape_.dim / shape_.n_heads;
        const Heads heads{Rope::pairs, shape_.n_heads, shape_.n_kv_heads, head_dim};
        const int n_pages = ceil_div(n_positions, kPageTokens);
        const size_t plane = at(n_tokens_) * at(n_pages) *
                             static_cast<size_t>(row_bytes(DType::f16, heads.kv_dim())) *
                             kPageTokens;
        const size_t n = n_copies(2.0 * static_cast<double>(plane));
        const DeviceMemory memory(n * 2 * plane); // zeros: the time does not depend on values
        const Array<int32_t> positions(std::vector<int32_t>(at(n_tokens_), n_positions - 1));
        const Array<int32_t> sequences(counting(n_tokens_));
        const Array<int32_t> pages(counting(n_tokens_ * n_pages));
        const DeviceTokens tokens{
            positions.data(), sequences.data(), pages.data(), n_pages, nullptr, n_tokens_
        };
        const int n_ctx = n_positions;
        const Input out(*this, shape_.dim);
        const Array<float> scratch(attention_scratch(heads.n_heads, head_dim, n_tokens_, n_ctx));
        const std::string what = "attend " + std::to_string(n_positions);
        measure(what, static_cast<double>(2 * plane), n, [&](size_t i) {
            auto* keys = reinterpret_cast<uint8_t*>(memory.data()) + i * 2 * plane;
            attend(
                stream_,
                out.f32.data(),
                out.packed(),
                x_.f32.data(),
                {keys, keys + plane, DType::f16},
                tokens,
                heads,
                n_ctx,
                kMaxStep,
                scratch.data()
            );
        });
    }

    // With the addition of what the host gives, and both rounded forms.
    void norm() {
        const Input x(*this, shape_.dim);
        const Input out(*this, shape_.dim);
        const Input packed_x(*this, shape_.dim);
        const Array<float> add(x.f32.size());
        const Array<float> weight(std::vector<float>(at(shape_.dim), 1.0F));
        const auto n = static_cast<double>(x.f32.size());
        measure("normalize", n * (4 * 4 + 2 * 2.5) + 4 * shape_.dim, 16, [&](size_t) {
            Normalize op{};
            op.x = x.f32.data();
            op.add = add.data();
            op.n_tokens = n_tokens_;
            op.dim = shape_.dim;
            op.norm = Norm::rms;
            op.weight = weight.data();
            op.eps = 1e-5F;
            op.max_step = kMaxStep;
            op.out = out.f32.data();
            op.packed = out.packed();
            op.packed_x = packed_x.packed();
            normalize(stream_, op);
        });
    }

    static constexpr int kMaxStep = cpu::max_step(16);

    ModelShape shape_;
    int n_tokens_;
    double copy_speed_; // 0: not measured
    double rotated_bytes_ = 0;
    OwnedStream stream_;
    Input x_;
    Input hidden_;
};

inline void measure_kernels(const ModelShape& shape, double copy_speed) {
    for (const int n_tokens : {1, 8}) {
        Kernels(shape, n_tokens, copy_speed).run();
    }
    for (const int n_tokens : effort().prompts) {
        Kernels(shape, n_tokens, copy_speed).run_prompt();
    }
}

} // namespace bench
