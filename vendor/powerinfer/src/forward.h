// A batch of tokens through all layers of the model.
#pragma once

#include "attention.h"
#include "kv_cache.h"
#include "linear.h"

#include <atomic>

namespace powerinfer {

// Begins a step: the tokens' embeddings in scratch.x. Their positions must have been reserved in
// the cache.
void embed(Compute& compute, const Tokens& tokens);

// Layer `index` of the step that was begun; changes scratch.x.
void forward_layer(Compute& compute, KvCache& cache, int index, const Tokens& tokens, bool audit);

// Layers first, first + 1, .. of the step that was begun. Throws Error(cancelled) between two
// layers when `cancelled` is set.
void forward_layers(
    Compute& compute,
    KvCache& cache,
    int first,
    const Tokens& tokens,
    const std::atomic<bool>& cancelled,
    bool audit
);

// A whole step. Leaves the tokens' last residual in scratch.x.
void forward(
    Compute& compute,
    KvCache& cache,
    const Tokens& tokens,
    const std::atomic<bool>& cancelled,
    bool audit
);

// Residuals of a step that become outputs.
struct OutputRows {
    const int32_t* tokens; // (n,) of the step, ascending
    int n;
    const int32_t* with_logits; // (n_logits,) likewise, some of them
    int n_logits;
    float* hidden; // (n, dim) normed
    float* logits; // (n_logits, vocab_size)
};

// After a step whose residuals are in scratch.x.
void write_outputs(Compute& compute, const OutputRows& rows);

// out (n_tokens, dim) = the model's norm of `x`.
void normalize(
    Compute& compute, float* out, const float* x, const NormWeights& weights, int n_tokens
);

} // namespace powerinfer
