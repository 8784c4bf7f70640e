// Rounded activations as the dot products read them. A group holds the blocks of one vector of
// lanes, four lanes a block: lane l of block b stands for elements 4l..4l+3 and 16+4l..16+4l+3.
// Steps of 16 bits are split into two signed bytes, 256 * high + low, for the byte products of the
// processors; steps of 8 are the high bytes alone.
#pragma once

#include "simd_weights.inl"

namespace powerinfer::cpu {
namespace {

using Packed = Simd::Packed;

int n_groups(int dim) noexcept {
    return (dim / kActivationBlock + kGroupBlocks - 1) / kGroupBlocks;
}

size_t packed_bytes(int dim) {
    return static_cast<size_t>(n_groups(dim)) * sizeof(Packed);
}

// Block b of the group.
template <int bits>
inline void pack_block(Packed& group, int b, const float* x) noexcept {
    constexpr uint32_t kInfinity = 0x7f800000u;
    const uint32_t amax = Simd::max_abs_bits32(x);
    float step = __builtin_bit_cast(float, amax) / static_cast<float>(max_step(bits));
    int16_t q[kActivationBlock] = {};
    if (amax >= kInfinity) {
        step = __builtin_nanf("");
    } else if (step != 0.0f) {
        Simd::round_steps32(q, x, step, static_cast<float>(max_step(bits)));
    }
    for (int half = 0; half < 2; ++half) {
        for (int j = 0; j < 16; ++j) {
            const int value = q[16 * half + j];
            group.high[half][16 * b + j] =
                static_cast<int8_t>(bits == 8 ? value : (value + 128) >> 8);
            if constexpr (bits == 16) {
                group.low[half][16 * b + j] = static_cast<int8_t>(value);
            }
        }
    }
    for (int l = 0; l < 4; ++l) {
        group.scale[4 * b + l] = step;
    }
}

template <int bits>
void pack_tokens(std::byte* out, const float* x, int n_tokens, int dim) {
    const int n_blocks = dim / kActivationBlock;
    auto* group = reinterpret_cast<Packed*>(out);
    for (int t = 0; t < n_tokens; ++t) {
        for (int first = 0; first < n_blocks; first += kGroupBlocks, ++group) {
            const int n = n_blocks - first < kGroupBlocks ? n_blocks - first : kGroupBlocks;
            if (n < kGroupBlocks) {
                __builtin_memset(static_cast<void*>(group), 0, sizeof *group);
            }
            for (int b = 0; b < n; ++b) {
                pack_block<bits>(*group, b, x + b * kActivationBlock);
            }
            Simd::sum_lanes<bits>(*group);
            x += n * kActivationBlock;
        }
    }
}

void pack(std::byte* out, const float* x, int n_tokens, int dim, int bits) {
    if (bits == 8) {
        pack_tokens<8>(out, x, n_tokens, dim);
    } else {
        pack_tokens<16>(out, x, n_tokens, dim);
    }
}

} // namespace
} // namespace powerinfer::cpu
