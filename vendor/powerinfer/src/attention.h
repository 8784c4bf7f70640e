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

// Consecutive tokens of a sequence attend together where a token alone has fewer queries to a head
// than this: so many share what is read of the cache.
inline constexpr int kSharedQueries = 4;

// Room for the scores of one thread, of each query in whole pages.
constexpr size_t score_stride(int n_ctx) noexcept {
    return static_cast<size_t>(pages_for(n_ctx)) * kPageTokens;
}
constexpr size_t n_scores(int group, int n_ctx) noexcept {
    return static_cast<size_t>(group < kSharedQueries ? kSharedQueries : group) *
           score_stride(n_ctx);
}

// Fills scratch.rotation and scratch.runs for the tokens of a step; the same for every layer.
void prepare_attention(Compute& compute, const Tokens& tokens);

// scratch.attn_delta = attention of layer `index` over `input` (n, dim). Stores the tokens' keys
// and values in the cache, where their positions have been reserved.
void attend(Compute& compute, KvCache& cache, int index, const Tokens& tokens, const float* input);

} // namespace powerinfer
