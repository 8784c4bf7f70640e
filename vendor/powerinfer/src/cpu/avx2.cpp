// The AVX2 table (with FMA and F16C). Nothing here may run on a lesser processor, so nothing here
// has external linkage but the table.
#include "tables.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "simd_x86.inl"

namespace powerinfer::cpu {
namespace {

struct Simd : SimdX86 {
    static constexpr const char* kName = "avx2";
    static constexpr int kLanes = 8;
    static constexpr int kRowTile = 4;       // rows at once for one token
    static constexpr int kRowTileTokens = 2; // and for kTokenTile tokens
    static constexpr int kTokenTile = 4;

    using F = __m256;
    struct Words { // 32 x int16
        __m256i v[2];
    };
    struct Scale1 {
        __m256 d;
    };
    struct Scale2 {
        __m256 d0;
        __m256 d1;
    };
    struct Doubles {
        __m256d v[2];
    };

    static F zero() noexcept { return _mm256_setzero_ps(); }
    static F set1(float x) noexcept { return _mm256_set1_ps(x); }
    static F load(const float* p) noexcept { return _mm256_loadu_ps(p); }
    static void store(float* p, F x) noexcept { _mm256_storeu_ps(p, x); }
    static F add(F a, F b) noexcept { return _mm256_add_ps(a, b); }
    static F sub(F a, F b) noexcept { return _mm256_sub_ps(a, b); }
    static F mul(F a, F b) noexcept { return _mm256_mul_ps(a, b); }
    static F div(F a, F b) noexcept { return _mm256_div_ps(a, b); }
    static F fma(F a, F b, F c) noexcept { return _mm256_fmadd_ps(a, b, c); }
    // The second operand when one is NaN.
    static F max(F a, F b) noexcept { return _mm256_max_ps(a, b); }
    static F min(F a, F b) noexcept { return _mm256_min_ps(a, b); }
    static float sum(F x) noexcept { return sum8(x); }
    static float largest(F x) noexcept { return largest8(x); }
    // In two factors, so that both are normal numbers and subnormal results round once.
    static F times_power_of_2(F x, F k) noexcept {
        const __m256i exponent = _mm256_cvtps_epi32(k);
        const __m256i half = _mm256_srai_epi32(exponent, 1);
        return mul(mul(x, power_of_2(half)), power_of_2(_mm256_sub_epi32(exponent, half)));
    }

    static F load_f16(const uint8_t* p) noexcept { return _mm256_cvtph_ps(load_words8(p)); }
    static F load_bf16(const uint8_t* p) noexcept {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_words8(p)), 16));
    }

    // 0 or 1 in byte j from bit j.
    static Bytes bits(uint32_t word) noexcept {
        const __m256i byte_of =
            _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
        const __m256i bit_of = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
        const __m256i bytes =
            _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(word)), byte_of);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of), bit_of);
        return _mm256_and_si256(set, _mm256_set1_epi8(1));
    }
    static Words widen(Bytes q) noexcept {
        return {
            {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(q)),
             _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1))}
        };
    }
    static void to_floats(F* out, Bytes q) noexcept {
        const __m128i first = _mm256_castsi256_si128(q);
        const __m128i second = _mm256_extracti128_si256(q, 1);
        out[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(first));
        out[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(first, 8)));
        out[2] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(second));
        out[3] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(second, 8)));
    }

    static Scale1 scale1(float d) noexcept { return {_mm256_set1_ps(d)}; }
    static Scale2 scale2(float d0, float d1) noexcept {
        return {_mm256_set1_ps(d0), _mm256_set1_ps(d1)};
    }
    // acc + d * scale * (w . x). Sums of four products are at most 2^24, hence exact as floats.
    static F dot(F acc, const Words& w, const int16_t* x, const Scale1& d, float scale) noexcept {
        const __m256i sums = _mm256_add_epi32(
            _mm256_madd_epi16(w.v[0], load_words(x)), _mm256_madd_epi16(w.v[1], load_words(x + 16))
        );
        return fma(_mm256_cvtepi32_ps(sums), mul(d.d, set1(scale)), acc);
    }
    static F dot(F acc, const Words& w, const int16_t* x, const Scale2& d, float scale) noexcept {
        const __m256i first = _mm256_madd_epi16(w.v[0], load_words(x));
        const __m256i second = _mm256_madd_epi16(w.v[1], load_words(x + 16));
        acc = fma(_mm256_cvtepi32_ps(first), mul(d.d0, set1(scale)), acc);
        return fma(_mm256_cvtepi32_ps(second), mul(d.d1, set1(scale)), acc);
    }

    static uint32_t max_abs_bits32(const float* x) noexcept {
        __m256i max = _mm256_setzero_si256();
        for (int i = 0; i < 32; i += 8) {
            const __m256i bits = _mm256_castps_si256(load(x + i));
            max = _mm256_max_epu32(max, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
        }
        return SimdX86::largest8(max);
    }
    // q = x / step rounded to nearest even and clamped; returns the sum of q.
    static int32_t round_steps32(int16_t* q, const float* x, float step) noexcept {
        __m256i sums = _mm256_setzero_si256();
        for (int i = 0; i < 32; i += 16) {
            const __m256i a = round_steps(load(x + i), step);
            const __m256i b = round_steps(load(x + i + 8), step);
            const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), packed);
            sums = _mm256_add_epi32(sums, _mm256_add_epi32(a, b));
        }
        return SimdX86::sum8(sums);
    }

    static Doubles doubles(double x) noexcept { return {{_mm256_set1_pd(x), _mm256_set1_pd(x)}}; }
    static Doubles widen(F x) noexcept {
        return {
            {_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
             _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))}
        };
    }
    static F narrow(const Doubles& x) noexcept {
        return _mm256_set_m128(_mm256_cvtpd_ps(x.v[1]), _mm256_cvtpd_ps(x.v[0]));
    }
    static Doubles add(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm256_add_pd(a.v[0], b.v[0]), _mm256_add_pd(a.v[1], b.v[1])}};
    }
    static Doubles sub(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm256_sub_pd(a.v[0], b.v[0]), _mm256_sub_pd(a.v[1], b.v[1])}};
    }
    static Doubles mul(const Doubles& a, const Doubles& b) noexcept {
        return {{_mm256_mul_pd(a.v[0], b.v[0]), _mm256_mul_pd(a.v[1], b.v[1])}};
    }
    static Doubles fma(const Doubles& a, const Doubles& b, const Doubles& c) noexcept {
        return {{_mm256_fmadd_pd(a.v[0], b.v[0], c.v[0]), _mm256_fmadd_pd(a.v[1], b.v[1], c.v[1])}};
    }
    static double sum(const Doubles& x) noexcept { return sum4(_mm256_add_pd(x.v[0], x.v[1])); }

private:
    static __m128i load_words8(const uint8_t* p) noexcept {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    }
    static __m256i load_words(const int16_t* p) noexcept {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static __m256 power_of_2(__m256i k) noexcept {
        const __m256i biased = _mm256_add_epi32(k, _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }
    static __m256i round_steps(F x, float step) noexcept {
        const F steps = max(set1(-32767.0f), min(set1(32767.0f), div(x, set1(step))));
        return _mm256_cvtps_epi32(steps);
    }
};

} // namespace
} // namespace powerinfer::cpu

#include "simd_table.inl"

namespace powerinfer::cpu {
const Ops* const kAvx2Table = &kTable;
} // namespace powerinfer::cpu

#else

namespace powerinfer::cpu {
const Ops* const kAvx2Table = nullptr;
} // namespace powerinfer::cpu

#endif
