// Sums and maxima over a warp or a block, always in the same order: every thread gets the same
// bits.
#pragma once

#include "runtime.h"

namespace powerinfer::cuda {

inline constexpr uint32_t kWholeWarp = 0xffffffffu;

__device__ __forceinline__ int lane_id() {
    return static_cast<int>(threadIdx.x) % kWarp;
}

// Over each group of kLanes consecutive lanes, a power of two. The whole warp takes part.
template <int kLanes = kWarp, typename T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(kWholeWarp, x, distance);
    }
    return x;
}

// NaN counts as nothing, as in fmaxf.
template <int kLanes = kWarp>
__device__ __forceinline__ float warp_max(float x) {
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
        x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, distance));
    }
    return x;
}

// Over a block of kWarps whole warps in one dimension, all of which take part: the sums of the
// warps, added in order.
template <int kWarps, typename T>
__device__ __forceinline__ T block_sum(T x) {
    __shared__ T sums[kWarps];
    x = warp_sum(x);
    if (lane_id() == 0) {
        sums[threadIdx.x / kWarp] = x;
    }
    __syncthreads();
    T total = sums[0];
    for (int i = 1; i < kWarps; ++i) {
        total += sums[i];
    }
    __syncthreads(); // the next sum writes where this one is read
    return total;
}

} // namespace powerinfer::cuda
