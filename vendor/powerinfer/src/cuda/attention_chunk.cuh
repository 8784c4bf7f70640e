// What a warp makes of a chunk of positions: scores, weights and a weighted sum of values.
#pragma once

#include "../kv_cache.h"
#include "reduce.cuh"

#include <cmath>
#include <cstring>
#include <type_traits>

namespace powerinfer::cuda {

static_assert(kPageTokens == kWarp); // a lane for each position of a page

// Lanes that share a key: few, so that a product takes few shuffles.
inline constexpr int kKeyLanes = 4;
inline constexpr int kKeyRows = kWarp / kKeyLanes; // keys that a warp reads at once

constexpr int clamped(int n, int least, int most) noexcept {
    return n < least ? least : n > most ? most : n;
}

__device__ __forceinline__ float to_float(float x) {
    return x;
}

__device__ __forceinline__ float to_float(__half x) {
    return __half2float(x);
}

// What kN elements of type T are loaded as: one word.
template <typename T, int kN>
using Raw = std::conditional_t<
    sizeof(T) * kN == 16,
    uint4,
    std::conditional_t<sizeof(T) * kN == 8, uint2, unsigned>>;

template <int kN, typename T>
__device__ __forceinline__ Raw<T, kN> load_raw(const T* p) {
    static_assert(sizeof(Raw<T, kN>) == sizeof(T) * kN);
    return *reinterpret_cast<const Raw<T, kN>*>(p);
}

template <typename T, int kN>
__device__ __forceinline__ void decode(float (&out)[kN], const Raw<T, kN>& raw) {
    T elements[kN];
    memcpy(&elements, &raw, sizeof raw);
#pragma unroll
    for (int i = 0; i < kN; ++i) {
        out[i] = to_float(elements[i]);
    }
}

// Of shared memory, in words of up to 16 bytes.
template <int kN>
__device__ __forceinline__ void load_floats(float (&out)[kN], const float* p) {
    constexpr int kWord = kN % 4 == 0 ? 4 : kN % 2 == 0 ? 2 : 1;
#pragma unroll
    for (int i = 0; i < kN; i += kWord) {
        const auto word = load_raw<kWord>(p + i);
        memcpy(out + i, &word, sizeof word);
    }
}

// exp(x - max), where a max of -inf stands for no entries but -inf (and NaN): 0 then, not NaN.
__device__ __forceinline__ float exp_below(float x, float max) {
    return expf(x - (max == -INFINITY ? 0.0f : max));
}

// Of the cache, from a head's first column in the first row of a page.
struct PageRows {
    size_t offset; // of row 0
    int stride;    // a page has fewer elements than an int can count
    int n;         // rows in use, at least 1
};

// One chunk of positions for up to kHeads query heads of one KV head of one token. A row of a head
// is read in pieces of kPiece elements, and kLanes lanes read its values, kLanes * kPiece columns;
// wider heads have several tiles of columns, each with a block of its own.
//
// Every warp keeps of each query head the maximum of the scores so far and sums that are relative
// to it; the warps meet only at the end.
template <typename T, int kPiece, int kLanes, int kHeads>
class ChunkOfWarp {
public:
    static constexpr int kColumns = kLanes * kPiece;
    static constexpr int kSlots = kWarp / kLanes; // rows of values that a warp reads at once
    // Loads that a lane waits for together; more heads have more to compute meanwhile.
    static constexpr int kInFlight = kHeads == 1 ? 16 : 8;
    static constexpr int kSteps = kLanes / kKeyLanes; // pieces of a key that a lane reads
    static constexpr int kKeyUnroll = clamped(kInFlight / kSteps, 1, kHeads == 1 ? 4 : 2);
    static constexpr int kValueUnroll = clamped(kInFlight, 1, kWarp / kSlots);

    float max[kHeads];           // the same in all lanes
    float sum[kHeads];           // of the weights of this lane's positions
    float value[kHeads][kPiece]; // of this lane's columns, over the positions of its slot

    __device__ __forceinline__ ChunkOfWarp() {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            max[h] = -INFINITY;
            sum[h] = 0;
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                value[h][i] = 0;
            }
        }
    }

    // scores (kWarp, kHeads) of this warp = scale * q . key; queries (kHeads, query_stride), zeros
    // beyond the head's columns.
    __device__ __forceinline__ void score(
        float* scores,
        const float* queries,
        int query_stride,
        const T* __restrict__ keys,
        const PageRows& page,
        int n_pieces,
        float scale
    ) const {
        constexpr int kUnroll = kKeyUnroll;
        const int lane = lane_id();
        const int part = lane % kKeyLanes;
#pragma unroll 1
        for (int first = 0; first < page.n; first += kUnroll * kKeyRows) {
            float dots[kUnroll][kHeads] = {};
#pragma unroll 1
            for (int span = 0; span < n_pieces; span += kLanes) {
                Raw<T, kPiece> raw[kUnroll][kSteps];
#pragma unroll
                for (int u = 0; u < kUnroll; ++u) {
                    const int row = min(first + u * kKeyRows + lane / kKeyLanes, page.n - 1);
                    const T* key = keys + page.offset + row * page.stride;
#pragma unroll
                    for (int s = 0; s < kSteps; ++s) {
                        const int piece = span + s * kKeyLanes + part;
                        raw[u][s] = {};
                        if (piece < n_pieces) {
                            raw[u][s] = load_raw<kPiece>(key + piece * kPiece);
                        }
                    }
                }
#pragma unroll
                for (int s = 0; s < kSteps; ++s) {
                    const int piece = span + s * kKeyLanes + part;
                    float k[kUnroll][kPiece];
#pragma unroll
                    for (int u = 0; u < kUnroll; ++u) {
                        decode<T>(k[u], raw[u][s]);
                    }
#pragma unroll
                    for (int h = 0; h < kHeads; ++h) {
                        float query[kPiece];
                        load_floats(query, queries + h * query_stride + piece * kPiece);
#pragma unroll
                        for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
                            for (int i = 0; i < kPiece; ++i) {
                                dots[u][h] = fmaf(query[i], k[u][i], dots[u][h]);
                            }
                        }
                    }
                }
            }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u) {
                float* row = scores + (first + u * kKeyRows + lane / kKeyLanes) * kHeads;
#pragma unroll
                for (int h = 0; h < kHeads; ++h) {
                    const float dot = warp_sum<kKeyLanes>(dots[u][h]);
                    if (part == h % kKeyLanes) {
                        row[h] = dot * scale;
                    }
                }
            }
        }
    }

    // Turns scores to weights, and makes the sums relative to the new maximum.
    __device__ __forceinline__ void weigh(float* scores, int n) {
        const int lane = lane_id();
        float weights[kHeads];
        load_floats(weights, scores + lane * kHeads);
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            const float mine = lane < n ? weights[h] : -INFINITY;
            const float all = fmaxf(max[h], warp_max(mine));
            const float shrink = exp_below(max[h], all);
            const float weight = exp_below(mine, all);
            max[h] = all;
            sum[h] = sum[h] * shrink + weight;
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
                value[h][i] *= shrink;
            }
            scores[lane * kHeads + h] = weight;
        }
    }

    // Adds the weighted values in columns of `piece`.
    __device__ __forceinline__ void add(
        const float* weights, const T* __restrict__ values, const PageRows& page, bool has_columns
    ) {
        constexpr int kUnroll = kValueUnroll;
        const int slot = lane_id() / kLanes;
#pragma unroll 1
        for (int first = 0; first < page.n; first += kUnroll * kSlots) {
            Raw<T, kPiece> raw[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u) {
                // Beyond the page's rows the weight is 0.
                const int row = min(first + u * kSlots + slot, page.n - 1);
                raw[u] = {};
                if (has_columns) {
                    raw[u] = load_raw<kPiece>(values + page.offset + row * page.stride);
                }
            }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u) {
                float v[kPiece];
                decode<T>(v, raw[u]);
                float weight[kHeads];
                load_floats(weight, weights + (first + u * kSlots + slot) * kHeads);
#pragma unroll
                for (int h = 0; h < kHeads; ++h) {
#pragma unroll
                    for (int i = 0; i < kPiece; ++i) {
                        value[h][i] = fmaf(weight[h], v[i], value[h][i]);
                    }
                }
            }
        }
    }

    // Adds up what the lanes have, over positions.
    __device__ __forceinline__ void gather() {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            sum[h] = warp_sum(sum[h]);
#pragma unroll
            for (int i = 0; i < kPiece; ++i) {
#pragma unroll
                for (int distance = kLanes; distance < kWarp; distance *= 2) {
                    value[h][i] += __shfl_xor_sync(kWholeWarp, value[h][i], distance);
                }
            }
        }
    }
};

} // namespace powerinfer::cuda
