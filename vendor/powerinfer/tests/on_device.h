// Models with a part on the device, run through the C interface.
#pragma once

#include "engine.h"

#include <cstdint>
#include <vector>

namespace on_device {

// What goes to the device: a share of the neurons after all the rest, or the rest up to a budget.
struct Budget {
    const char* name;
    double neurons = 0.0; // share
    double dense = 1.0;   // share of the bytes of what comes before
};

inline constexpr Budget kBudgets[] = {
    {"some attention", 0.0, 0.25},
    {"some predictors", 0.0, 0.75},
    {"no neurons", 0.0, 1.0},
    {"30 % of the neurons", 0.3},
    {"70 % of the neurons", 0.7},
    {"everything", 1.0},
};

inline engine::Placement place(const pi_file* file, pi_placement_options options) {
    pi_placement* placement = nullptr;
    engine::check(pi_file_place(file, &options, &placement));
    return engine::Placement(placement);
}

inline pi_placement_options placement_options(const engine::Options& context) {
    pi_placement_options options;
    pi_placement_options_init(&options);
    options.n_ctx = context.n_ctx;
    options.n_sequences = context.n_sequences;
    options.n_batch = context.n_batch;
    options.kv_dtype = context.kv_dtype;
    options.vram_budget = UINT64_MAX;
    return options;
}

inline pi_placement_info info(const pi_placement* placement) {
    pi_placement_info info;
    info.struct_size = sizeof info;
    pi_placement_get_info(placement, &info);
    return info;
}

inline uint64_t neuron_bytes(const pi_placement* placement) {
    pi_placement_part part;
    part.struct_size = sizeof part;
    engine::check(pi_placement_get_part(placement, PI_PART_NEURONS, &part));
    return part.n_bytes;
}

// For contexts of these options.
inline engine::Placement place(
    const pi_file* file, const Budget& budget, const engine::Options& context
) {
    pi_placement_options options = placement_options(context);
    options.group = 0;
    const engine::Placement all = place(file, options);
    const pi_placement_info found = info(all.get());
    const auto neurons = static_cast<double>(neuron_bytes(all.get()));
    const double dense = static_cast<double>(found.device_bytes - found.reserve) - neurons;
    options.vram_budget =
        found.reserve + static_cast<uint64_t>(dense * budget.dense + neurons * budget.neurons);
    return place(file, options);
}

inline engine::Model load(
    const pi_file* file,
    const pi_placement* placement,
    pi_strategy strategy = PI_STRATEGY_DEFAULT,
    pi_repack repack = PI_REPACK_AUTO
) {
    pi_model_options options = engine::model_options(repack);
    options.strategy = strategy;
    options.placement = placement;
    return engine::load(file, options);
}

inline pi_stats stats(const pi_context* context) {
    pi_stats stats;
    stats.struct_size = sizeof stats;
    pi_context_get_stats(context, &stats);
    return stats;
}

} // namespace on_device
