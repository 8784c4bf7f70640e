// Rounded activations as the dot products read them: the groups of a token, then the scales of its
// blocks, then more sums of each group. A group holds the blocks of one vector of lanes, four lanes
// a block: Simd::lane(b, l) stands for elements 4l..4l+3 and 16+4l..16+4l+3 of block b. Steps of 16
// bits are split into two signed bytes, 256 * high + low, for the byte products of the processors;
// steps of 8 are the high bytes alone.
#pragma once

#include "simd_weights.inl"

#include <type_traits>

namespace powerinfer::cpu {
namespace {

template <int bits>
using Packed = Simd::Packed<bits>;

// What only some types of weights need of a group, by lane.
struct alignas(F) PackedSums {
    int32_t first[Simd::kLanes];      // sums of elements 0..15 of the blocks
    float minus_scaled[Simd::kLanes]; // -scale * sum
};

// Groups whose scales fill a vector.
constexpr int kSpanGroups = Simd::kLanes / kGroupBlocks;

int n_groups(int dim) noexcept {
    return (dim / kActivationBlock + kGroupBlocks - 1) / kGroupBlocks;
}

// The scales of a token are filled up with zeros to whole vectors.
size_t scale_bytes(int dim) noexcept {
    const int n_spans = (n_groups(dim) + kSpanGroups - 1) / kSpanGroups;
    return static_cast<size_t>(n_spans * Simd::kLanes) * sizeof(float);
}

template <int bits>
size_t packed_bytes(int dim) noexcept {
    return static_cast<size_t>(n_groups(dim)) * (sizeof(Packed<bits>) + sizeof(PackedSums)) +
           scale_bytes(dim);
}

size_t packed_bytes(int dim, int bits) {
    return bits == 8 ? packed_bytes<8>(dim) : packed_bytes<16>(dim);
}

// Tokens, from one of them and one of their groups on.
template <int bits, typename Byte = const std::byte>
struct PackedTokens {
    Byte* groups;
    Byte* scales;
    Byte* sums;
    size_t stride;

    PackedTokens(Byte* packed, int dim) noexcept
        : groups(packed),
          scales(groups + static_cast<size_t>(n_groups(dim)) * sizeof(Packed<bits>)),
          sums(scales + scale_bytes(dim)), stride(packed_bytes<bits>(dim)) {}
    auto& group(int t, int g) const noexcept { return at<Packed<bits>>(groups, t)[g]; }
    auto* scales_from(int t, int g) const noexcept {
        return at<float>(scales, t) + g * kGroupBlocks;
    }
    auto& group_sums(int t, int g) const noexcept { return at<PackedSums>(sums, t)[g]; }
    PackedTokens from(int t, int g) const noexcept {
        PackedTokens later = *this;
        later.groups = reinterpret_cast<Byte*>(&group(t, g));
        later.scales = reinterpret_cast<Byte*>(scales_from(t, g));
        later.sums = reinterpret_cast<Byte*>(&group_sums(t, g));
        return later;
    }

private:
    template <typename T>
    auto* at(Byte* first, int t) const noexcept {
        using Item = std::conditional_t<std::is_const_v<Byte>, const T, T>;
        return reinterpret_cast<Item*>(first + static_cast<size_t>(t) * stride);
    }
};

// Block b of the group; returns its scale.
template <int bits>
inline float pack_block(Packed<bits>& group, int b, const float* x) noexcept {
    constexpr uint32_t kInfinity = 0x7f800000u;
    const uint32_t amax = Simd::max_abs_bits32(x);
    float step = __builtin_bit_cast(float, amax) / static_cast<float>(max_step(bits));
    int16_t q[kActivationBlock] = {};
    if (amax >= kInfinity) {
        step = __builtin_nanf("");
    } else if (step != 0.0f) {
        Simd::round_steps32(q, x, step, static_cast<float>(max_step(bits)));
    }
    int8_t high[kActivationBlock];
    int8_t low[kActivationBlock];
    for (int j = 0; j < kActivationBlock; ++j) {
        high[j] = static_cast<int8_t>(bits == 8 ? q[j] : (q[j] + 128) >> 8);
        low[j] = static_cast<int8_t>(q[j]);
    }
    for (int l = 0; l < 8; ++l) {
        const int at = 4 * Simd::lane(b, l % 4);
        __builtin_memcpy(group.steps[l / 4] + at, high + 4 * l, 4);
        if constexpr (bits == 16) {
            __builtin_memcpy(group.steps[2 + l / 4] + at, low + 4 * l, 4);
        }
    }
    return step;
}

template <int bits>
void pack_tokens(std::byte* out, const float* x, int n_tokens, int dim) {
    const PackedTokens<bits, std::byte> tokens(out, dim);
    __builtin_memset(out, 0, static_cast<size_t>(n_tokens) * tokens.stride);
    for (int t = 0; t < n_tokens; ++t) {
        float* scales = tokens.scales_from(t, 0);
        for (int b = 0; b < dim / kActivationBlock; ++b, x += kActivationBlock) {
            scales[b] = pack_block<bits>(tokens.group(t, b / kGroupBlocks), b % kGroupBlocks, x);
        }
        for (int g = 0; g < n_groups(dim); ++g) {
            Packed<bits>& group = tokens.group(t, g);
            PackedSums& sums = tokens.group_sums(t, g);
            const Simd::Sums first = Simd::half_sums<bits>(group, 0);
            const Simd::Sums all = Simd::add(first, Simd::half_sums<bits>(group, 1));
            const F minus_scale = Simd::sub(Simd::zero(), Simd::lanes(tokens.scales_from(t, g)));
            Simd::store_sums(group.sums, all);
            Simd::store_sums(sums.first, first);
            Simd::store(sums.minus_scaled, Simd::mul(minus_scale, Simd::to_float(all)));
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
