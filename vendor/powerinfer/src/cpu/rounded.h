// Rounded activations (see ops.h), one block as the scalar table packs it. Static functions only.
#pragma once

#include "ops.h"

#include <cmath>

namespace powerinfer::cpu {

struct RoundedBlock {
    float scale;
    int32_t sum; // of q
    int16_t q[kActivationBlock];
};

static inline RoundedBlock round_block(const float* x, int bits) noexcept {
    float amax = 0;
    bool finite = true;
    for (int j = 0; j < kActivationBlock; ++j) {
        finite = finite && std::isfinite(x[j]);
        amax = std::fmax(amax, std::fabs(x[j]));
    }
    const auto largest = static_cast<float>(max_step(bits));
    RoundedBlock block = {finite ? amax / largest : std::nanf(""), 0, {}};
    for (int j = 0; j < kActivationBlock; ++j) {
        float steps = 0;
        if (finite && block.scale != 0.0f) {
            // Only a subnormal scale needs the clamp.
            steps = std::nearbyint(std::fmin(std::fmax(x[j] / block.scale, -largest), largest));
        }
        block.q[j] = static_cast<int16_t>(steps);
        block.sum += block.q[j];
    }
    return block;
}

} // namespace powerinfer::cpu
