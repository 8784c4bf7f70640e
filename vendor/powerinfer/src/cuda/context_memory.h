// The memory of a context: on the device its scratch and cache, and what both sides read and write.
#pragma once

#include "../device_scratch.h"
#include "handles.h"
#include "kernels.h"

namespace powerinfer::cuda {

// Of one layer or one output at a time, in pinned memory. T = tokens of a step, F = of a span.
struct SharedArrays {
    int32_t* n = nullptr;         // (1,) cold neurons
    int32_t* neurons = nullptr;   // (hidden_dim,)
    uint32_t* needed = nullptr;   // (hidden_dim,)
    float* input = nullptr;       // (T, dim) of the feed-forward
    float* residual = nullptr;    // (T, dim), where the host predicts
    float* delta = nullptr;       // (T, dim) what the host's neurons add
    float* hidden = nullptr;      // (T, dim) outputs
    float* logits = nullptr;      // (F, vocab_size)
    int32_t* rows = nullptr;      // (T,) of outputs
    uint32_t* counters = nullptr; // (n_layers, kLayerCounters)
    uint32_t* fired = nullptr;    // (n_layers, hidden_dim)
};

struct ContextMemory {
    // With the cache of the first n_layers.
    ContextMemory(const Model& model, const ContextShape& shape, size_t n_layers);

    DeviceCache cache_of(int layer) const noexcept;

    DType kv_type;
    size_t cache_plane;  // bytes of the keys of one layer
    DeviceMemory device; // scratch, then cache
    PinnedMemory pinned; // staging, then what is shared

    DeviceScratch scratch;
    std::byte* cache = nullptr;  // (n_layers, 2, n_pages, kPageTokens, kv_dim)
    DeviceScratch::Step staging; // of scratch.step
    SharedArrays shared;
};

} // namespace powerinfer::cuda
