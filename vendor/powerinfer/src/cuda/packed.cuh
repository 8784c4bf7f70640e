// Rounds activations as the CPU does (cpu/rounded.h), a warp for each block of 32.
#pragma once

#include "kernels.h"
#include "reduce.cuh"

#include <cmath>

namespace powerinfer::cuda {

// The whole warp takes part: lane j has element `offset` + j of the (T, dim) plane, where `offset`
// is a multiple of 32.
__device__ __forceinline__ void pack_lane(
    const Packed& out, size_t offset, float value, int max_step
) {
    const int lane = lane_id();
    const bool is_finite = __all_sync(kWholeWarp, std::isfinite(value)) != 0;
    const float largest = static_cast<float>(max_step);
    const float amax = warp_max(fabsf(value));
    const float scale = is_finite ? amax / largest : __int_as_float(0x7fc00000);
    float steps = 0;
    if (is_finite && scale != 0.0f) {
        // Only a subnormal scale needs the clamp.
        steps = rintf(fminf(fmaxf(value / scale, -largest), largest));
    }
    const int q = static_cast<int>(steps);
    const int8_t low = static_cast<int8_t>(q);
    out.low[offset + static_cast<size_t>(lane)] = low;
    out.high[offset + static_cast<size_t>(lane)] = static_cast<int8_t>((q - low) / 256);
    const int sum = warp_sum<16>(q);
    const int other = __shfl_xor_sync(kWholeWarp, sum, 16);
    if (lane == 0) {
        out.blocks[offset / 32] = BlockScale{scale, {sum, other}, 0};
    }
}

} // namespace powerinfer::cuda
