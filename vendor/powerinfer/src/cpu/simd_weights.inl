// Weight rows as SIMD values. Included by the file of one instruction set after its struct Simd;
// everything here has internal linkage, so that no such code leaks into other files.
//
// A weight type W offers
//   kElements, kBytes     elements and bytes of one block (floats: 32 elements)
//   Head, head(block)     the scales of a block as floats
//   values(block, h, c)   elements 32c..32c+31 as floats, rounded as in scalar_blocks.h
// and, when quantised,
//   kHasMin               whether h.min[c] is subtracted from every element
//   bytes(block, c)       the integers of elements 32c..32c+31
//   scale(h, c)           what multiplies them: Simd::Scale1, or Scale2 for 16 elements each
#pragma once

#include "blocks.h"

namespace powerinfer::cpu {
namespace {

using F = Simd::F;
using Bytes = Simd::Bytes;

constexpr int kVectors = 32 / Simd::kLanes;

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
    float scale[16];
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

template <int block_bytes, Bytes (*decode)(const uint8_t*)>
struct Weight32 {
    static constexpr int kElements = 32;
    static constexpr int kBytes = block_bytes;
    static constexpr bool kHasMin = false;
    using Head = HeadD;
    static Head head(const uint8_t* block) noexcept { return {Simd::f16(load_u16(block))}; }
    static Bytes bytes(const uint8_t* block, int) noexcept { return decode(block); }
    static Simd::Scale1 scale(const Head& h, int) noexcept { return Simd::scale1(h.d); }
    static Floats values(const uint8_t* block, const Head& h, int) noexcept {
        return scaled(decode(block), h.d, h.d);
    }
};

inline Bytes decode_q4_0(const uint8_t* block) noexcept {
    return Simd::minus(Simd::nibbles(block + kQ4_0Quants), 8);
}

inline Bytes decode_q5_0(const uint8_t* block) noexcept {
    const Bytes high = Simd::bits(load_u32(block + kQ5_0HighBits));
    return Simd::minus(Simd::join(Simd::nibbles(block + kQ5_0Quants), high), 16);
}

inline Bytes decode_q8_0(const uint8_t* block) noexcept {
    return Simd::load_bytes(block + kQ8_0Quants);
}

using WeightQ4_0 = Weight32<18, decode_q4_0>;
using WeightQ5_0 = Weight32<22, decode_q5_0>;
using WeightQ8_0 = Weight32<34, decode_q8_0>;

// Super-blocks with scales and minima.

template <int block_bytes, Bytes (*decode)(const uint8_t*, int)>
struct WeightK {
    static constexpr int kElements = 256;
    static constexpr int kBytes = block_bytes;
    static constexpr bool kHasMin = true;
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
    static Bytes bytes(const uint8_t* block, int c) noexcept { return decode(block, c); }
    static Simd::Scale1 scale(const Head& h, int c) noexcept { return Simd::scale1(h.scale[c]); }
    static Floats values(const uint8_t* block, const Head& h, int c) noexcept {
        Floats x = scaled(decode(block, c), h.scale[c], h.scale[c]);
        for (int i = 0; i < kVectors; ++i) {
            x.v[i] = Simd::sub(x.v[i], Simd::set1(h.min[c]));
        }
        return x;
    }
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

struct WeightQ6K {
    static constexpr int kElements = 256;
    static constexpr int kBytes = 210;
    static constexpr bool kHasMin = false;
    using Head = Head6;
    static Head head(const uint8_t* block) noexcept {
        const float d = Simd::f16(load_u16(block + kQ6KScale));
        Head h;
        Simd::scale_signed8(h.scale, block + kQ6KScales, d);
        Simd::scale_signed8(h.scale + 8, block + kQ6KScales + 8, d);
        return h;
    }
    static Bytes bytes(const uint8_t* block, int c) noexcept {
        const int run = c % 4;
        const Bytes low = Simd::load_bytes(block + 64 * (c / 4) + 32 * (run % 2));
        const Bytes high = Simd::load_bytes(block + kQ6KHighBits + 32 * (c / 4));
        const Bytes q =
            Simd::join(Simd::field(low, 4 * (run / 2), 15), Simd::field(high, 2 * run, 3));
        return Simd::minus(q, 32);
    }
    static Simd::Scale2 scale(const Head& h, int c) noexcept {
        return Simd::scale2(h.scale[2 * c], h.scale[2 * c + 1]);
    }
    static Floats values(const uint8_t* block, const Head& h, int c) noexcept {
        return scaled(bytes(block, c), h.scale[2 * c], h.scale[2 * c + 1]);
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
