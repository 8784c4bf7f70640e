// Models with a part on the device, run through the C interface.
#pragma once

#include "engine.h"
#include "sanitized.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

namespace on_device {

// What goes to the device, in the order of plans.
struct Budget {
    const char* name;
    uint32_t attention;  // layers, at most
    uint32_t predictors; // likewise
    bool output;
    double neurons; // share of all
};

inline constexpr Budget kBudgets[] = {
    {"one layer's attention", 1, 0, false, 0.0},
    {"one predictor", UINT32_MAX, 1, false, 0.0},
    {"all predictors", UINT32_MAX, UINT32_MAX, false, 0.0},
    {"no neurons", UINT32_MAX, UINT32_MAX, true, 0.0},
    {"30 % of the neurons", UINT32_MAX, UINT32_MAX, true, 0.3},
    {"70 % of the neurons", UINT32_MAX, UINT32_MAX, true, 0.7},
    {"everything", UINT32_MAX, UINT32_MAX, true, 1.0},
};

// All of them, or some under a sanitizer.
inline std::vector<Budget> budgets() {
    if (kIsSanitized) {
        return {kBudgets[1], kBudgets[4], kBudgets[6]};
    }
    return {std::begin(kBudgets), std::end(kBudgets)};
}

inline engine::Placement place(const pi_file* file, pi_placement_options options) {
    pi_placement* placement = nullptr;
    engine::check(pi_file_place(file, &options, &placement));
    return engine::Placement(placement);
}

inline pi_placement_options placement_options(
    const engine::Options& context, pi_strategy strategy = PI_STRATEGY_DEFAULT
) {
    pi_placement_options options;
    pi_placement_options_init(&options);
    options.strategy = strategy;
    options.n_ctx = context.n_ctx;
    options.n_sequences = context.n_sequences;
    options.n_batch = context.n_batch;
    options.kv_dtype = context.kv_dtype;
    options.vram_budget = UINT64_MAX;
    return options;
}

inline pi_file_info file_info(const pi_file* file) {
    pi_file_info info;
    info.struct_size = sizeof info;
    pi_file_get_info(file, &info);
    return info;
}

inline pi_placement_info info(const pi_placement* placement) {
    pi_placement_info info;
    info.struct_size = sizeof info;
    pi_placement_get_info(placement, &info);
    return info;
}

inline pi_placement_layer layer(const pi_placement* placement, uint32_t index) {
    pi_placement_layer layer;
    layer.struct_size = sizeof layer;
    engine::check(pi_placement_get_layer(placement, index, &layer));
    return layer;
}

inline uint64_t part_bytes(const pi_placement* placement, pi_part which) {
    pi_placement_part part;
    part.struct_size = sizeof part;
    engine::check(pi_placement_get_part(placement, which, &part));
    return part.n_bytes;
}

// Bytes of a budget, of which `all` is a plan without bounds.
inline uint64_t budget_bytes(const pi_placement* all, const Budget& budget) {
    const pi_placement_info found = info(all);
    uint64_t n_bytes = found.reserve;
    for (uint32_t i = 0; i < found.n_layers; ++i) {
        const pi_placement_layer of = layer(all, i);
        n_bytes += i < budget.attention
                       ? of.device_bytes[PI_PART_ATTENTION] + of.device_bytes[PI_PART_FFN_NORM] +
                             of.device_bytes[PI_PART_KV_CACHE]
                       : 0;
        n_bytes += i < budget.predictors ? of.device_bytes[PI_PART_PREDICTOR] : 0;
    }
    n_bytes += budget.output ? part_bytes(all, PI_PART_OUTPUT) : 0;
    const auto neurons = static_cast<double>(part_bytes(all, PI_PART_NEURONS));
    return n_bytes + static_cast<uint64_t>(neurons * budget.neurons);
}

// For contexts of these options; neurons in groups of 16.
inline engine::Placement place(
    const pi_file* file,
    const Budget& budget,
    const engine::Options& context,
    pi_strategy strategy = PI_STRATEGY_DEFAULT
) {
    pi_placement_options options = placement_options(context, strategy);
    if (budget.neurons < 1.0) {
        // The reserve is to be that of short steps, or it would have room for what is to be left.
        options.n_batch = std::min<uint32_t>(options.n_batch, 32);
    }
    const engine::Placement all = place(file, options);
    options.vram_budget = budget_bytes(all.get(), budget);
    options.group = file_info(file).is_sparse != 0 ? 16 : 0;
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
