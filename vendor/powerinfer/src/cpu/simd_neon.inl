// What the NEON tables share: all but Products::add(sums, a, b), which returns sums[l] + the
// products of bytes 4l..4l+3.
#pragma once

#include "blocks.h"
#include "ops.h"

#include <arm_neon.h>

namespace powerinfer::cpu {
namespace {

template <typename Products>
struct SimdNeon {
    static constexpr int kLanes = 4;
    static constexpr int kRowTile = 4;       // rows at once for one token
    static constexpr int kRowTileTokens = 2; // rows of floats for kTokenTile tokens
    static constexpr int kTokenTile = 4;
    static constexpr int kAxpyVectors = 4; // of columns for kTokenTile tokens
    static constexpr int kPanelRows = 4;   // decoded rows, which tiles of rows and tokens pass over
    template <int>
    static constexpr int kTileRows = 4;
    template <int>
    static constexpr int kTileTokens = 3;

    using F = float32x4_t;
    struct Bytes { // 32 x int8
        uint8x16_t v[2];
    };
    using Sums = int32x4_t;
    using Steps = int8x16_t; // of a group
    struct Quants {          // of one block: elements 0..15, then 16..31, signed
        int8x16_t half[2];
    };
    template <int bits>
    struct alignas(16) Packed { // a group of blocks: bytes of elements 0..15 of each, then 16..31
        int8_t steps[bits / 4][16]; // high bytes, then low bytes
        int32_t sums[4];            // by lane
    };
    struct Doubles {
        float64x2_t v[2];
    };

    static F zero() noexcept { return vdupq_n_f32(0.0f); }
    static F set1(float x) noexcept { return vdupq_n_f32(x); }
    static F load(const float* p) noexcept { return vld1q_f32(p); }
    static void store(float* p, F x) noexcept { vst1q_f32(p, x); }
    static F add(F a, F b) noexcept { return vaddq_f32(a, b); }
    static F sub(F a, F b) noexcept { return vsubq_f32(a, b); }
    static F mul(F a, F b) noexcept { return vmulq_f32(a, b); }
    static F div(F a, F b) noexcept { return vdivq_f32(a, b); }
    static F fma(F a, F b, F c) noexcept { return vfmaq_f32(c, a, b); }
    static F fms(F a, F b, F c) noexcept { return vfmaq_f32(vnegq_f32(c), a, b); }
    // NaN when one is NaN.
    static F max(F a, F b) noexcept { return vmaxq_f32(a, b); }
    static F min(F a, F b) noexcept { return vminq_f32(a, b); }
    static float sum(F x) noexcept { return vaddvq_f32(x); }
    // The sums of four vectors, added in the same order as by sum.
    static void sums4(float* out, F a, F b, F c, F d) noexcept {
        store(out, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
    }
    // Bit l: x[l] >= y.
    static uint32_t not_below(F x, float y) noexcept {
        const uint32_t bit_of_lane[4] = {1, 2, 4, 8};
        return vaddvq_u32(vandq_u32(vcgeq_f32(x, set1(y)), vld1q_u32(bit_of_lane)));
    }
    static float largest(F x) noexcept { return vmaxvq_f32(x); }
    // In two factors, so that both are normal numbers and subnormal results round once.
    static F times_power_of_2(F x, F k) noexcept {
        const int32x4_t exponent = vcvtnq_s32_f32(k);
        const int32x4_t half = vshrq_n_s32(exponent, 1);
        return mul(mul(x, power_of_2(half)), power_of_2(vsubq_s32(exponent, half)));
    }

    static float f16(uint16_t half) noexcept {
        const float16x4_t halves = vreinterpret_f16_u16(vdup_n_u16(half));
        return vgetq_lane_f32(vcvt_f32_f16(halves), 0);
    }
    static F load_f16(const uint8_t* p) noexcept {
        return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
    }
    static F load_bf16(const uint8_t* p) noexcept {
        return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
    }

    static Bytes load_bytes(const uint8_t* p) noexcept { return {{vld1q_u8(p), vld1q_u8(p + 16)}}; }
    // The low nibbles of 16 bytes, then their high nibbles.
    static Bytes nibbles(const uint8_t* p) noexcept {
        const uint8x16_t bytes = vld1q_u8(p);
        return {{vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)}};
    }
    // (byte >> shift) & mask.
    static Bytes field(const Bytes& v, int shift, int mask) noexcept {
        const int8x16_t left = vdupq_n_s8(static_cast<int8_t>(-shift));
        const uint8x16_t kept = vdupq_n_u8(static_cast<uint8_t>(mask));
        return {{vandq_u8(vshlq_u8(v.v[0], left), kept), vandq_u8(vshlq_u8(v.v[1], left), kept)}};
    }
    // low + 16 * high, low <= 15.
    static Bytes join(const Bytes& low, const Bytes& high) noexcept {
        return {{vsliq_n_u8(low.v[0], high.v[0], 4), vsliq_n_u8(low.v[1], high.v[1], 4)}};
    }
    // 0 or 1 in byte j from bit j.
    static Bytes bits(uint32_t word) noexcept {
        return {{bits16(word & 0xffff), bits16(word >> 16)}};
    }
    static Bytes minus(const Bytes& v, int offset) noexcept {
        const uint8x16_t subtrahend = vdupq_n_u8(static_cast<uint8_t>(offset));
        return {{vsubq_u8(v.v[0], subtrahend), vsubq_u8(v.v[1], subtrahend)}};
    }
    static constexpr int lane(int, int l) noexcept { return l; }
    // One number in the lanes of its block: in all.
    static F lanes(const float* p) noexcept { return vld1q_dup_f32(p); }
    // That number.
    static void store_blocks(float* p, F lanes) noexcept { vst1q_lane_f32(p, lanes, 0); }
    template <int zero>
    static Quants quants(const Bytes (&blocks)[1]) noexcept {
        const Bytes q = minus(blocks[0], zero);
        return {{vreinterpretq_s8_u8(q.v[0]), vreinterpretq_s8_u8(q.v[1])}};
    }

    static Quants quants_q4_0(const uint8_t* p) noexcept {
        const Bytes block[1] = {nibbles(p + 2)};
        return quants<8>(block);
    }
    // The same of half precision.
    template <int>
    static F lanes_f16(const uint8_t* p) noexcept {
        return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(load_u16(p))));
    }
    // The integers of a block as floats, four a vector.
    template <int>
    struct QuantSteps {
        Quants q;
        explicit QuantSteps(const Quants& from) noexcept : q(from) {}
        F at(int i) const noexcept {
            const int8x16_t bytes = q.half[i / 4];
            const int16x8_t words = i % 4 < 2 ? vmovl_s8(vget_low_s8(bytes)) : vmovl_high_s8(bytes);
            return vcvtq_f32_s32(
                i % 2 == 0 ? vmovl_s16(vget_low_s16(words)) : vmovl_high_s16(words)
            );
        }
    };
    using StepsQ4_0 = QuantSteps<8>;
    using StepsQ5_0 = QuantSteps<16>;
    using StepsQ8_0 = QuantSteps<128>;
    using StepsQ4K = QuantSteps<0>;
    using StepsQ5K = QuantSteps<0>;
    using StepsQ6K = QuantSteps<32>;
    // Keeps the compiler from holding x in registers.
    template <typename T>
    static void keep_in_memory(T& x) noexcept {
        __asm__("" : "+m"(x));
    }
    // x is computed before, and memory read later, for the compiler.
    template <typename V>
    static void finish(V& x) noexcept {
        __asm__ volatile("" : "+w"(x) : : "memory");
    }
    static void multiply(float (&x)[1], float factor) noexcept { x[0] *= factor; }
    // The scale of a block, which begins with it.
    template <int>
    static void scales(float (&out)[1], const uint8_t* p) noexcept {
        out[0] = f16(load_u16(p));
    }

    static Steps steps(const int8_t* p) noexcept { return vld1q_s8(p); }
    static Sums load_sums(const int32_t* p) noexcept { return vld1q_s32(p); }
    static void store_sums(int32_t* p, Sums x) noexcept { vst1q_s32(p, x); }
    static Sums add(Sums a, Sums b) noexcept { return vaddq_s32(a, b); }
    static Sums sub(Sums a, Sums b) noexcept { return vsubq_s32(a, b); }
    // Weights are signed already.
    template <int>
    static Sums minus_times(Sums) noexcept {
        return vdupq_n_s32(0);
    }
    // start + weights . activations of each lane's elements. A lane of weights of up to 6 bits is
    // below 2^24, hence exact as a float.
    template <int, int n_steps>
    static Sums dot(Sums start, const Quants& q, const Steps (&x)[n_steps]) noexcept {
        return dot_half(dot_half(start, q, x, 0), q, x, 1);
    }
    template <int n_steps>
    static Sums dot_half(
        Sums start, const Quants& q, const Steps (&x)[n_steps], int half
    ) noexcept {
        if constexpr (n_steps == 2) {
            return Products::add(start, q.half[half], x[half]);
        } else {
            const Sums high = Products::add(vdupq_n_s32(0), q.half[half], x[half]);
            return Products::add(add(start, vshlq_n_s32(high, 8)), q.half[half], x[2 + half]);
        }
    }
    // The sums of elements 0..15 or 16..31 of the block, by lane.
    template <int bits>
    static Sums half_sums(const Packed<bits>& x, int half) noexcept {
        const int8x16_t ones = vdupq_n_s8(1);
        const Sums high = Products::add(vdupq_n_s32(0), ones, steps(x.steps[half]));
        if constexpr (bits == 8) {
            return high;
        } else {
            return Products::add(vshlq_n_s32(high, 8), ones, steps(x.steps[2 + half]));
        }
    }
    static F to_float(Sums x) noexcept { return vcvtq_f32_s32(x); }
    // Columns of nibbles.
    static constexpr int kNibbleHalves = 2; // summed at once
    using Column = uint8x16_t;
    struct ColumnSums {
        int32x4_t high;
        int32x4_t low;
    };
    static Column load_column(const uint8_t* p) noexcept { return vld1q_u8(p); }
    static Column low_nibbles(Column v) noexcept { return vandq_u8(v, vdupq_n_u8(15)); }
    static Column high_nibbles(Column v) noexcept { return vshrq_n_u8(v, 4); }
    static Column interleave_low8(Column a, Column b) noexcept { return vzip1q_u8(a, b); }
    static Column interleave_high8(Column a, Column b) noexcept { return vzip2q_u8(a, b); }
    static Column interleave_low16(Column a, Column b) noexcept {
        return vreinterpretq_u8_u16(vzip1q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
    }
    static Column interleave_high16(Column a, Column b) noexcept {
        return vreinterpretq_u8_u16(vzip2q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
    }
    static Column set4(int32_t four) noexcept { return vreinterpretq_u8_s32(vdupq_n_s32(four)); }
    static Sums set1_sums(int32_t x) noexcept { return vdupq_n_s32(x); }
    static ColumnSums no_sums() noexcept { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
    // sums + four weights times four steps in each lane.
    template <int bits>
    static void add_four(ColumnSums& sums, Column w, Column high, Column low) noexcept {
        const int8x16_t weights = vreinterpretq_s8_u8(w);
        sums.high = Products::add(sums.high, weights, vreinterpretq_s8_u8(high));
        if constexpr (bits == 16) {
            sums.low = Products::add(sums.low, weights, vreinterpretq_s8_u8(low));
        }
    }
    template <int bits>
    static Sums joined(Sums start, const ColumnSums& sums) noexcept {
        if constexpr (bits == 8) {
            return vaddq_s32(start, sums.high);
        }
        return vaddq_s32(vaddq_s32(start, sums.low), vshlq_n_s32(sums.high, 8));
    }

    // out[i] = d * q[i], eight of them.
    static void scale_unsigned8(float* out, const uint8_t* q, float d) noexcept {
        scale8(out, vreinterpretq_s16_u16(vmovl_u8(vld1_u8(q))), d);
    }
    static void scale_signed8(float* out, const uint8_t* q, float d) noexcept {
        scale8(out, vmovl_s8(vreinterpret_s8_u8(vld1_u8(q))), d);
    }

    static uint32_t max_abs_bits32(const float* x) noexcept {
        uint32x4_t max = vdupq_n_u32(0);
        for (int i = 0; i < 32; i += 4) {
            max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(load(x + i))));
        }
        return vmaxvq_u32(max);
    }
    // q = x / step rounded to nearest even and clamped.
    static void round_steps32(int16_t* q, const float* x, float step, float largest) noexcept {
        const F bound = set1(largest);
        for (int i = 0; i < 32; i += 4) {
            const F steps = div(load(x + i), set1(step));
            const F clamped = max(vnegq_f32(bound), min(bound, steps));
            vst1_s16(q + i, vmovn_s32(vcvtnq_s32_f32(clamped)));
        }
    }

    static Doubles doubles(double x) noexcept { return {{vdupq_n_f64(x), vdupq_n_f64(x)}}; }
    static Doubles widen(F x) noexcept {
        return {{vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)}};
    }
    static F narrow(const Doubles& x) noexcept {
        return vcvt_high_f32_f64(vcvt_f32_f64(x.v[0]), x.v[1]);
    }
    static Doubles add(const Doubles& a, const Doubles& b) noexcept {
        return {{vaddq_f64(a.v[0], b.v[0]), vaddq_f64(a.v[1], b.v[1])}};
    }
    static Doubles sub(const Doubles& a, const Doubles& b) noexcept {
        return {{vsubq_f64(a.v[0], b.v[0]), vsubq_f64(a.v[1], b.v[1])}};
    }
    static Doubles mul(const Doubles& a, const Doubles& b) noexcept {
        return {{vmulq_f64(a.v[0], b.v[0]), vmulq_f64(a.v[1], b.v[1])}};
    }
    static Doubles fma(const Doubles& a, const Doubles& b, const Doubles& c) noexcept {
        return {{vfmaq_f64(c.v[0], a.v[0], b.v[0]), vfmaq_f64(c.v[1], a.v[1], b.v[1])}};
    }
    static double sum(const Doubles& x) noexcept { return vaddvq_f64(vaddq_f64(x.v[0], x.v[1])); }

private:
    static F power_of_2(int32x4_t k) noexcept {
        return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(k, vdupq_n_s32(127)), 23));
    }
    static uint8x16_t bits16(uint32_t word) noexcept {
        const uint8x8_t bit_of = vcreate_u8(0x8040201008040201u);
        const uint8x8_t low = vtst_u8(vdup_n_u8(static_cast<uint8_t>(word)), bit_of);
        const uint8x8_t high = vtst_u8(vdup_n_u8(static_cast<uint8_t>(word >> 8)), bit_of);
        return vandq_u8(vcombine_u8(low, high), vdupq_n_u8(1));
    }
    static void scale8(float* out, int16x8_t q, float d) noexcept {
        store(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), d));
        store(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(q)), d));
    }
};

} // namespace
} // namespace powerinfer::cpu
