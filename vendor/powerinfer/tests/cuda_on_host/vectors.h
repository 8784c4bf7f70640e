// The vector types of CUDA, and its 16-bit floats with conversions that round to nearest even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// Aligned as CUDA has them, so that the sanitizer for undefined behaviour sees a load that is not.
#define EMU_VECTORS(element, name)                                                                 \
    struct alignas(2 * sizeof(element)) name##2 {                                                  \
        element x;                                                                                 \
        element y;                                                                                 \
    };                                                                                             \
    struct alignas(4 * sizeof(element)) name##4 {                                                  \
        element x;                                                                                 \
        element y;                                                                                 \
        element z;                                                                                 \
        element w;                                                                                 \
    };                                                                                             \
    inline name##2 make_##name##2(element x, element y) {                                          \
        return {x, y};                                                                             \
    }                                                                                              \
    inline name##4 make_##name##4(element x, element y, element z, element w) {                    \
        return {x, y, z, w};                                                                       \
    }
EMU_VECTORS(float, float)
EMU_VECTORS(int, int)
EMU_VECTORS(unsigned, uint)
EMU_VECTORS(short, short)
EMU_VECTORS(unsigned short, ushort)
EMU_VECTORS(signed char, char)
EMU_VECTORS(unsigned char, uchar)
#undef EMU_VECTORS

struct uint3 {
    unsigned x;
    unsigned y;
    unsigned z;
};

struct dim3 {
    unsigned x;
    unsigned y;
    unsigned z;
    constexpr dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz) {}
};

namespace emu {

inline float half_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const uint32_t exponent = bits >> 10 & 31;
    const uint32_t mantissa = bits & 1023;
    if (exponent == 0) {
        const float value = static_cast<float>(mantissa) * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    const uint32_t wide = exponent == 31 ? 0x7f800000 : (exponent + 112) << 23;
    return std::bit_cast<float>(sign | wide | mantissa << 13);
}

inline uint16_t half_from_float(float value) {
    const uint32_t sign = std::bit_cast<uint32_t>(value) >> 16 & 0x8000;
    const uint32_t bits = std::bit_cast<uint32_t>(value) & 0x7fffffff;
    uint32_t rounded = 0;
    if (bits > 0x7f800000) {
        return 0x7fff; // what a GPU makes of any NaN
    }
    if (bits >= 0x477ff000) { // 65520, the first that rounds to infinity
        rounded = 0x7c00;
    } else if (bits < 0x38800000) { // 2^-14: below lie multiples of 2^-24
        rounded = static_cast<uint32_t>(std::nearbyint(std::bit_cast<float>(bits) * 0x1p24f));
    } else {
        rounded = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    return static_cast<uint16_t>(sign | rounded);
}

inline uint16_t bfloat16_from_float(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if (value != value) {
        return 0x7fff;
    }
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

} // namespace emu

struct __half {
    uint16_t bits;

    __half() = default;
    __half(float value) : bits(emu::half_from_float(value)) {}
    operator float() const { return emu::half_to_float(bits); }
};

struct alignas(4) __half2 {
    __half x;
    __half y;
};

struct __nv_bfloat16 {
    uint16_t bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : bits(emu::bfloat16_from_float(value)) {}
    operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

using half = __half;
using half2 = __half2;

inline float __half2float(__half value) {
    return value;
}
inline __half __float2half(float value) {
    return value;
}
inline __half __float2half_rn(float value) {
    return value;
}
inline __half __ushort_as_half(unsigned short bits) {
    return std::bit_cast<__half>(bits);
}
inline unsigned short __half_as_ushort(__half value) {
    return value.bits;
}
inline float __low2float(__half2 pair) {
    return pair.x;
}
inline float __high2float(__half2 pair) {
    return pair.y;
}
inline float2 __half22float2(__half2 pair) {
    return {pair.x, pair.y};
}
inline __half2 __floats2half2_rn(float x, float y) {
    return {x, y};
}
inline float __bfloat162float(__nv_bfloat16 value) {
    return value;
}
inline __nv_bfloat16 __float2bfloat16(float value) {
    return value;
}
