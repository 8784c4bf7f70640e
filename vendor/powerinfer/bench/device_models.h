// Speed of whole models that the device shares with the host, at several budgets.
#pragma once

#include "device_timing.h"
#include "on_device.h"
#include "random_model.h"
#include "temporary_directory.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace bench {

inline constexpr double kMiB = 1 << 20;

inline constexpr engine::Options kContext = {.n_threads = 0, .n_ctx = 512, .n_batch = 32};

inline uint64_t free_bytes() {
    return device_info(0).free_bytes;
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

inline void print_steps(const std::vector<Step>& steps) {
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
inline void print_times(const pi_model* model) {
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
inline bool decode(const pi_file* file, pi_strategy strategy, const on_device::Budget* budget) {
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

inline bool measure_model(const std::string& name, const std::string& path) {
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

inline bool measure_shape(const ModelShape& shape) {
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

} // namespace bench
