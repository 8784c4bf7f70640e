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

// A whole step. Leaves the tokens' last residual in scratch.x. Throws Error(cancelled) between two
// layers when `cancelled` is set.
void forward(
    Compute& compute,
    KvCache& cache,
    const Tokens& tokens,
    const std::atomic<bool>& cancelled,
    bool audit
);

// out (n_tokens, dim) = the model's norm of `x`.
void normalize(
    Compute& compute, float* out, const float* x, const NormWeights& weights, int n_tokens
);

} // namespace powerinfer
