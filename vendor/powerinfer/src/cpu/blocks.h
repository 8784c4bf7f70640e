// Where the fields of a quantised block lie (spec section 5), and the fields that every instruction
// set reads the same way. Static functions only: SIMD files must keep their own copies.
#pragma once

#include <cstdint>

namespace powerinfer::cpu {

// A block of 32: the f16 scale first, then the fields named here.
inline constexpr int kQ4_0Quants = 2;
inline constexpr int kQ5_0HighBits = 2;
inline constexpr int kQ5_0Quants = 6;
inline constexpr int kQ8_0Quants = 2;

// A super-block of 256. Q4_K and Q5_K begin with the f16 d and dmin.
inline constexpr int kScalesK = 4;
inline constexpr int kQ4KQuants = 16;
inline constexpr int kQ5KHighBits = 16;
inline constexpr int kQ5KQuants = 48;
inline constexpr int kQ6KHighBits = 128;
inline constexpr int kQ6KScales = 192;
inline constexpr int kQ6KScale = 208; // the f16 d; the low bits begin at 0

static inline uint16_t load_u16(const uint8_t* p) noexcept {
    uint16_t value;
    __builtin_memcpy(&value, p, sizeof value);
    return value;
}

static inline uint32_t load_u32(const uint8_t* p) noexcept {
    uint32_t value;
    __builtin_memcpy(&value, p, sizeof value);
    return value;
}

// The eight 6-bit scales and minima of a Q4_K or Q5_K super-block, packed in 12 bytes.
static inline void unpack_scales_k(const uint8_t* packed, uint8_t* scales, uint8_t* mins) noexcept {
    const uint32_t a = load_u32(packed);
    const uint32_t b = load_u32(packed + 4);
    const uint32_t c = load_u32(packed + 8);
    const uint32_t scale_words[2] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u)};
    const uint32_t min_words[2] = {
        b & 0x3f3f3f3fu, (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u)
    };
    __builtin_memcpy(scales, scale_words, 8);
    __builtin_memcpy(mins, min_words, 8);
}

} // namespace powerinfer::cpu
