// Speed of the device: of copies, of each kernel, and of whole models that it shares with the host.
//   cuda_bench [device] [copy] [kernels:SHAPE] [SHAPE] [FILE] ...
// By default copy kernels:1b kernels:7b 7b; `device` says only which one it is. SHAPE is tiny, 1b
// or 7b: a model with random weights is written to the temporary folder. Fails where a model takes
// more of the device's memory than was planned.
#include "cuda/handles.h"
#include "cuda/kernels.h"
#include "cuda/weights.h"
#include "device.h"
#include "on_device.h"
#include "random_model.h"
#include "temporary_directory.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace powerinfer;
using namespace powerinfer::cuda;
using bench::mix;
using bench::ModelShape;

namespace {

constexpr double kMiB = 1 << 20;

// How much is measured. The emulated device has no speed: there the program only has to work.
struct Effort {
    size_t copied_bytes;
    double rotated_caches; // of the size of the device's second cache
    int n_passes;
    int n_positions[2];
    size_t n_steps;
    int prompts[2]; // tokens
};

const Effort& effort() {
    static constexpr Effort kFull = {size_t{1} << 30, 4, 20, {256, 4096}, 64, {256, 512}};
    static constexpr Effort kLittle = {size_t{1} << 20, 0, 2, {32, 288}, 2, {40, 64}};
    static const bool is_emulated = std::string_view(list_devices().front().api) == "emulated";
    return is_emulated ? kLittle : kFull;
}

struct Timing {
    double median; // seconds
    double least;
    double most;
};

Timing timing_of(std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

// A pair of points in a stream, for the time between them.
class Stopwatch {
public:
    explicit Stopwatch(Stream stream) : stream_(stream) {}

    template <typename F>
    double seconds(F&& enqueue) {
        begin_.record(stream_);
        enqueue();
        end_.record(stream_);
        end_.wait();
        return 1e-3 * end_.milliseconds_since(begin_);
    }

private:
    Stream stream_;
    Event begin_{Event::Kind::timed};
    Event end_{Event::Kind::timed};
};

// Elements in the device's memory.
template <typename T>
class Array {
public:
    explicit Array(const std::vector<T>& values)
        : n_(values.size()), memory_(std::max<size_t>(1, n_ * sizeof(T))) {
        const OwnedStream stream;
        copy_to_device(stream, memory_.data(), values.data(), n_ * sizeof(T));
        stream.wait();
    }
    explicit Array(size_t n) : Array(std::vector<T>(n)) {}

    size_t size() const { return n_; }
    T* data() const { return reinterpret_cast<T*>(memory_.data()); }

private:
    size_t n_;
    DeviceMemory memory_;
};

// ---- copies ----

double copy_speed = 0; // bytes read and written on the device, a second

void print_copy(const char* what, double n_bytes, const Timing& t) {
    std::printf(
        "%-36s %10.2f GB/s (%.2f..%.2f)\n",
        what,
        n_bytes / t.median / 1e9,
        n_bytes / t.most / 1e9,
        n_bytes / t.least / 1e9
    );
}

Timing time_copies(Stream stream, const std::function<void()>& copy) {
    Stopwatch watch(stream);
    std::vector<double> seconds;
    for (int i = -2; i < effort().n_passes; ++i) { // two to warm up
        const double time = watch.seconds(copy);
        if (i >= 0) {
            seconds.push_back(time);
        }
    }
    return timing_of(seconds);
}

void measure_copies() {
    const size_t n = effort().copied_bytes;
    const OwnedStream stream;
    const DeviceMemory from(n);
    const DeviceMemory to(n);
    const Timing on_device =
        time_copies(stream, [&] { copy_on_device(stream, to.data(), from.data(), n); });
    const auto bytes = static_cast<double>(n);
    copy_speed = 2 * bytes / on_device.median;
    print_copy("copy on the device, read + written", 2 * bytes, on_device);
    const size_t n_host = n / 4;
    const PinnedMemory host(n_host);
    print_copy("host to device, pinned", bytes / 4, time_copies(stream, [&] {
                   copy_to_device(stream, to.data(), host.data(), n_host);
               }));
    print_copy("device to host, pinned", bytes / 4, time_copies(stream, [&] {
                   copy_to_host(stream, host.data(), from.data(), n_host);
               }));
}

// ---- kernels ----

// What the kernels of one shape read: matrices in several copies that are used in turn, more than
// the device's second cache holds, so that they come from memory.
class Kernels {
public:
    Kernels(const ModelShape& shape, int n_tokens)
        : shape_(shape), n_tokens_(n_tokens), x_(*this, shape.dim), hidden_(*this, shape.rank) {
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
        } else if (copy_speed > 0) {
            std::printf(" %5.1f %% of copy", 100 * n_bytes / t.median / copy_speed);
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
    double rotated_bytes_ = 0;
    OwnedStream stream_;
    Input x_;
    Input hidden_;
};

void measure_kernels(const ModelShape& shape) {
    for (const int n_tokens : {1, 8}) {
        Kernels(shape, n_tokens).run();
    }
    for (const int n_tokens : effort().prompts) {
        Kernels(shape, n_tokens).run_prompt();
    }
}

// ---- whole models ----

constexpr engine::Options kContext = {.n_threads = 0, .n_ctx = 512, .n_batch = 32};

uint64_t free_bytes() {
    return list_devices().front().free_bytes;
}

struct Step {
    double seconds;
    pi_stats stats;
};

// Tokens of no meaning, so that layers see ever new inputs.
class Decoder {
public:
    explicit Decoder(const pi_model* model, const engine::Options& options = kContext)
        : context_(engine::context(model, options)), vocab_size_(engine::info(model).vocab_size) {}

    Step step() {
        engine::Batch batch;
        batch.add(static_cast<int32_t>(mix(position_) % vocab_size_), position_);
        position_ += 1;
        pi_context_reset_stats(context_.get());
        const auto begin = std::chrono::steady_clock::now();
        batch.decode(context_.get());
        const float* logits = nullptr;
        engine::check(pi_context_get_logits(context_.get(), 0, &logits));
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
        return {time.count(), on_device::stats(context_.get())};
    }

private:
    engine::Context context_;
    uint64_t vocab_size_;
    uint32_t position_ = 0;
};

void print_steps(const std::vector<Step>& steps) {
    std::vector<double> seconds;
    pi_stats sum{};
    double total = 0;
    for (const Step& step : steps) {
        seconds.push_back(step.seconds);
        total += step.seconds;
        sum.weight_bytes_read += step.stats.weight_bytes_read;
        sum.device_wait_ns += step.stats.device_wait_ns;
        sum.host_share_ns += step.stats.host_share_ns;
        sum.bus_bytes += step.stats.bus_bytes;
        sum.neurons_total += step.stats.neurons_total;
        sum.neurons_candidate += step.stats.neurons_candidate;
        sum.neurons_active += step.stats.neurons_active;
        sum.device_neurons_active += step.stats.device_neurons_active;
    }
    const Timing t = timing_of(seconds);
    const auto n = static_cast<double>(steps.size());
    const auto share = [](uint64_t part, uint64_t all) {
        return all == 0 ? 0.0 : 100 * static_cast<double>(part) / static_cast<double>(all);
    };
    std::printf(
        " %8.2f (%7.2f..%7.2f) %8.2f %8.3f %8.3f %8.1f %6.1f %6.1f %6.1f",
        1 / t.median,
        1 / t.most,
        1 / t.least,
        static_cast<double>(sum.weight_bytes_read) / total / 1e9,
        1e-6 * static_cast<double>(sum.device_wait_ns) / n,
        1e-6 * static_cast<double>(sum.host_share_ns) / n,
        static_cast<double>(sum.bus_bytes) / n / 1024,
        share(sum.neurons_candidate, sum.neurons_total),
        share(sum.neurons_active, sum.neurons_total),
        share(sum.device_neurons_active, sum.neurons_active)
    );
}

// Milliseconds of a step that the device computes, and at its share of layers that the host has a
// share of; and of the shorter of both shares, the part in which both compute. In steps of their
// own: the events cost time.
void print_times(const pi_model* model) {
    constexpr size_t kWarmUp = 2;
    engine::Options options = kContext;
    options.time_device = 1;
    Decoder decoder(model, options);
    for (size_t i = 0; i < kWarmUp; ++i) {
        decoder.step();
    }
    const size_t n = std::min<size_t>(effort().n_steps, 8);
    pi_stats sum{};
    for (size_t i = 0; i < n; ++i) {
        const pi_stats stats = decoder.step().stats;
        sum.host_share_ns += stats.host_share_ns;
        sum.device_ns += stats.device_ns;
        sum.device_share_ns += stats.device_share_ns;
        sum.overlap_ns += stats.overlap_ns;
    }
    const auto steps = static_cast<double>(n);
    std::printf(
        " %8.3f %8.3f",
        1e-6 * static_cast<double>(sum.device_ns) / steps,
        1e-6 * static_cast<double>(sum.device_share_ns) / steps
    );
    const uint64_t shorter = std::min(sum.host_share_ns, sum.device_share_ns);
    if (shorter == 0) {
        std::printf(" %6s", "-");
    } else {
        const auto both = static_cast<double>(sum.overlap_ns);
        std::printf(" %6.1f", 100 * both / static_cast<double>(shorter));
    }
}

// Returns whether the device's memory was enough.
bool decode(const pi_file* file, pi_strategy strategy, const on_device::Budget* budget) {
    constexpr size_t kWarmUp = 2;
    constexpr double kSeconds = 3; // and at least kLeast
    constexpr size_t kLeast = 5;
    const uint64_t before = free_bytes();
    engine::Placement placement;
    if (budget != nullptr) {
        placement = on_device::place(file, *budget, kContext, strategy);
    }
    const engine::Model model = on_device::load(file, placement.get(), strategy);
    auto decoder = std::make_unique<Decoder>(model.get());
    for (size_t i = 0; i < kWarmUp; ++i) {
        decoder->step();
    }
    std::vector<Step> steps;
    double time = 0;
    while (steps.size() < effort().n_steps && (time < kSeconds || steps.size() < kLeast)) {
        steps.push_back(decoder->step());
        time += steps.back().seconds;
    }
    const uint64_t after = free_bytes();
    decoder.reset(); // the device's memory is for one context
    const uint64_t taken = before > after ? before - after : 0;
    const uint64_t planned = placement ? on_device::info(placement.get()).device_bytes : 0;
    print_steps(steps);
    if (placement != nullptr) {
        print_times(model.get());
    } else {
        std::printf(" %8s %8s %6s", "-", "-", "-");
    }
    std::printf(
        " %9.1f %9.1f%s\n",
        static_cast<double>(planned) / kMiB,
        static_cast<double>(taken) / kMiB,
        taken > planned ? "  MORE THAN PLANNED" : ""
    );
    return taken <= planned;
}

bool measure_model(const std::string& name, const std::string& path) {
    const engine::File file = engine::open_file(path);
    std::printf(
        "%-6s %-9s %-20s %8s (%7s..%7s) %8s %8s %8s %8s %6s %6s %6s %8s %8s %6s %9s %9s\n",
        "model",
        "strategy",
        "on the device",
        "tokens/s",
        "least",
        "most",
        "GB/s",
        "wait ms",
        "host ms",
        "bus KiB",
        "cand %",
        "act %",
        "hot %",
        "GPU ms",
        "share ms",
        "both %",
        "plan MiB",
        "used MiB"
    );
    bool is_good = true;
    const struct {
        const char* name;
        pi_strategy strategy;
    } strategies[] = {
        {"predictor", PI_STRATEGY_PREDICTOR},
        {"dense", PI_STRATEGY_DENSE},
        {"exact", PI_STRATEGY_EXACT},
    };
    for (const auto& [strategy_name, strategy] : strategies) {
        std::vector<const on_device::Budget*> budgets = {nullptr};
        for (const on_device::Budget& budget : on_device::kBudgets) {
            if (budget.output) {
                budgets.push_back(&budget);
            }
        }
        for (auto budget = budgets.rbegin(); budget != budgets.rend(); ++budget) {
            const char* where = *budget != nullptr ? (*budget)->name : "nothing";
            std::printf("%-6s %-9s %-20s", name.c_str(), strategy_name, where);
            try {
                is_good = decode(file.get(), strategy, *budget) && is_good;
            } catch (const std::exception& error) {
                std::printf(" failed: %s\n", error.what());
                is_good = false;
            }
        }
    }
    return is_good;
}

bool measure_shape(const ModelShape& shape) {
    const test::TemporaryDirectory folder;
    const std::string path = folder.at("model.gguf");
    const auto begin = std::chrono::steady_clock::now();
    bench::RandomModel(shape).write(path);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    std::printf(
        "%s: a model of %.0f MiB, written in %.1f s\n",
        shape.name,
        static_cast<double>(std::filesystem::file_size(path)) / kMiB,
        time.count()
    );
    return measure_model(shape.name, path);
}

bool run(const std::string& part) {
    constexpr std::string_view kKernels = "kernels:";
    if (part == "device") { // named already
        return true;
    }
    if (part == "copy") {
        measure_copies();
        return true;
    }
    if (part.starts_with(kKernels)) {
        const ModelShape* shape = bench::find_shape(part.substr(kKernels.size()));
        PI_CHECK(shape != nullptr, invalid_argument, "%s: want tiny, 1b or 7b", part.c_str());
        measure_kernels(*shape);
        return true;
    }
    if (const ModelShape* shape = bench::find_shape(part)) {
        return measure_shape(*shape);
    }
    return measure_model(std::filesystem::path(part).filename().string(), part);
}

} // namespace

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0); // what was measured before a time limit counts
    std::vector<std::string> parts(argv + 1, argv + argc);
    if (parts.empty()) {
        parts = {"copy", "kernels:1b", "kernels:7b", "7b"};
    }
    bool is_good = true;
    try {
        const DeviceInfo device = list_devices().front();
        std::printf(
            "%s (%s), %.0f of %.0f MiB free\n",
            device.name.c_str(),
            device.api,
            static_cast<double>(device.free_bytes) / kMiB,
            static_cast<double>(device.total_bytes) / kMiB
        );
        for (const std::string& part : parts) {
            is_good = run(part) && is_good;
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cuda_bench: %s\n", error.what());
        return 1;
    }
    return is_good ? 0 : 1;
}
