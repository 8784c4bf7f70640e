// The AVX-512 table (F, BW, VL, DQ, VNNI). Nothing here may run on a lesser processor, so nothing
// here has external linkage but the table.
#include "blocks.h"
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
    static constexpr int kRowTileTokens = 4; // rows of floats for kTokenTile tokens
    static constexpr int kTokenTile = 4;
    static constexpr int kPanelRows = 8; // decoded rows, which tiles of rows and tokens pass over
    template <int bits>                  // the fewer, the more tokens fit
    static constexpr int kTileRows = bits == 8 ? 4 : 8;
    template <int bits>
    static constexpr int kTileTokens = bits == 8 ? 4 : 2;

    using F = __m512;
    using Sums = __m512i;
    using Steps = __m512i; // 64 bytes of a group
    struct Quants {        // of four blocks: elements 0..15 of each, then 16..31, unsigned
        __m512i half[2];
    };
    template <int bits>
    struct alignas(64) Packed { // a group of blocks: bytes of elements 0..15 of each, then 16..31
        int8_t steps[bits / 4][64]; // high bytes, then low bytes
        int32_t sums[16];           // by lane
    };
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
    static float sum(F x) noexcept {
        const F two = add(x, _mm512_permute_ps(x, 0x4e));
        return _mm_cvtss_f32(sum_quarters(add(two, _mm512_permute_ps(two, 0xb1))));
    }
    // The sums of four vectors, added in the same order as by sum.
    static void sums4(float* out, F a, F b, F c, F d) noexcept {
        const F ab = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        const F cd = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
        const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
        _mm_storeu_ps(out, sum_quarters(add(_mm512_castpd_ps(low), _mm512_castpd_ps(high))));
    }
    static float largest(F x) noexcept { return largest8(_mm256_max_ps(low(x), high(x))); }
    static F times_power_of_2(F x, F k) noexcept { return _mm512_scalef_ps(x, k); }

    static F load_f16(const uint8_t* p) noexcept { return _mm512_cvtph_ps(load_bytes(p)); }
    static F load_bf16(const uint8_t* p) noexcept {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_bytes(p)), 16));
    }

    // 0 or 1 in byte j from bit j.
    static Bytes bits(uint32_t word) noexcept { return _mm256_maskz_set1_epi8(word, 1); }
    static void to_floats(F* out, Bytes q) noexcept {
        out[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(q)));
        out[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(q, 1)));
    }

    // Where elements 4l..4l+3 of a block are: the blocks in turn, so that numbers that lie side by
    // side are loaded into the lanes of their blocks by repetition.
    static constexpr int lane(int block, int l) noexcept { return 4 * l + block; }
    // Four numbers, each in the lanes of its block.
    static F lanes(const float* p) noexcept { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
    // Those four numbers.
    static void store_blocks(float* p, F lanes) noexcept {
        _mm_storeu_ps(p, _mm512_castps512_ps128(lanes));
    }
    template <int>
    static Quants quants(const Bytes (&blocks)[4]) noexcept {
        const __m512i a = _mm512_inserti64x4(_mm512_castsi256_si512(blocks[0]), blocks[1], 1);
        const __m512i b = _mm512_inserti64x4(_mm512_castsi256_si512(blocks[2]), blocks[3], 1);
        const __m512i from =
            _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
        const __m512i four = _mm512_set1_epi32(4);
        return {
            {_mm512_permutex2var_epi32(a, from, b),
             _mm512_permutex2var_epi32(a, _mm512_add_epi32(from, four), b)}
        };
    }

    // Four Q4_0 blocks have 72 bytes.
    static Quants quants_q4_0(const uint8_t* p) noexcept {
        // Words 1, 2, 10, 11, 19, 20, 28, 29; then the next ones.
        const __m512i from = _mm512_set_epi16(
            35,
            34,
            26,
            25,
            17,
            16,
            8,
            7,
            33,
            32,
            24,
            23,
            15,
            14,
            6,
            5,
            31,
            30,
            22,
            21,
            13,
            12,
            4,
            3,
            29,
            28,
            20,
            19,
            11,
            10,
            2,
            1
        );
        const __m512i first = _mm512_loadu_si512(p);
        const __m128i last = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 64));
        const __m512i bytes = _mm512_permutex2var_epi16(first, from, _mm512_castsi128_si512(last));
        const __m512i mask = _mm512_set1_epi8(15);
        return {{_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)}
        };
    }
    // The numbers of half precision at p, p + stride .., each in the lanes of its block.
    template <int stride>
    static F lanes_f16(const uint8_t* p) noexcept {
        if constexpr (3 * stride + 2 <= 64) { // all in one vector
            constexpr int64_t kFrom = (int64_t{3} << 48 | int64_t{2} << 32 | 1 << 16) * stride / 2;
            const __m512i halves =
                _mm512_permutexvar_epi16(_mm512_set1_epi64(kFrom), _mm512_loadu_si512(p));
            return _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
        } else {
            __m128i halves = _mm_cvtsi32_si128(load_u16(p));
            halves = _mm_insert_epi16(halves, load_u16(p + stride), 1);
            halves = _mm_insert_epi16(halves, load_u16(p + 2 * stride), 2);
            halves = _mm_insert_epi16(halves, load_u16(p + 3 * stride), 3);
            return _mm512_broadcast_f32x4(_mm_cvtph_ps(halves));
        }
    }
    // A nibble selects one of the 16 values that a block can hold.
    static void values_q4_0(F* out, const uint8_t* quants, float d) noexcept {
        const F steps = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
        const F values = mul(set1(d), steps);
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quants));
        const __m512i q = _mm512_cvtepu8_epi32(bytes);
        out[0] = _mm512_permutexvar_ps(q, values);
        out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), values);
    }

    static Steps steps(const int8_t* p) noexcept { return _mm512_load_si512(p); }
    static Sums load_sums(const int32_t* p) noexcept { return _mm512_load_si512(p); }
    static void store_sums(int32_t* p, Sums x) noexcept { _mm512_store_si512(p, x); }
    static Sums add(Sums a, Sums b) noexcept { return _mm512_add_epi32(a, b); }
    static Sums sub(Sums a, Sums b) noexcept { return _mm512_sub_epi32(a, b); }
    // What stands for zero, times -(sum of the activations).
    template <int zero>
    static Sums minus_times(Sums x) noexcept {
        if constexpr (zero == 0) {
            return _mm512_setzero_si512();
        } else {
            static_assert((zero & (zero - 1)) == 0);
            constexpr auto kShift = static_cast<unsigned>(__builtin_ctz(zero));
            return sub(_mm512_setzero_si512(), _mm512_slli_epi32(x, kShift));
        }
    }
    // start + weights . activations of each lane's elements. A lane of weights of up to 6 bits is
    // below 2^24, hence exact as a float.
    template <int, int n_steps>
    static Sums dot(Sums start, const Quants& q, const Steps (&x)[n_steps]) noexcept {
        __m512i high = n_steps == 2 ? start : _mm512_setzero_si512();
        high = _mm512_dpbusd_epi32(high, q.half[0], x[0]);
        high = _mm512_dpbusd_epi32(high, q.half[1], x[1]);
        if constexpr (n_steps == 2) {
            return high;
        } else {
            __m512i low = _mm512_dpbusd_epi32(start, q.half[0], x[2]);
            low = _mm512_dpbusd_epi32(low, q.half[1], x[3]);
            return add(_mm512_slli_epi32(high, 8), low);
        }
    }
    template <int n_steps>
    static Sums dot_half(
        Sums start, const Quants& q, const Steps (&x)[n_steps], int half
    ) noexcept {
        if constexpr (n_steps == 2) {
            return _mm512_dpbusd_epi32(start, q.half[half], x[half]);
        } else {
            const __m512i zeros = _mm512_setzero_si512();
            const __m512i high = _mm512_dpbusd_epi32(zeros, q.half[half], x[half]);
            const __m512i low = _mm512_dpbusd_epi32(start, q.half[half], x[2 + half]);
            return add(_mm512_slli_epi32(high, 8), low);
        }
    }
    // The sums of elements 0..15 or 16..31 of the blocks, by lane.
    template <int bits>
    static Sums half_sums(const Packed<bits>& x, int half) noexcept {
        const __m512i ones = _mm512_set1_epi8(1);
        const __m512i high =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, steps(x.steps[half]));
        if constexpr (bits == 8) {
            return high;
        } else {
            return _mm512_dpbusd_epi32(_mm512_slli_epi32(high, 8), ones, steps(x.steps[2 + half]));
        }
    }
    static F to_float(Sums x) noexcept { return _mm512_cvtepi32_ps(x); }
    static uint32_t max_abs_bits32(const float* x) noexcept {
        const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
        const __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), magnitude);
        const __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude);
        const __m512i max = _mm512_max_epu32(a, b);
        return SimdX86::largest8(
            _mm256_max_epu32(_mm512_castsi512_si256(max), _mm512_extracti64x4_epi64(max, 1))
        );
    }
    // q = x / step rounded to nearest even and clamped.
    static void round_steps32(int16_t* q, const float* x, float step, float largest) noexcept {
        for (int i = 0; i < 32; i += 16) {
            const __m256i steps = _mm512_cvtepi32_epi16(round_steps(load(x + i), step, largest));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), steps);
        }
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
    static __m128 sum_quarters(F x) noexcept {
        const __m256 halves = _mm256_add_ps(low(x), high(x));
        return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
    }
    static __m256 low(F x) noexcept { return _mm512_castps512_ps256(x); }
    static __m256 high(F x) noexcept { return _mm512_extractf32x8_ps(x, 1); }
    static __m512i round_steps(F x, float step, float largest) noexcept {
        const F steps = min(set1(largest), div(x, set1(step)));
        return _mm512_cvtps_epi32(max(set1(-largest), steps));
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
