// Multi-head attention over the paged cache, with grouped KV heads and rotary positions (spec 2.1).
#pragma once

#include "kv_cache.h"
#include "linear.h"

#include <cstdint>

namespace powerinfer {

// The tokens of one step.
struct Tokens {
    const int32_t* ids;       // (n,)
    const int32_t* positions; // (n,)
    const int32_t* sequences; // (n,)
    int n;
};

// Room for the scores of one query, in whole pages.
constexpr size_t score_stride(int n_ctx) noexcept {
    return static_cast<size_t>((n_ctx + kPageTokens - 1) / kPageTokens) * kPageTokens;
}

// Fills scratch.rotation for the positions of a step; the same for every layer.
void prepare_rotation(Compute& compute, const Tokens& tokens);

// scratch.attn_delta = attention of layer `index` over `input` (n, dim). Stores the tokens' keys
// and values in the cache, where their positions have been reserved.
void attend(Compute& compute, KvCache& cache, int index, const Tokens& tokens, const float* input);

} // namespace powerinfer
