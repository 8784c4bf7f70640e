// Half precision and bfloat16 to float and back: round to nearest even, infinities, NaN and
// subnormals kept. Functions are static so that a file compiled for a newer instruction set keeps
// its own copies.
#pragma once

#include <cstdint>

namespace powerinfer {

static inline uint32_t float_bits(float x) noexcept {
    return __builtin_bit_cast(uint32_t, x);
}

static inline float bits_float(uint32_t bits) noexcept {
    return __builtin_bit_cast(float, bits);
}

static inline float f16_to_f32(uint16_t half) noexcept {
    const uint32_t sign = (uint32_t{half} & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu;
    const uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) { // zero or subnormal: mantissa * 2^-24, exact
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return bits_float(sign | float_bits(magnitude));
    }
    if (exponent == 31) {
        const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
        return bits_float(sign | 0x7f800000u | quiet | mantissa << 13);
    }
    return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t f32_to_f16(float x) noexcept {
    const uint32_t bits = float_bits(x);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t half = 0;
    if (magnitude > 0x7f800000u) { // NaN: keep the top of its payload, quiet
        half = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) { // 65520 and above round to infinity
        half = 0x7c00u;
    } else if (magnitude < 0x38800000u) { // below 2^-14: the float adder rounds to steps of 2^-24
        half = float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f);
    } else {
        const uint32_t odd = magnitude >> 13 & 1u;
        half = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
    }
    return static_cast<uint16_t>(sign | half);
}

static inline float bf16_to_f32(uint16_t bf16) noexcept {
    return bits_float(uint32_t{bf16} << 16);
}

static inline uint16_t f32_to_bf16(float x) noexcept {
    const uint32_t bits = float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return static_cast<uint16_t>(bits >> 16 | 0x40u);
    }
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

} // namespace powerinfer
