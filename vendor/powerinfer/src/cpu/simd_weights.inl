// Weight rows as SIMD values. Included by the file of one instruction set after its struct Simd;
// everything here has internal linkage, so that no such code leaks into other files.
//
// Kernels take a row unit by unit: a super-block, or as many blocks of 32 as fill the lanes of a
// vector, four lanes each (a group). A weight type W offers
//   kUnit, kUnitBytes        elements and bytes of a unit
//   kBlock, kBlockBytes      elements and bytes of a block: rows end with whole blocks, not units
//   Steps                    made of (unit, g) or of quants(unit, g): what group g has before it
//                            is scaled; at(i) is vector i, as floats. The unit of floats has 32
//                            elements, and their steps can be read on beyond it
//   kHasScales, kHasMin      whether steps are multiplied, and whether a minimum is subtracted then
//   Scales, scales(unit)     what multiplies, and is subtracted from, the steps of the unit:
//   scale_at(scales, j)      element j and those up to the next 16
//   min_at(scales, j)        element j and those up to the next 32
//   kByScale                 whether axpy multiplies scales by coefficients, and not weights
//   multiply(scales, x)      which it does by this
// and, when quantised, for the product with packed activations (simd_pack.inl)
//   kZero                    subtracted from every unsigned integer
//   kHalves                  scales of 32 elements: 1, or 2 for 16 elements each
//   quants(unit, g)          the integers of group g of the unit
//   Lanes, lanes(unit)       its scales and minima, for
//   scale(lanes, g, i)       what multiplies half i of group g (both if kHalves is 1), by lane
//   min(lanes, g)            what is subtracted, by lane
#pragma once

#include "blocks.h"

namespace powerinfer::cpu {
namespace {

using F = Simd::F;
using Bytes = Simd::Bytes;

constexpr int kGroupBlocks = Simd::kLanes / 4; // blocks of 32 in a group: four lanes each

// Types of floats.

template <int element_bytes, F (*load)(const uint8_t*)>
struct WeightFloat {
    static constexpr int kUnit = 32;
    static constexpr int kUnitBytes = kUnit * element_bytes;
    static constexpr int kBlock = 1;
    static constexpr int kBlockBytes = element_bytes;
    static constexpr int kElementBytes = element_bytes;
    static constexpr bool kHasScales = false;
    static constexpr bool kHasMin = false;
    static constexpr bool kByScale = false;
    struct Scales {};
    static Scales scales(const uint8_t*) noexcept { return {}; }

    struct Steps {
        const uint8_t* unit;
        Steps(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept { return load(unit + i * Simd::kLanes * element_bytes); }
    };
    static F vector(const uint8_t* p) noexcept { return load(p); }
};

inline F load_f32(const uint8_t* p) noexcept {
    return Simd::load(reinterpret_cast<const float*>(p));
}

using WeightF32 = WeightFloat<4, load_f32>;
using WeightF16 = WeightFloat<2, Simd::load_f16>;
using WeightBf16 = WeightFloat<2, Simd::load_bf16>;

// Blocks of 32 with one scale.

template <int block_bytes, int zero, Bytes (*decode)(const uint8_t*), typename StepsType>
struct Weight32 {
    static constexpr int kUnit = 32 * kGroupBlocks;
    static constexpr int kUnitBytes = kGroupBlocks * block_bytes;
    struct Scales {
        float d[kGroupBlocks];
    };
    static Scales scales(const uint8_t* unit) noexcept {
        Scales s;
        Simd::scales<block_bytes>(s.d, unit);
        return s;
    }
    static void multiply(Scales& s, float factor) noexcept { Simd::multiply(s.d, factor); }
    static float scale_at(const Scales& s, int j) noexcept { return s.d[j / 32]; }
    using Steps = StepsType;

    static constexpr int kBlock = 32;
    static constexpr int kBlockBytes = block_bytes;
    static constexpr int kZero = zero;
    static constexpr bool kHasScales = true;
    static constexpr bool kByScale = true;
    static constexpr bool kHasMin = false;
    static constexpr int kHalves = 1;
    static Simd::Quants quants(const uint8_t* unit, int) noexcept {
        Bytes q[kGroupBlocks];
        for (int i = 0; i < kGroupBlocks; ++i) {
            q[i] = decode(unit + i * block_bytes);
        }
        return Simd::quants<zero>(q);
    }
    using Lanes = F;
    static Lanes lanes(const uint8_t* unit) noexcept { return Simd::lanes_f16<block_bytes>(unit); }
    static F scale(Lanes d, int, int) noexcept { return d; }
};

inline Bytes decode_q4_0(const uint8_t* block) noexcept {
    return Simd::nibbles(block + kQ4_0Quants);
}

inline Bytes decode_q5_0(const uint8_t* block) noexcept {
    const Bytes high = Simd::bits(load_u32(block + kQ5_0HighBits));
    return Simd::join(Simd::nibbles(block + kQ5_0Quants), high);
}

inline Bytes decode_q8_0(const uint8_t* block) noexcept {
    return Simd::minus(Simd::load_bytes(block + kQ8_0Quants), -128);
}

// The type that most models for small machines come in: units are read without a detour over
// blocks.
struct WeightQ4_0 : Weight32<18, 8, decode_q4_0, Simd::StepsQ4_0> {
    static Simd::Quants quants(const uint8_t* unit, int) noexcept {
        return Simd::quants_q4_0(unit);
    }
};
using WeightQ5_0 = Weight32<22, 16, decode_q5_0, Simd::StepsQ5_0>;
struct WeightQ8_0 : Weight32<34, 128, decode_q8_0, Simd::StepsQ8_0> {
    // One by one: faster than together where the products wait for loads.
    static F lanes(const uint8_t* unit) noexcept {
        float d[kGroupBlocks];
        for (int i = 0; i < kGroupBlocks; ++i) {
            d[i] = Simd::f16(load_u16(unit + i * kBlockBytes));
        }
        return Simd::lanes(d);
    }
};

// Super-blocks of 256.

template <int block_bytes, int zero, Bytes (*decode)(const uint8_t*, int), typename StepsType>
struct Weight256 {
    static constexpr int kUnit = 256;
    static constexpr int kUnitBytes = block_bytes;
    static constexpr int kBlock = kUnit;
    static constexpr int kBlockBytes = kUnitBytes;
    static constexpr int kZero = zero;
    static constexpr bool kHasScales = true;
    static constexpr bool kByScale = false;
    static Simd::Quants quants(const uint8_t* block, int g) noexcept {
        Bytes q[kGroupBlocks];
        for (int i = 0; i < kGroupBlocks; ++i) {
            q[i] = decode(block, g * kGroupBlocks + i);
        }
        return Simd::quants<zero>(q);
    }
    using Steps = StepsType;
};

struct ScalesK {
    float scale[8];
    float min[8];
};

// With scales and minima.
template <int block_bytes, Bytes (*decode)(const uint8_t*, int), typename StepsType>
struct WeightK : Weight256<block_bytes, 0, decode, StepsType> {
    using Scales = ScalesK;
    static Scales scales(const uint8_t* block) noexcept {
        uint8_t scales[8];
        uint8_t mins[8];
        unpack_scales_k(block + kScalesK, scales, mins);
        Scales s;
        Simd::scale_unsigned8(s.scale, scales, Simd::f16(load_u16(block)));
        Simd::scale_unsigned8(s.min, mins, Simd::f16(load_u16(block + 2)));
        return s;
    }
    static float scale_at(const Scales& s, int j) noexcept { return s.scale[j / 32]; }
    static float min_at(const Scales& s, int j) noexcept { return s.min[j / 32]; }

    static constexpr bool kHasMin = true;
    static constexpr int kHalves = 1;
    using Lanes = Scales;
    static Lanes lanes(const uint8_t* block) noexcept { return scales(block); }
    static F scale(const Lanes& s, int g, int) noexcept {
        return Simd::lanes(s.scale + g * kGroupBlocks);
    }
    static F min(const Lanes& s, int g) noexcept { return Simd::lanes(s.min + g * kGroupBlocks); }
};

inline Bytes decode_q4_k(const uint8_t* block, int c) noexcept {
    return Simd::field(Simd::load_bytes(block + kQ4KQuants + 32 * (c / 2)), 4 * (c % 2), 15);
}

inline Bytes decode_q5_k(const uint8_t* block, int c) noexcept {
    const Bytes low = Simd::load_bytes(block + kQ5KQuants + 32 * (c / 2));
    const Bytes high = Simd::load_bytes(block + kQ5KHighBits);
    return Simd::join(Simd::field(low, 4 * (c % 2), 15), Simd::field(high, c, 1));
}

using WeightQ4K = WeightK<144, decode_q4_k, Simd::StepsQ4K>;
using WeightQ5K = WeightK<176, decode_q5_k, Simd::StepsQ5K>;

inline Bytes decode_q6_k(const uint8_t* block, int c) noexcept {
    const int run = c % 4;
    const Bytes low = Simd::load_bytes(block + 64 * (c / 4) + 32 * (run % 2));
    const Bytes high = Simd::load_bytes(block + kQ6KHighBits + 32 * (c / 4));
    return Simd::join(Simd::field(low, 4 * (run / 2), 15), Simd::field(high, 2 * run, 3));
}

struct WeightQ6K : Weight256<210, 32, decode_q6_k, Simd::StepsQ6K> {
    struct Scales {
        float first[8]; // of 16 elements each
        float last[8];
    };
    static Scales scales(const uint8_t* block) noexcept {
        const float d = Simd::f16(load_u16(block + kQ6KScale));
        Scales s;
        Simd::scale_signed8(s.first, block + kQ6KScales, d);
        Simd::scale_signed8(s.last, block + kQ6KScales + 8, d);
        return s;
    }
    static float scale_at(const Scales& s, int j) noexcept {
        return j < 128 ? s.first[j / 16] : s.last[j / 16 - 8];
    }

    static constexpr bool kHasMin = false;
    static constexpr int kHalves = 2;
    struct Lanes {
        float scale[2][8]; // of the first and the second 16 elements of each 32
    };
    static Lanes lanes(const uint8_t* block) noexcept {
        const float d = Simd::f16(load_u16(block + kQ6KScale));
        uint8_t scales[2][8];
        for (int i = 0; i < 8; ++i) {
            scales[0][i] = block[kQ6KScales + 2 * i];
            scales[1][i] = block[kQ6KScales + 2 * i + 1];
        }
        Lanes s;
        Simd::scale_signed8(s.scale[0], scales[0], d);
        Simd::scale_signed8(s.scale[1], scales[1], d);
        return s;
    }
    static F scale(const Lanes& s, int g, int half) noexcept {
        return Simd::lanes(s.scale[half] + g * kGroupBlocks);
    }
};

// The type of most output matrices: where a group is half of a block, it is read without a detour
// over blocks of 32.
template <typename S>
struct WideQ6K : WeightQ6K {
    static typename S::Quants quants(const uint8_t* block, int g) noexcept {
        return S::quants_q6_k(block + 64 * g, block + kQ6KHighBits + 32 * g);
    }
    using Lanes = F; // the scales of all 16 elements, in order
    static F lanes(const uint8_t* block) noexcept {
        return S::scales_q6_k(block + kQ6KScales, S::f16(load_u16(block + kQ6KScale)));
    }
    static F scale(F scales, int g, int half) noexcept {
        return S::lanes_q6_k(scales, 8 * g + half);
    }
};

template <typename S>
struct SelectQ6K {
    using Type = WeightQ6K;
};
template <typename S>
    requires requires { &S::quants_q6_k; }
struct SelectQ6K<S> {
    using Type = WideQ6K<S>;
};

// Of the first columns of a row.
template <typename W>
size_t bytes_of(int columns) noexcept {
    return static_cast<size_t>((columns + W::kBlock - 1) / W::kBlock) * W::kBlockBytes;
}

inline const uint8_t* row_at(const Rows& w, int i) noexcept {
    const auto row = static_cast<size_t>(w.ids != nullptr ? w.ids[i] : i);
    return reinterpret_cast<const uint8_t*>(w.data) + row * w.stride_bytes;
}

// Asks for n bytes that a later row will need.
inline void prefetch(const uint8_t* p, int n) noexcept {
    for (int i = 0; i < n; i += 64) {
        __builtin_prefetch(p + i, 0, 3);
    }
}

} // namespace
} // namespace powerinfer::cpu
