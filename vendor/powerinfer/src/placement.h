// What of a model goes to a device with little memory: a plan in exact bytes, made before anything
// is allocated. Pure functions of sizes; no device is asked.
//
// Things are placed in one fixed order, until the first that does not fit:
//   1. attention, all norms and the KV cache of a layer, from the first layer on: a cache on the
//      other side than its attention would have to cross at every token;
//   2. predictors, from the first layer on;
//   3. the output;
//   4. neurons in groups, those with most activations first.
// So a plan is a prefix of that list: with a larger budget it only grows. Before all that the
// device's own needs are charged; where nothing fits beside them, the device is not used at all.
#pragma once

#include "model_sizes.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace powerinfer {

// Same numbers as PI_PART_*.
enum class Part : uint32_t { attention, kv_cache, predictor, ffn_norm, output, neurons, embedding };
inline constexpr size_t kParts = 7;

using Neurons = std::vector<std::vector<int32_t>>; // of each layer, ascending

struct PlacementOptions {
    uint64_t vram_budget = 0;            // bytes that the device may hold, its own needs included
    int group = 0;                       // neurons placed together; 0: natural_group
    std::span<const double> counts = {}; // (n_layers, hidden_dim) activations; empty: unknown
    double counted_tokens = 0.0;      // that `counts` comes from; 0: as many as the largest count
    double active_share = 0.1;        // of the neurons, for one token; where there are no counts
    const Neurons* neurons = nullptr; // instead of choosing: those of a GPU index
};

// Bytes of a class, and where a token is expected to read them. Dense parts are read whole, of the
// KV cache all of a full context.
struct PartPlacement {
    uint64_t n_bytes = 0;
    uint64_t device_bytes = 0;
    double device_read = 0.0;
    double host_read = 0.0;
};

struct LayerPlacement {
    std::array<uint64_t, kParts> device_bytes{};
    std::vector<int32_t> neurons; // on the device, ascending
    bool has_attention = false;   // and the KV cache
    bool has_predictor = false;
    // Of the layer's activations, those of neurons on the device; without counts the share of the
    // neurons, as if all fired equally often.
    double activation_share = 0.0;
};

struct Placement {
    uint64_t vram_budget = 0;
    uint64_t reserve = 0;       // what the device needs itself; charged if anything is placed
    uint64_t device_bytes = 0;  // planned, with the reserve; never above the budget
    uint64_t neuron_budget = 0; // what all the rest left for neurons
    int hidden_dim = 0;
    int group = 0;
    bool has_counts = false;
    uint64_t n_neurons = 0;        // on the device, all layers
    double activation_share = 0.0; // as of a layer, over all layers
    std::array<PartPlacement, kParts> parts;
    std::vector<LayerPlacement> layers;

    const PartPlacement& part(Part which) const noexcept {
        return parts[static_cast<size_t>(which)];
    }
    // Whether the host computes nothing but embeddings.
    bool is_whole() const noexcept;
};

// Throws Error(invalid_argument) for options that do not fit the model, or for given neurons that
// do not fit the budget.
Placement place(const ModelSizes& sizes, const PlacementOptions& options);

// The largest power of two that divides hidden_dim and is at most 256, which suits the kernels;
// where neurons of a layer stay together, all of them.
int natural_group(const ModelSizes& sizes) noexcept;

// Bytes of these neurons.
uint64_t neuron_bytes(const ModelSizes& sizes, const Neurons& neurons) noexcept;

// Of a device with so much free memory: all but what its display and driver may come to need.
uint64_t default_vram_budget(uint64_t free_bytes) noexcept;

} // namespace powerinfer
