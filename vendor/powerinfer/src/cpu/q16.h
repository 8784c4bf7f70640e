// Activations in Q16 (see ops.h), one block as the scalar table packs it. Static functions only.
#pragma once

#include "ops.h"

#include <cmath>

namespace powerinfer::cpu {

struct Q16Block {
    float scale;
    int32_t sum; // of q
    int16_t q[kQ16Block];
};

static inline Q16Block round_q16(const float* x) noexcept {
    float amax = 0;
    bool finite = true;
    for (int j = 0; j < kQ16Block; ++j) {
        finite = finite && std::isfinite(x[j]);
        amax = std::fmax(amax, std::fabs(x[j]));
    }
    constexpr float kMax = kQ16Max;
    Q16Block block = {finite ? amax / kMax : std::nanf(""), 0, {}};
    for (int j = 0; j < kQ16Block; ++j) {
        float steps = 0;
        if (finite && block.scale != 0.0f) {
            // Only a subnormal scale needs the clamp.
            steps = std::nearbyint(std::fmin(std::fmax(x[j] / block.scale, -kMax), kMax));
        }
        block.q[j] = static_cast<int16_t>(steps);
        block.sum += block.q[j];
    }
    return block;
}

} // namespace powerinfer::cpu
