// What a device computes in: one allocation, whose size is planned without a device.
#pragma once

#include "carver.h"
#include "cuda/shapes.h"
#include "model_sizes.h"

#include <cstdint>

namespace powerinfer {

// Of the device: arrays in its memory. T = tokens of a step, which is cut into spans of F = at most
// kMaxTokens for what depends on lists of neurons or is large.
struct DeviceScratch {
    int n_tokens = 0;           // T at most
    int n_pages = 0;            // of the KV cache
    int pages_per_sequence = 0; // at most

    // What the host tells about a step, copied together.
    struct Step {
        std::byte* begin = nullptr;
        size_t n_bytes = 0;
        float* x = nullptr;           // (T, dim) residuals
        float* rotation = nullptr;    // (T, head_dim)
        int32_t* positions = nullptr; // (T,)
        int32_t* sequences = nullptr; // (T,)
        int32_t* pages = nullptr;     // (n_sequences, pages_per_sequence)
    } step;

    // Attention.
    float* attn_normed = nullptr;     // (T, dim)
    float* q = nullptr;               // (T, dim)
    float* k = nullptr;               // (T, kv_dim)
    float* v = nullptr;               // (T, kv_dim)
    float* attended = nullptr;        // (T, dim)
    float* attention_parts = nullptr; // attention_scratch of F tokens
    cuda::Packed packed_attn{};       // (T, dim) input of the projections, then what was attended

    // Feed-forward.
    float* normed = nullptr;      // (T, dim)
    float* rank = nullptr;        // (F, rank) hidden layer of the predictor, if one is used
    float* coef = nullptr;        // (F, hidden_dim)
    float* down_parts = nullptr;  // (kDownParts, F, dim)
    uint32_t* arrived = nullptr;  // (F * column tiles,) 0
    cuda::Packed packed_normed{}; // (T, dim)
    cuda::Packed packed_x{};      // (T, dim) for the predictor
    cuda::Packed packed_rank{};   // (F, rank)
    cuda::Packed packed_coef{};   // (F, hidden_dim), where down has no rows of neurons
    // By the predictor, of each span; of n_segments(.., hidden_dim).
    cuda::Selection selections[cuda::kLongStep / cuda::kMaxTokens]{};
    uint32_t* counters = nullptr; // (n_layers, kLayerCounters) since they were read
    uint32_t* fired = nullptr;    // (n_layers, hidden_dim) likewise, by row

    float* logits = nullptr; // (F, vocab_size)

    std::byte* arriving = nullptr; // (NeuronStaging::kSlots, slot_bytes) neurons

    // Carves all arrays; for what `model` is and contexts of `shape` are.
    static DeviceScratch carve(Carver& carver, const Model& model, const ContextShape& shape);
    // The arrays of a step again, in the host's memory of step.n_bytes.
    static Step carve_step(std::byte* memory, const Model& model, const ContextShape& shape);
};

} // namespace powerinfer
