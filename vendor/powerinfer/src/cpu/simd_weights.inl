// Weight rows as SIMD values. Included by the file of one instruction set after its struct Simd;
// everything here has internal linkage, so that no such code leaks into other files.
//
// A weight type W offers
//   kElements, kBytes     elements and bytes of one block (floats: 32 elements)
//   Head, head(block)     the scales of a block as floats
//   values(block, h, c)   elements 32c..32c+31 as floats, rounded as in scalar_blocks.h
// and, when quantised, for the dot product with packed activations (simd_pack.inl)
//   kUnitBlocks           blocks that are multiplied together: whole groups of kGroupBlocks x 32
//   kZero                 subtracted from every unsigned integer
//   kHasMin               whether a minimum is subtracted from every element
//   kScales               scales of 32 elements: 1, or 2 for 16 elements each
//   Unit, unit(blocks)    the scales of a unit
//   quants(blocks, g)     the integers of group g of the unit
//   scale(unit, g, i)     what multiplies their half i (both if kScales is 1), by lane
//   min(unit, g)          what is subtracted, by lane
#pragma once

#include "blocks.h"

namespace powerinfer::cpu {
namespace {

using F = Simd::F;
using Bytes = Simd::Bytes;

constexpr int kVectors = 32 / Simd::kLanes;
constexpr int kGroupBlocks = Simd::kLanes / 4; // blocks of 32 in a group: four lanes each

// 32 consecutive floats.
struct Floats {
    F v[kVectors];
};

inline Floats load_floats(const float* p) noexcept {
    Floats x;
    for (int i = 0; i < kVectors; ++i) {
        x.v[i] = Simd::load(p + i * Simd::kLanes);
    }
    return x;
}

inline void store_floats(float* p, const Floats& x) noexcept {
    for (int i = 0; i < kVectors; ++i) {
        Simd::store(p + i * Simd::kLanes, x.v[i]);
    }
}

// q * scales[element / 16]; exact.
inline Floats scaled(Bytes q, float scale0, float scale1) noexcept {
    Floats x;
    Simd::to_floats(x.v, q);
    for (int i = 0; i < kVectors; ++i) {
        x.v[i] = Simd::mul(x.v[i], Simd::set1(i < kVectors / 2 ? scale0 : scale1));
    }
    return x;
}

struct NoHead {};

struct HeadD {
    float d;
};

struct HeadK {
    float scale[8];
    float min[8];
};

struct Head6 {
    float scale[2][8]; // of the first and the second 16 elements of each 32
};

// Types of floats.

template <int element_bytes, F (*load)(const uint8_t*)>
struct WeightFloat {
    static constexpr int kElements = 32;
    static constexpr int kElementBytes = element_bytes;
    static constexpr int kBytes = 32 * element_bytes;
    using Head = NoHead;
    static Head head(const uint8_t*) noexcept { return {}; }
    static F vector(const uint8_t* p) noexcept { return load(p); }
    static Floats values(const uint8_t* block, const Head&, int) noexcept {
        Floats x;
        for (int i = 0; i < kVectors; ++i) {
            x.v[i] = load(block + i * Simd::kLanes * element_bytes);
        }
        return x;
    }
};

inline F load_f32(const uint8_t* p) noexcept {
    return Simd::load(reinterpret_cast<const float*>(p));
}

using WeightF32 = WeightFloat<4, load_f32>;
using WeightF16 = WeightFloat<2, Simd::load_f16>;
using WeightBf16 = WeightFloat<2, Simd::load_bf16>;

// Blocks of 32 with one scale.

template <int block_bytes, int zero, Bytes (*decode)(const uint8_t*)>
struct Weight32 {
    static constexpr int kElements = 32;
    static constexpr int kBytes = block_bytes;
    using Head = HeadD;
    static Head head(const uint8_t* block) noexcept { return {Simd::f16(load_u16(block))}; }
    static Floats values(const uint8_t* block, const Head& h, int) noexcept {
        return scaled(Simd::minus(decode(block), zero), h.d, h.d);
    }

    static constexpr int kUnitBlocks = kGroupBlocks;
    static constexpr int kZero = zero;
    static constexpr bool kHasMin = false;
    static constexpr int kScales = 1;
    using Unit = F;
    static F unit(const uint8_t* blocks) noexcept {
        float d[kGroupBlocks];
        for (int i = 0; i < kGroupBlocks; ++i) {
            d[i] = Simd::f16(load_u16(blocks + i * block_bytes));
        }
        return Simd::lanes(d);
    }
    static Simd::Quants quants(const uint8_t* blocks, int) noexcept {
        Bytes q[kGroupBlocks];
        for (int i = 0; i < kGroupBlocks; ++i) {
            q[i] = decode(blocks + i * block_bytes);
        }
        return Simd::quants<zero>(q);
    }
    static F scale(F d, int, int) noexcept { return d; }
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

// The type that most models for small machines come in: groups are read without a detour over
// blocks.
struct WeightQ4_0 : Weight32<18, 8, decode_q4_0> {
    static F unit(const uint8_t* blocks) noexcept { return Simd::scales_q4_0(blocks); }
    static Simd::Quants quants(const uint8_t* blocks, int) noexcept {
        return Simd::quants_q4_0(blocks);
    }
    static Floats values(const uint8_t* block, const Head& h, int) noexcept {
        Floats x;
        Simd::values_q4_0(x.v, block + kQ4_0Quants, h.d);
        return x;
    }
};
using WeightQ5_0 = Weight32<22, 16, decode_q5_0>;
using WeightQ8_0 = Weight32<34, 128, decode_q8_0>;

// Super-blocks of 256.

template <int zero, Bytes (*decode)(const uint8_t*, int)>
inline Simd::Quants quants_of_256(const uint8_t* block, int group) noexcept {
    Bytes q[kGroupBlocks];
    for (int i = 0; i < kGroupBlocks; ++i) {
        q[i] = decode(block, group * kGroupBlocks + i);
    }
    return Simd::quants<zero>(q);
}

// With scales and minima.
template <int block_bytes, Bytes (*decode)(const uint8_t*, int)>
struct WeightK {
    static constexpr int kElements = 256;
    static constexpr int kBytes = block_bytes;
    using Head = HeadK;
    static Head head(const uint8_t* block) noexcept {
        uint8_t scales[8];
        uint8_t mins[8];
        unpack_scales_k(block + kScalesK, scales, mins);
        Head h;
        Simd::scale_unsigned8(h.scale, scales, Simd::f16(load_u16(block)));
        Simd::scale_unsigned8(h.min, mins, Simd::f16(load_u16(block + 2)));
        return h;
    }
    static Floats values(const uint8_t* block, const Head& h, int c) noexcept {
        Floats x = scaled(decode(block, c), h.scale[c], h.scale[c]);
        for (int i = 0; i < kVectors; ++i) {
            x.v[i] = Simd::sub(x.v[i], Simd::set1(h.min[c]));
        }
        return x;
    }

    static constexpr int kUnitBlocks = 1;
    static constexpr int kZero = 0;
    static constexpr bool kHasMin = true;
    static constexpr int kScales = 1;
    using Unit = Head;
    static Unit unit(const uint8_t* block) noexcept { return head(block); }
    static Simd::Quants quants(const uint8_t* block, int g) noexcept {
        return quants_of_256<0, decode>(block, g);
    }
    static F scale(const Unit& h, int g, int) noexcept {
        return Simd::lanes(h.scale + g * kGroupBlocks);
    }
    static F min(const Unit& h, int g) noexcept { return Simd::lanes(h.min + g * kGroupBlocks); }
};

inline Bytes decode_q4_k(const uint8_t* block, int c) noexcept {
    return Simd::field(Simd::load_bytes(block + kQ4KQuants + 32 * (c / 2)), 4 * (c % 2), 15);
}

inline Bytes decode_q5_k(const uint8_t* block, int c) noexcept {
    const Bytes low = Simd::load_bytes(block + kQ5KQuants + 32 * (c / 2));
    const Bytes high = Simd::load_bytes(block + kQ5KHighBits);
    return Simd::join(Simd::field(low, 4 * (c % 2), 15), Simd::field(high, c, 1));
}

using WeightQ4K = WeightK<144, decode_q4_k>;
using WeightQ5K = WeightK<176, decode_q5_k>;

inline Bytes decode_q6_k(const uint8_t* block, int c) noexcept {
    const int run = c % 4;
    const Bytes low = Simd::load_bytes(block + 64 * (c / 4) + 32 * (run % 2));
    const Bytes high = Simd::load_bytes(block + kQ6KHighBits + 32 * (c / 4));
    return Simd::join(Simd::field(low, 4 * (run / 2), 15), Simd::field(high, 2 * run, 3));
}

struct WeightQ6K {
    static constexpr int kElements = 256;
    static constexpr int kBytes = 210;
    using Head = Head6;
    static Head head(const uint8_t* block) noexcept {
        const float d = Simd::f16(load_u16(block + kQ6KScale));
        uint8_t scales[2][8];
        for (int i = 0; i < 8; ++i) {
            scales[0][i] = block[kQ6KScales + 2 * i];
            scales[1][i] = block[kQ6KScales + 2 * i + 1];
        }
        Head h;
        Simd::scale_signed8(h.scale[0], scales[0], d);
        Simd::scale_signed8(h.scale[1], scales[1], d);
        return h;
    }
    static Floats values(const uint8_t* block, const Head& h, int c) noexcept {
        return scaled(Simd::minus(decode_q6_k(block, c), 32), h.scale[0][c], h.scale[1][c]);
    }

    static constexpr int kUnitBlocks = 1;
    static constexpr int kZero = 32;
    static constexpr bool kHasMin = false;
    static constexpr int kScales = 2;
    using Unit = Head;
    static Unit unit(const uint8_t* block) noexcept { return head(block); }
    static Simd::Quants quants(const uint8_t* block, int g) noexcept {
        return quants_of_256<32, decode_q6_k>(block, g);
    }
    static F scale(const Unit& h, int g, int half) noexcept {
        return Simd::lanes(h.scale[half] + g * kGroupBlocks);
    }
};

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
