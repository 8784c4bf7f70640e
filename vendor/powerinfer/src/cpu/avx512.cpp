// The AVX-512 table (F, BW, VL, DQ, VNNI). Nothing here may run on a lesser processor, so nothing
// here has external linkage but the table.
#include "tables.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) &&                      \
    defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__FMA__) && defined(__F16C__)

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own intrinsics use a variable initialised with itself as "any value".
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "simd_x86.inl"

namespace powerinfer::cpu {
namespace {

struct Simd : SimdX86 {
    static constexpr const char* kName = "avx512";
    static constexpr int kLanes = 16;
    static constexpr int kRowTile = 4;       // rows at once for one token
    static constexpr int kRowTileTokens = 4; // and for kTokenTile tokens
    static constexpr int kTokenTile = 4;

    using F = __m512;
    using Words = __m512i; // 32 x int16
    using Scale1 = __m512;
    using Scale2 = __m512;
    struct Doubles {
        __m512d v[2];
    };

    static F zero() noexcept { return _mm512_setzero_ps(); }
    static F set1(float x) noexcept { return _mm512_set1_ps(x); }
    static F load(const float* p) noexcept { return _mm512_loadu_ps(p); }
    static void store(float* p, F x) noexcept { _mm512_storeu_ps(p, x); }
    static F add(F a, F b) noexcept { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) noexcept { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) noexcept { return _mm512_mul_ps(a, b); }
    static F div(F a, F b) noexcept { return _mm512_div_ps(a, b); }
    static F fma(F a, F b, F c) noexcept { return _mm512_fmadd_ps(a, b, c); }
    // The second operand when one is NaN.
    static F max(F a, F b) noexcept { return _mm512_max_ps(a, b); }
    static F min(F a, F b) noexcept { return _mm512_min_ps(a, b); }
    static float sum(F x) noexcept { return sum8(_mm256_add_ps(low(x), high(x))); }
    static float largest(F x) noexcept { return largest8(_mm256_max_ps(low(x), high(x))); }
    static F times_power_of_2(F x, F k) noexcept { return _mm512_scalef_ps(x, k); }

    static F load_f16(const uint8_t* p) noexcept { return _mm512_cvtph_ps(load_bytes(p)); }
    static F load_bf16(const uint8_t* p) noexcept {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_bytes(p)), 16));
    }

    // 0 or 1 in byte j from bit j.
    static Bytes bits(uint32_t word) noexcept { return _mm256_maskz_set1_epi8(word, 1); }
    static Words widen(Bytes q) noexcept { return _mm512_cvtepi8_epi16(q); }
    static void to_floats(F* out, Bytes q) noexcept {
        out[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(q)));
        out[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(q, 1)));
    }

    static Scale1 scale1(float d) noexcept { return _mm512_set1_ps(d); }
    static Scale2 scale2(float d0, float d1) noexcept {
        return _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(d0), _mm512_set1_ps(d1));
    }
    // acc + d * scale * (w . x); lanes 0..7 hold the sums of elements 0..15. Sums of two products
    // are below 2^24, hence exact as floats.
    static F dot(F acc, Words w, const int16_t* x, __m512 d, float scale) noexcept {
        const __m512i sums = _mm512_madd_epi16(w, _mm512_loadu_si512(x));
        return fma(_mm512_cvtepi32_ps(sums), mul(d, set1(scale)), acc);
    }

    static uint32_t max_abs_bits32(const float* x) noexcept {
        const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
        const __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), magnitude);
        const __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude);
        const __m512i max = _mm512_max_epu32(a, b);
        return SimdX86::largest8(
            _mm256_max_epu32(_mm512_castsi512_si256(max), _mm512_extracti64x4_epi64(max, 1))
        );
    }
    // q = x / step rounded to nearest even and clamped; returns the sum of q.
    static int32_t round_steps32(int16_t* q, const float* x, float step) noexcept {
        const __m512i a = round_steps(load(x), step);
        const __m512i b = round_steps(load(x + 16), step);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm512_cvtepi32_epi16(a));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + 16), _mm512_cvtepi32_epi16(b));
        const __m512i sums = _mm512_add_epi32(a, b);
        return SimdX86::sum8(
            _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1))
        );
    }

    static Doubles doubles(double x) noexcept { return {{_mm512_set1_pd(x), _mm512_set1_pd(x)}}; }
    static Doubles widen(F x) noexcept {
        return {{_mm512_cvtps_pd(low(x)), _mm512_cvtps_pd(high(x))}};
    }
    static F narrow(const Doubles& x) noexcept {
        const __m256 first = _mm512_cvtpd_ps(x.v[0]);
        return _mm512_insertf32x8(_mm512_castps256_ps512(first), _mm512_cvtpd_ps(x.v[1]), 1);
    }
    static Doubles add(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm512_add_pd(a.v[0], b.v[0]), _mm512_add_pd(a.v[1], b.v[1])}};
    }
    static Doubles sub(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm512_sub_pd(a.v[0], b.v[0]), _mm512_sub_pd(a.v[1], b.v[1])}};
    }
    static Doubles mul(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm512_mul_pd(a.v[0], b.v[0]), _mm512_mul_pd(a.v[1], b.v[1])}};
    }
    static Doubles fma(const Doubles& a, const Doubles& b, const Doubles& c) noexcept {
        return {{_mm512_fmadd_pd(a.v[0], b.v[0], c.v[0]), _mm512_fmadd_pd(a.v[1], b.v[1], c.v[1])}};
    }
    static double sum(const Doubles& x) noexcept {
        const __m512d eight = _mm512_add_pd(x.v[0], x.v[1]);
        return sum4(_mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1)));
    }

private:
    static __m256 low(F x) noexcept { return _mm512_castps512_ps256(x); }
    static __m256 high(F x) noexcept { return _mm512_extractf32x8_ps(x, 1); }
    static __m512i round_steps(F x, float step) noexcept {
        const F steps = max(set1(-32767.0f), min(set1(32767.0f), div(x, set1(step))));
        return _mm512_cvtps_epi32(steps);
    }
};

} // namespace
} // namespace powerinfer::cpu

#include "simd_table.inl"

namespace powerinfer::cpu {
const Ops* const kAvx512Table = &kTable;
} // namespace powerinfer::cpu

#else

namespace powerinfer::cpu {
const Ops* const kAvx512Table = nullptr;
} // namespace powerinfer::cpu

#endif
