// The AVX2 table (with FMA and F16C). Nothing here may run on a lesser processor, so nothing here
// has external linkage but the table.
#include "blocks.h"
#include "tables.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "simd_x86.inl"

namespace powerinfer::cpu {
namespace {

struct Simd : SimdX86 {
    static constexpr const char* kName = "avx2";
    static constexpr int kLanes = 8;
    static constexpr int kRowTile = 4;       // rows at once for one token
    static constexpr int kRowTileTokens = 2; // rows of floats for kTokenTile tokens
    static constexpr int kTokenTile = 4;
    static constexpr int kAxpyVectors = 2; // of columns for kTokenTile tokens
    static constexpr int kPanelRows = 6;   // decoded rows, which tiles of rows and tokens pass over
    template <int>
    static constexpr int kTileRows = 6;
    template <int>
    static constexpr int kTileTokens = 1;

    using F = __m256;
    using Sums = __m256i;
    using Steps = __m256i; // 32 bytes of a group
    struct Quants {        // of two blocks: elements 0..15 of each, then 16..31, unsigned
        __m256i half[2];
    };
    template <int bits>
    struct alignas(32) Packed { // a group of blocks: bytes of elements 0..15 of each, then 16..31
        int8_t steps[bits / 4][32]; // high bytes, then low bytes
        int32_t sums[8];            // by lane
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
    static F fms(F a, F b, F c) noexcept { return _mm256_fmsub_ps(a, b, c); }
    // The second operand when one is NaN.
    static F max(F a, F b) noexcept { return _mm256_max_ps(a, b); }
    static F min(F a, F b) noexcept { return _mm256_min_ps(a, b); }
    static float sum(F x) noexcept {
        const F two = add(x, _mm256_permute_ps(x, 0x4e));
        return _mm_cvtss_f32(sum_halves(add(two, _mm256_permute_ps(two, 0xb1))));
    }
    // The sums of four vectors, added in the same order as by sum.
    static void sums4(float* out, F a, F b, F c, F d) noexcept {
        const F ab = add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        const F cd = add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        _mm_storeu_ps(
            out, sum_halves(add(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee)))
        );
    }
    // Bit l: x[l] >= y.
    static uint32_t not_below(F x, float y) noexcept {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, set1(y), _CMP_GE_OQ)));
    }
    static float largest(F x) noexcept { return largest8(x); }
    // In two factors, so that both are normal numbers and subnormal results round once.
    static F times_power_of_2(F x, F k) noexcept {
        const __m256i exponent = _mm256_cvtps_epi32(k);
        const __m256i half = _mm256_srai_epi32(exponent, 1);
        return mul(mul(x, power_of_2(half)), power_of_2(_mm256_sub_epi32(exponent, half)));
    }

    static F load_f16(const uint8_t* p) noexcept { return _mm256_cvtph_ps(load128(p)); }
    static F load_bf16(const uint8_t* p) noexcept {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
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
    // The scales of two blocks of block_bytes, which begin with them.
    template <int block_bytes>
    static void scales(float (&out)[2], const uint8_t* p) noexcept {
        const __m128i one = _mm_cvtsi32_si128(load_u16(p));
        const __m128i two = _mm_insert_epi16(one, load_u16(p + block_bytes), 1);
        const __m128 d = _mm_cvtph_ps(two);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_castps_si128(d));
    }
    // x[i] *= factor.
    static void multiply(float (&x)[2], float factor) noexcept {
        auto* pair = reinterpret_cast<__m128i*>(x);
        const __m128 product =
            _mm_mul_ps(_mm_castsi128_ps(_mm_loadl_epi64(pair)), _mm_set1_ps(factor));
        _mm_storel_epi64(pair, _mm_castps_si128(product));
    }

    // Where elements 4l..4l+3 of a block are: four lanes for each.
    static constexpr int lane(int block, int l) noexcept { return 4 * block + l; }
    // Two numbers, each in the lanes of its block.
    static F lanes(const float* p) noexcept {
        const __m128i two = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
        const __m256 again = _mm256_castsi256_ps(_mm256_broadcastq_epi64(two));
        return _mm256_permutevar_ps(again, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    }
    // Those two numbers.
    static void store_blocks(float* p, F lanes) noexcept {
        const __m256 two =
            _mm256_permutevar8x32_ps(lanes, _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0));
        _mm_storeu_si64(p, _mm_castps_si128(_mm256_castps256_ps128(two)));
    }
    template <int>
    static Quants quants(const Bytes (&blocks)[2]) noexcept {
        return {
            {_mm256_permute2x128_si256(blocks[0], blocks[1], 0x20),
             _mm256_permute2x128_si256(blocks[0], blocks[1], 0x31)}
        };
    }

    static Quants quants_q4_0(const uint8_t* p) noexcept {
        const __m256i bytes = _mm256_set_m128i(load128(p + 20), load128(p + 2));
        return {{field(bytes, 0, 15), field(bytes, 4, 15)}};
    }
    // The numbers of half precision at p and p + stride, each in the lanes of its block.
    template <int stride>
    static F lanes_f16(const uint8_t* p) noexcept {
        return _mm256_set_m128(
            _mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load_u16(p + stride)))),
            _mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load_u16(p))))
        );
    }
    // The integers of a group as floats, eight a vector. They go through memory, where one
    // instruction extends eight of them.
    template <int zero>
    struct QuantSteps {
        Quants q;
        explicit QuantSteps(const Quants& from) noexcept
            : q{{minus(from.half[0], zero), minus(from.half[1], zero)}} {
            keep_in_memory(q);
        }
        F at(int i) const noexcept {
            const auto* bytes = reinterpret_cast<const uint8_t*>(&q.half[i / 2 % 2]);
            return bytes_to_floats(bytes + i / 4 * 16 + i % 2 * 8);
        }
    };
    struct StepsQ4_0 {
        const uint8_t* unit;
        StepsQ4_0(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept {
            const __m256i q = spread(unit + i / 4 * 18 + kQ4_0Quants + i % 2 * 8);
            return i % 4 < 2 ? nibble<0>(q, 8) : nibble<4>(q, 8);
        }
    };
    using StepsQ5_0 = QuantSteps<16>;
    using StepsQ4K = QuantSteps<0>;
    using StepsQ5K = QuantSteps<0>;
    using StepsQ6K = QuantSteps<32>;
    struct StepsQ8_0 {
        const uint8_t* unit;
        StepsQ8_0(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept {
            return bytes_to_floats(unit + i / 4 * 34 + kQ8_0Quants + i % 4 * 8);
        }
    };

    static Steps steps(const int8_t* p) noexcept { return load256(p); }
    static Sums load_sums(const int32_t* p) noexcept { return load256(p); }
    static void store_sums(int32_t* p, Sums x) noexcept {
        _mm256_store_si256(reinterpret_cast<__m256i*>(p), x);
    }
    static Sums add(Sums a, Sums b) noexcept { return _mm256_add_epi32(a, b); }
    static Sums sub(Sums a, Sums b) noexcept { return _mm256_sub_epi32(a, b); }
    // What stands for zero, times -(sum of the activations).
    template <int zero>
    static Sums minus_times(Sums x) noexcept {
        if constexpr (zero == 0 || zero == 128) { // dot takes weights of 8 bits as signed
            return _mm256_setzero_si256();
        } else {
            static_assert((zero & (zero - 1)) == 0);
            return sub(_mm256_setzero_si256(), _mm256_slli_epi32(x, __builtin_ctz(zero)));
        }
    }
    // start + weights . activations of each lane's elements. A lane of weights of up to 6 bits is
    // below 2^24, hence exact as a float.
    template <int zero, int n_steps>
    static Sums dot(Sums start, const Quants& q, const Steps (&x)[n_steps]) noexcept {
        if constexpr (zero == 128) {
            return dot_words(q, x);
        }
        const __m256i high = _mm256_add_epi16(products(q.half[0], x[0]), products(q.half[1], x[1]));
        if constexpr (n_steps == 2) {
            return add(start, pair_sums(high, 1));
        } else {
            const __m256i low =
                _mm256_add_epi16(products(q.half[0], x[2]), products(q.half[1], x[3]));
            return add(start, add(pair_sums(high, 256), pair_sums(low, 1)));
        }
    }
    template <int n_steps>
    static Sums dot_half(
        Sums start, const Quants& q, const Steps (&x)[n_steps], int half
    ) noexcept {
        const __m256i high = products(q.half[half], x[half]);
        if constexpr (n_steps == 2) {
            return add(start, pair_sums(high, 1));
        } else {
            const __m256i low = products(q.half[half], x[2 + half]);
            return add(start, add(pair_sums(high, 256), pair_sums(low, 1)));
        }
    }
    // The sums of elements 0..15 or 16..31 of the blocks, by lane.
    template <int bits>
    static Sums half_sums(const Packed<bits>& x, int half) noexcept {
        const __m256i ones = _mm256_set1_epi8(1);
        const __m256i high = products(ones, steps(x.steps[half]));
        if constexpr (bits == 8) {
            return pair_sums(high, 1);
        } else {
            return add(
                pair_sums(high, 256), pair_sums(products(ones, steps(x.steps[2 + half])), 1)
            );
        }
    }
    static F to_float(Sums x) noexcept { return _mm256_cvtepi32_ps(x); }
    // Columns of nibbles.
    static constexpr int kNibbleHalves = 1; // summed at once
    using Column = __m256i;
    struct ColumnSums { // of pairs: of 32 columns below 2^15
        __m256i high;
        __m256i low;
    };
    static Column load_column(const uint8_t* p) noexcept { return load_bytes(p); }
    static Column low_nibbles(Column v) noexcept { return field(v, 0, 15); }
    static Column high_nibbles(Column v) noexcept { return field(v, 4, 15); }
    static Column interleave_low8(Column a, Column b) noexcept {
        return _mm256_unpacklo_epi8(a, b);
    }
    static Column interleave_high8(Column a, Column b) noexcept {
        return _mm256_unpackhi_epi8(a, b);
    }
    static Column interleave_low16(Column a, Column b) noexcept {
        return _mm256_unpacklo_epi16(a, b);
    }
    static Column interleave_high16(Column a, Column b) noexcept {
        return _mm256_unpackhi_epi16(a, b);
    }
    static Column set4(int32_t four) noexcept { return _mm256_set1_epi32(four); }
    static Sums set1_sums(int32_t x) noexcept { return _mm256_set1_epi32(x); }
    static ColumnSums no_sums() noexcept {
        return {_mm256_setzero_si256(), _mm256_setzero_si256()};
    }
    // sums + four weights times four steps in each lane.
    template <int bits>
    static void add_four(ColumnSums& sums, Column w, Column high, Column low) noexcept {
        sums.high = _mm256_add_epi16(sums.high, _mm256_maddubs_epi16(w, high));
        if constexpr (bits == 16) {
            sums.low = _mm256_add_epi16(sums.low, _mm256_maddubs_epi16(w, low));
        }
    }
    template <int bits>
    static Sums joined(Sums start, const ColumnSums& sums) noexcept {
        if constexpr (bits == 8) {
            return add(start, pair_sums(sums.high, 1));
        }
        return add(start, add(pair_sums(sums.high, 256), pair_sums(sums.low, 1)));
    }

    static uint32_t max_abs_bits32(const float* x) noexcept {
        __m256i max = _mm256_setzero_si256();
        for (int i = 0; i < 32; i += 8) {
            const __m256i bits = _mm256_castps_si256(load(x + i));
            max = _mm256_max_epu32(max, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
        }
        return SimdX86::largest8(max);
    }
    // q = x / step rounded to nearest even and clamped.
    static void round_steps32(int16_t* q, const float* x, float step, float largest) noexcept {
        for (int i = 0; i < 32; i += 16) {
            const __m256i a = round_steps(load(x + i), step, largest);
            const __m256i b = round_steps(load(x + i + 8), step, largest);
            const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), packed);
        }
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
    // Eight bytes in eight dwords.
    static __m256i spread(const uint8_t* p) noexcept {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
    // The nibble from bit `at` on, minus zero: it becomes the last bits of 2^(23 - at) + n.
    template <int at>
    static F nibble(__m256i q, float zero) noexcept {
        const F bias = set1(at == 0 ? 0x1p23f : 0x1p19f);
        const F bits = _mm256_castsi256_ps(_mm256_and_si256(q, _mm256_set1_epi32(15 << at)));
        return sub(_mm256_or_ps(bits, bias), add(bias, set1(zero)));
    }
    static F bytes_to_floats(const uint8_t* p) noexcept {
        const auto* eight = reinterpret_cast<const __m128i*>(p);
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(eight)));
    }
    static __m128 sum_halves(F x) noexcept {
        return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    }
    static __m128i load128(const uint8_t* p) noexcept {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    }
    static __m256i load256(const void* p) noexcept {
        return _mm256_load_si256(static_cast<const __m256i*>(p));
    }
    // Products of bytes, unsigned times signed, added in pairs.
    static __m256i products(__m256i q, Steps x) noexcept { return _mm256_maddubs_epi16(q, x); }
    // `times` each number of 16 bits, added in pairs.
    static __m256i pair_sums(__m256i x, int16_t times) noexcept {
        return _mm256_madd_epi16(x, _mm256_set1_epi16(times));
    }
    // weights . activations for weights of 8 bits, two of whose byte products do not fit into 16.
    template <int n_steps>
    static __m256i dot_words(const Quants& q, const Steps (&x)[n_steps]) noexcept {
        __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}; // of pairs
        for (int half = 0; half < 2; ++half) {
            const __m256i weights = minus(q.half[half], -128);
            const __m128i w[2] = {
                _mm256_castsi256_si128(weights), _mm256_extracti128_si256(weights, 1)
            };
            for (int i = 0; i < 2; ++i) {
                const __m256i pairs =
                    _mm256_madd_epi16(_mm256_cvtepi8_epi16(w[i]), words(x, half, i));
                sums[i] = add(sums[i], pairs);
            }
        }
        return _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums[0], sums[1]), 0xd8);
    }
    // 16 steps: the first or the last of half a group.
    template <int n_steps>
    static __m256i words(const Steps (&x)[n_steps], int half, int i) noexcept {
        const auto part = [&](__m256i bytes) {
            return _mm256_cvtepi8_epi16(
                i == 0 ? _mm256_castsi256_si128(bytes) : _mm256_extracti128_si256(bytes, 1)
            );
        };
        if constexpr (n_steps == 2) {
            return part(x[half]);
        } else {
            return _mm256_add_epi16(_mm256_slli_epi16(part(x[half]), 8), part(x[2 + half]));
        }
    }
    static __m256 power_of_2(__m256i k) noexcept {
        const __m256i biased = _mm256_add_epi32(k, _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }
    static __m256i round_steps(F x, float step, float largest) noexcept {
        const F steps = min(set1(largest), div(x, set1(step)));
        return _mm256_cvtps_epi32(max(set1(-largest), steps));
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
