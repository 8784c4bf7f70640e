// The NEON table, for every 64-bit Arm.
#include "tables.h"

#if defined(__aarch64__) && defined(__ARM_NEON)

#include <arm_neon.h>

namespace powerinfer::cpu {
namespace {

struct Simd {
    static constexpr const char* kName = "neon";
    static constexpr int kLanes = 4;
    static constexpr int kRowTile = 4;       // rows at once for one token
    static constexpr int kRowTileTokens = 2; // and for kTokenTile tokens
    static constexpr int kTokenTile = 4;

    using F = float32x4_t;
    struct Bytes { // 32 x int8
        uint8x16_t v[2];
    };
    struct Words { // 32 x int16
        int16x8_t v[4];
    };
    struct Scale1 {
        float d;
    };
    struct Scale2 {
        float d0;
        float d1;
    };
    struct Eight {
        float32x4_t v[2];
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
    // NaN when one is NaN.
    static F max(F a, F b) noexcept { return vmaxq_f32(a, b); }
    static F min(F a, F b) noexcept { return vminq_f32(a, b); }
    static float sum(F x) noexcept { return vaddvq_f32(x); }
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
    static Words widen(const Bytes& q) noexcept {
        const int8x16_t a = vreinterpretq_s8_u8(q.v[0]);
        const int8x16_t b = vreinterpretq_s8_u8(q.v[1]);
        return {
            {vmovl_s8(vget_low_s8(a)), vmovl_high_s8(a), vmovl_s8(vget_low_s8(b)), vmovl_high_s8(b)}
        };
    }
    static void to_floats(F* out, const Bytes& q) noexcept {
        const Words words = widen(q);
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words.v[i])));
            out[2 * i + 1] = vcvtq_f32_s32(vmovl_high_s16(words.v[i]));
        }
    }

    static Scale1 scale1(float d) noexcept { return {d}; }
    static Scale2 scale2(float d0, float d1) noexcept { return {d0, d1}; }
    // acc + d * scale * (w . x); the integer sums are exact and converted once.
    static F dot(F acc, const Words& w, const int16_t* x, Scale1 d, float scale) noexcept {
        const int32x4_t sums = add_products(add_products(vdupq_n_s32(0), w, x, 0), w, x, 2);
        return vfmaq_n_f32(acc, vcvtq_f32_s32(sums), d.d * scale);
    }
    static F dot(F acc, const Words& w, const int16_t* x, Scale2 d, float scale) noexcept {
        const int32x4_t first = add_products(vdupq_n_s32(0), w, x, 0);
        const int32x4_t second = add_products(vdupq_n_s32(0), w, x, 2);
        acc = vfmaq_n_f32(acc, vcvtq_f32_s32(first), d.d0 * scale);
        return vfmaq_n_f32(acc, vcvtq_f32_s32(second), d.d1 * scale);
    }

    // Eight lanes beside the others: the minima of a super-block.
    static Eight zero8() noexcept { return {{zero(), zero()}}; }
    static Eight dot8(
        const Eight& acc, const float* min, const float* scale, const int32_t* sum
    ) noexcept {
        Eight result;
        for (int i = 0; i < 2; ++i) {
            const F x = mul(load(scale + 4 * i), vcvtq_f32_s32(vld1q_s32(sum + 4 * i)));
            result.v[i] = fma(load(min + 4 * i), x, acc.v[i]);
        }
        return result;
    }
    static float sum8(const Eight& x) noexcept { return vaddvq_f32(vaddq_f32(x.v[0], x.v[1])); }
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
    // q = x / step rounded to nearest even and clamped; returns the sum of q.
    static int32_t round_steps32(int16_t* q, const float* x, float step) noexcept {
        int32x4_t sums = vdupq_n_s32(0);
        for (int i = 0; i < 32; i += 4) {
            const F steps = max(set1(-32767.0f), min(set1(32767.0f), div(load(x + i), set1(step))));
            const int32x4_t rounded = vcvtnq_s32_f32(steps);
            vst1_s16(q + i, vmovn_s32(rounded));
            sums = vaddq_s32(sums, rounded);
        }
        return vaddvq_s32(sums);
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
    // sums + elements 8i..8i+15 of w * x.
    static int32x4_t add_products(
        int32x4_t sums, const Words& w, const int16_t* x, int i
    ) noexcept {
        for (int k = i; k < i + 2; ++k) {
            const int16x8_t values = vld1q_s16(x + 8 * k);
            sums = vmlal_s16(sums, vget_low_s16(w.v[k]), vget_low_s16(values));
            sums = vmlal_high_s16(sums, w.v[k], values);
        }
        return sums;
    }
    static void scale8(float* out, int16x8_t q, float d) noexcept {
        store(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), d));
        store(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(q)), d));
    }
};

} // namespace
} // namespace powerinfer::cpu

#include "simd_table.inl"

namespace powerinfer::cpu {
const Ops* const kNeonTable = &kTable;
} // namespace powerinfer::cpu

#else

namespace powerinfer::cpu {
const Ops* const kNeonTable = nullptr;
} // namespace powerinfer::cpu

#endif
