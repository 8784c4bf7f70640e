// What AVX2 and AVX-512 share: 32 weights as bytes of a 256-bit register, and half precision.
#pragma once

#include "blocks.h"
#include "ops.h"

#include <immintrin.h>

namespace powerinfer::cpu {
namespace {

struct SimdX86 {
    using Bytes = __m256i; // 32 x int8

    static float f16(uint16_t half) noexcept { return _cvtsh_ss(half); }

    static Bytes load_bytes(const uint8_t* p) noexcept {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    // The low nibbles of 16 bytes, then their high nibbles.
    static Bytes nibbles(const uint8_t* p) noexcept {
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const Bytes both = _mm256_set_m128i(_mm_srli_epi16(low, 4), low);
        return _mm256_and_si256(both, _mm256_set1_epi8(15));
    }
    // (byte >> shift) & mask, mask <= 255 >> shift.
    static Bytes field(Bytes v, int shift, int mask) noexcept {
        return _mm256_and_si256(
            _mm256_srli_epi16(v, shift), _mm256_set1_epi8(static_cast<char>(mask))
        );
    }
    // low + 16 * high, low <= 15.
    static Bytes join(Bytes low, Bytes high) noexcept {
        return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
    }
    static Bytes minus(Bytes v, int offset) noexcept {
        return _mm256_sub_epi8(v, _mm256_set1_epi8(static_cast<char>(offset)));
    }

    // Lets the compiler not take pieces of x out of registers.
    template <typename T>
    static void keep_in_memory(T& x) noexcept {
        __asm__("" : "+m"(x));
    }
    // x is computed before, and memory read later, for the compiler.
    template <typename V>
    static void finish(V& x) noexcept {
        __asm__ volatile("" : "+v"(x) : : "memory");
    }
    static double sum4(__m256d x) noexcept {
        const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
        return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
    }
    static uint32_t largest8(__m256i x) noexcept {
        __m128i four = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
        four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
        four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
        return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
    }
    static float largest4(__m128 x) noexcept {
        const __m128 two = _mm_max_ps(x, _mm_movehl_ps(x, x));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    static float largest8(__m256 x) noexcept {
        return largest4(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
    }

    // out[i] = d * q[i], eight of them.
    static void scale_unsigned8(float* out, const uint8_t* q, float d) noexcept {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q));
        const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
        _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), values));
    }
    static void scale_signed8(float* out, const uint8_t* q, float d) noexcept {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q));
        const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
        _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), values));
    }
};

} // namespace
} // namespace powerinfer::cpu
