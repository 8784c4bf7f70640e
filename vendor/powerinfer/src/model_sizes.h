// What the parts of a model weigh, by class and layer, for deciding where they go. No weights are
// read.
#pragma once

#include "cuda/shapes.h"
#include "dtype.h"
#include "model.h"

#include <cstdint>
#include <vector>

namespace powerinfer {

// What a device is to compute.
struct ContextShape {
    int n_ctx = 0;                 // tokens in the KV cache, all sequences together
    int n_sequences = 1;           // with a cache of their own
    int n_batch = 512;             // tokens computed together
    int n_step = cuda::kMaxTokens; // of those, on a device
    DType kv_type = DType::f16;
};

// Bytes of one layer.
struct LayerSizes {
    uint64_t attention = 0; // matrices, biases and norms
    uint64_t kv_cache = 0;
    uint64_t predictor = 0; // that the strategy reads
    uint64_t ffn_norm = 0;  // and the bias of the down projection: what no neuron owns
    uint64_t tested = 0;    // of all neurons: gate, in ungated families up and its bias
    uint64_t rest = 0;      // of all neurons: what is read where the test is not zero

    uint64_t neurons() const noexcept { return tested + rest; }
};

struct ModelSizes {
    int hidden_dim = 0;
    // A neuron's weights are rows and it can be placed alone: PWRI files. In GGUF files the down
    // projection has a column of each neuron, so that the neurons of a layer stay together.
    bool has_neuron_rows = false;
    bool has_predictor = false; // which the strategy reads
    bool has_zeros = false;     // which it makes use of
    uint64_t embedding = 0;     // all rows, always on the host; of a tied output too
    uint64_t embedding_row = 0; // what one token reads of them
    uint64_t output = 0;        // norm and matrix; of a tied one the device gets a copy
    uint64_t reserve = 0;       // of a device in use, beside what is placed there
    std::vector<LayerSizes> layers;
};

// Of a device in use, before anything is allocated.
uint64_t device_overhead() noexcept;

// Of the model with its strategy: what that does not read is not charged.
ModelSizes model_sizes(const Model& model, const ContextShape& context);

} // namespace powerinfer
