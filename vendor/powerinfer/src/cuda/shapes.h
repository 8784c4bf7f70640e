// Sizes that kernels and plans agree on. Known without a device.
#pragma once

#include "../kv_cache.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace powerinfer::cuda {

inline constexpr int kMaxTokens = 32;    // that share a list of neurons: a bit each in a word
inline constexpr int kLongStep = 256;    // tokens of a step of a model that is all on the device
inline constexpr int kSegment = 32;      // neurons that are listed together
inline constexpr int kDownParts = 16;    // that a sum over neurons is cut into
inline constexpr int kDownColumns = 256; // of one block of such a sum

constexpr int ceil_div(int n, int d) noexcept {
    return (n + d - 1) / d;
}

// Of 32 rounded activations x = scale * q.
struct alignas(16) BlockScale {
    float scale;
    int32_t sums[2]; // of q, of 16 each
    int32_t unused;
};

// Rounded activations, q = 256 * high + low, in two planes of signed bytes.
struct Packed {
    int8_t* low = nullptr;        // (T, dim), dim a multiple of 32; nullptr: not wanted
    int8_t* high = nullptr;       // (T, dim)
    BlockScale* blocks = nullptr; // (T, dim / 32)
};

// The same from token `first` on.
constexpr Packed tokens_from(const Packed& packed, int first, int dim) noexcept {
    const size_t n = static_cast<size_t>(first) * static_cast<size_t>(dim);
    return packed.low == nullptr ? Packed{}
                                 : Packed{packed.low + n, packed.high + n, packed.blocks + n / 32};
}

// Which neurons some token needs. Rows of the predictor are neurons of the device first (hot rows,
// [0, n_hot)), then those of the host (cold rows). A segment has 32 rows of one kind, the last hot
// one and the last cold one may have fewer: segment s < n_hot_segments begins at row 32 * s, the
// cold ones at n_hot + 32 * (s - n_hot_segments).
struct Selection {
    int32_t* counts;  // (n_segments,)
    int32_t* rows;    // (n_segments, 32) of each segment its selected rows, ascending, at its begin
    uint32_t* needed; // (n_segments, 32) of each of them bit t: token t selects it
};
constexpr int n_hot_segments(int n_hot) noexcept {
    return ceil_div(n_hot, kSegment);
}
constexpr int n_segments(int n_hot, int n_rows) noexcept {
    return n_hot_segments(n_hot) + ceil_div(n_rows - n_hot, kSegment);
}

// What a device counts of the neurons of a layer.
enum LayerCounter : int {
    kActive,    // coefficients that are not zero, of all tokens
    kCandidate, // needed neurons, of all tokens
    kTested,    // neurons that some token needs: their gate, or ungated up, is read
    kRead,      // neurons of which all is read
    kLayerCounters
};

// Positions that one block of the attention sums, the same ones of every sequence, whatever its
// length: a long context has at most kAttentionChunks of them.
inline constexpr int kAttentionChunks = 64;
inline constexpr int kLeastChunk = 8 * kPageTokens;
constexpr int attention_chunk(int n_ctx) noexcept {
    int chunk = kLeastChunk;
    while (ceil_div(n_ctx, chunk) > kAttentionChunks) {
        chunk *= 2;
    }
    return chunk;
}
// Elements of a head, an even number: what a block has room for beside what it sums.
inline constexpr int kMaxHeadDim = 1024;

// Floats of scratch: of each chunk a sum of values, a maximum and a sum of exponentials. Grows with
// n_ctx.
constexpr size_t attention_scratch(int n_heads, int head_dim, int n_tokens, int n_ctx) noexcept {
    return static_cast<size_t>(n_tokens) * static_cast<size_t>(n_heads) *
           static_cast<size_t>(std::min(ceil_div(n_ctx, kLeastChunk), kAttentionChunks)) *
           (static_cast<size_t>(head_dim) + 2);
}

} // namespace powerinfer::cuda
