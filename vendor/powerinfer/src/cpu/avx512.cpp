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
    static constexpr int kAxpyVectors = 4; // of columns for kTokenTile tokens
    static constexpr int kPanelRows = 8;   // decoded rows for kPanelTokens tokens
    static constexpr int kPanelTokens = 2;

    using F = __m512;
    using Sums = __m512i;
    struct Quants { // of four blocks: elements 0..15 of each, then 16..31, unsigned
        __m512i half[2];
    };
    struct alignas(64) Packed {
        int8_t high[2][64];
        int8_t low[2][64];
        int32_t sum[16];
        int32_t first_sum[16]; // of elements 0..15
        float scale[16];
        float minus_scaled_sum[16];
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
    static F fms(F a, F b, F c) noexcept { return _mm512_fmsub_ps(a, b, c); }
    // The second operand when one is NaN.
    static F max(F a, F b) noexcept { return _mm512_max_ps(a, b); }
    static F min(F a, F b) noexcept { return _mm512_min_ps(a, b); }
    static float sum(F x) noexcept { return sum8(_mm256_add_ps(low(x), high(x))); }
    // The sums of four vectors, added in the same order as by sum.
    static void sums4(float* out, F a, F b, F c, F d) noexcept {
        const F ab = add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        const F cd = add(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
        const F four = add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
        const F two = add(four, _mm512_permute_ps(four, 0x4e));
        const F one = add(two, _mm512_permute_ps(two, 0xb1));
        const __m512i from = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(from, one)));
    }
    // Writes first + l for each bit l, and something behind these.
    static int list(int32_t* ids, uint32_t bits, int first) noexcept {
        const __m512i lanes =
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32(first));
        _mm512_storeu_si512(
            ids, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), numbers)
        );
        return __builtin_popcount(bits);
    }
    // Bit l: x[l] >= y.
    static uint32_t not_below(F x, float y) noexcept {
        return _mm512_cmp_ps_mask(x, set1(y), _CMP_GE_OQ);
    }
    static float largest(F x) noexcept { return largest8(_mm256_max_ps(low(x), high(x))); }
    static F times_power_of_2(F x, F k) noexcept { return _mm512_scalef_ps(x, k); }

    static F load_f16(const uint8_t* p) noexcept { return _mm512_cvtph_ps(load_bytes(p)); }
    static F load_bf16(const uint8_t* p) noexcept {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_bytes(p)), 16));
    }

    // 0 or 1 in byte j from bit j.
    static Bytes bits(uint32_t word) noexcept { return _mm256_maskz_set1_epi8(word, 1); }
    // The scales of four blocks of block_bytes, which begin with them.
    template <int block_bytes>
    static void scales(float (&out)[4], const uint8_t* p) noexcept {
        _mm_storeu_ps(out, _mm_cvtph_ps(scale_halves<block_bytes>(p)));
    }
    // x[i] *= factor.
    static void multiply(float (&x)[4], float factor) noexcept {
        _mm_storeu_ps(x, _mm_mul_ps(_mm_loadu_ps(x), _mm_set1_ps(factor)));
    }
    // Each of four numbers in four lanes.
    static F lanes(const float* p) noexcept {
        const __m512 four = _mm512_castps128_ps512(_mm_loadu_ps(p));
        return _mm512_permutexvar_ps(block_of_lane(), four);
    }
    template <int>
    static Quants quants(const Bytes (&blocks)[4]) noexcept {
        const __m512i a = _mm512_inserti64x4(_mm512_castsi256_si512(blocks[0]), blocks[1], 1);
        const __m512i b = _mm512_inserti64x4(_mm512_castsi256_si512(blocks[2]), blocks[3], 1);
        return {{_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd)}};
    }

    // Four Q4_0 blocks have 72 bytes: the first 64 and the last 64 of them hold everything.
    static Quants quants_q4_0(const uint8_t* p) noexcept {
        // Words 1..8, 10..17, 19..26 of the first and 24..31 of the last.
        const __m512i from = _mm512_set_epi16(
            63,
            62,
            61,
            60,
            59,
            58,
            57,
            56,
            26,
            25,
            24,
            23,
            22,
            21,
            20,
            19,
            17,
            16,
            15,
            14,
            13,
            12,
            11,
            10,
            8,
            7,
            6,
            5,
            4,
            3,
            2,
            1
        );
        const __m512i first = _mm512_loadu_si512(p);
        const __m512i last = _mm512_loadu_si512(p + 8);
        const __m512i bytes = _mm512_permutex2var_epi16(first, from, last);
        const __m512i mask = _mm512_set1_epi8(15);
        return {{_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)}
        };
    }
    static F lanes_q4_0(const uint8_t* p) noexcept {
        const __m512i from = _mm512_castsi256_si512(
            _mm256_set_epi16(27, 27, 27, 27, 18, 18, 18, 18, 9, 9, 9, 9, 0, 0, 0, 0)
        );
        const __m512i halves = _mm512_permutexvar_epi16(from, _mm512_loadu_si512(p));
        return _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    }
    // The integers of a group as floats, read from the bytes of the unit: 16 of them spread over
    // dwords, whose low nibbles select from a table, and whose high nibbles become the last bits of
    // 2^19 + n, from which 2^19 is subtracted.
    struct StepsQ4_0 {
        const uint8_t* unit;
        StepsQ4_0(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept {
            const __m512i q = spread(unit + i / 2 * 18 + kQ4_0Quants);
            return i % 2 == 0 ? select_low(q, -8) : sub(biased_high(q), set1(kBias + 8));
        }
    };
    struct StepsQ5_0 {
        const uint8_t* unit;
        StepsQ5_0(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept {
            const uint8_t* block = unit + i / 2 * 22;
            const auto bits = static_cast<int>(load_u32(block + kQ5_0HighBits));
            const __m512i bit_of = _mm512_sllv_epi32(_mm512_set1_epi32(1 << i % 2 * 16), lane());
            const __mmask16 high = _mm512_test_epi32_mask(_mm512_set1_epi32(bits), bit_of);
            const __m512i q = spread(block + kQ5_0Quants);
            const F x = i % 2 == 0 ? select_low(q, -16) : sub(biased_high(q), set1(kBias + 16));
            return _mm512_mask_add_ps(x, high, x, set1(16));
        }
    };
    struct StepsQ8_0 {
        const uint8_t* unit;
        StepsQ8_0(const uint8_t* p, int) noexcept : unit(p) {}
        F at(int i) const noexcept {
            const uint8_t* bytes = unit + i / 2 * 34 + kQ8_0Quants + i % 2 * 16;
            const auto* q = reinterpret_cast<const __m128i*>(bytes);
            return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(q)));
        }
    };
    struct StepsQ4K {
        const uint8_t* quants;
        StepsQ4K(const uint8_t* block, int g) noexcept : quants(block + kQ4KQuants + g * 64) {}
        F at(int i) const noexcept {
            const __m512i q = spread(quants + i / 4 * 32 + i % 2 * 16);
            return i % 4 < 2 ? select_low(q, 0) : sub(biased_high(q), set1(kBias));
        }
    };
    struct StepsQ5K {
        const uint8_t* block;
        int g;
        StepsQ5K(const uint8_t* p, int group) noexcept : block(p), g(group) {}
        F at(int i) const noexcept {
            const int chunk = 4 * g + i / 2;
            const __m512i q = spread(block + kQ5KQuants + g * 64 + i / 4 * 32 + i % 2 * 16);
            const __m512i bits = spread(block + kQ5KHighBits + i % 2 * 16);
            const __m512i high =
                chunk < 4 ? _mm512_slli_epi32(bits, 4 - chunk) : _mm512_srli_epi32(bits, chunk - 4);
            const __m512i low = i % 4 < 2 ? q : _mm512_srli_epi32(q, 4);
            // Bits 0..3 of low, bit 4 of high; nobody looks at the others.
            const __m512i from = _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi32(15), 0xe4);
            return _mm512_permutex2var_ps(from_number(0), from, from_number(16));
        }
    };
    struct StepsQ6K {
        const uint8_t* low;
        const uint8_t* high;
        StepsQ6K(const uint8_t* block, int g) noexcept
            : low(block + g * 64), high(block + kQ6KHighBits + g * 32) {}
        F at(int i) const noexcept {
            const int run = i / 2;
            const __m512i q = spread(low + run % 2 * 32 + i % 2 * 16);
            const __m512i bits = _mm512_srli_epi32(spread(high + i % 2 * 16), 2 * run);
            const F lows = run < 2 ? select_low(q, 0) : biased_high(q);
            return add(lows, _mm512_permutexvar_ps(bits, from_two_bits(run < 2 ? 0 : kBias)));
        }
    };

    // A group of Q6_K is half of a block: its 64 bytes of low bits, a nibble for each of two
    // blocks of 32, and its 32 bytes of high bits, two for each of four.
    static Quants quants_q6_k(const uint8_t* low, const uint8_t* high) noexcept {
        const __m512i bytes = _mm512_loadu_si512(low);
        return {
            {join_q6_k(_mm512_shuffle_i64x2(bytes, bytes, 0x88), high),
             join_q6_k(_mm512_shuffle_i64x2(bytes, bytes, 0xdd), high + 16)}
        };
    }
    static F scales_q6_k(const uint8_t* q, float d) noexcept {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
        return mul(set1(d), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
    }
    // Every second of the scales from `first` on, in four lanes each.
    static F lanes_q6_k(F scales, int first) noexcept {
        const __m512i from = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
        return _mm512_permutexvar_ps(_mm512_add_epi32(from, _mm512_set1_epi32(first)), scales);
    }

    // What stands for zero, times -(sum of the activations).
    template <int zero>
    static Sums minus_zero(const Packed& x) noexcept {
        if constexpr (zero == 0) {
            return _mm512_setzero_si512();
        }
        return minus_times<zero>(_mm512_load_si512(x.sum));
    }
    template <int zero>
    static Sums minus_zero(const Packed& x, int half) noexcept {
        const Sums first = _mm512_load_si512(x.first_sum);
        return minus_times<zero>(
            half == 0 ? first : _mm512_sub_epi32(_mm512_load_si512(x.sum), first)
        );
    }
    // start + weights . activations of each lane's elements. A lane of weights of up to 6 bits is
    // below 2^24, hence exact as a float.
    template <int, int bits>
    static Sums dot(Sums start, const Quants& q, const Packed& x) noexcept {
        __m512i high = bits == 8 ? start : _mm512_setzero_si512();
        high = _mm512_dpbusd_epi32(high, q.half[0], _mm512_load_si512(x.high[0]));
        high = _mm512_dpbusd_epi32(high, q.half[1], _mm512_load_si512(x.high[1]));
        if constexpr (bits == 8) {
            return high;
        }
        __m512i low = _mm512_dpbusd_epi32(start, q.half[0], _mm512_load_si512(x.low[0]));
        low = _mm512_dpbusd_epi32(low, q.half[1], _mm512_load_si512(x.low[1]));
        return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    }
    template <int bits>
    static Sums dot_half(Sums start, const Quants& q, const Packed& x, int half) noexcept {
        const __m512i weights = q.half[half];
        const __m512i highs = _mm512_load_si512(x.high[half]);
        if constexpr (bits == 8) {
            return _mm512_dpbusd_epi32(start, weights, highs);
        }
        const __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, highs);
        const __m512i low = _mm512_dpbusd_epi32(start, weights, _mm512_load_si512(x.low[half]));
        return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    }
    static F to_float(Sums x) noexcept { return _mm512_cvtepi32_ps(x); }
    // The sums of a group whose other fields are filled.
    template <int bits>
    static void sum_lanes(Packed& x) noexcept {
        const Quants ones = {{_mm512_set1_epi8(1), _mm512_set1_epi8(1)}};
        const Sums first = dot_half<bits>(_mm512_setzero_si512(), ones, x, 0);
        const Sums both = dot_half<bits>(first, ones, x, 1);
        _mm512_store_si512(x.first_sum, first);
        _mm512_store_si512(x.sum, both);
        store(x.minus_scaled_sum, mul(sub(zero(), load(x.scale)), to_float(both)));
    }

    // Columns of nibbles.
    static constexpr int kNibbleHalves = 2; // summed at once
    using Column = __m512i;
    struct ColumnSums {
        __m512i high;
        __m512i low;
    };
    static Column load_column(const uint8_t* p) noexcept { return _mm512_loadu_si512(p); }
    static Column low_nibbles(Column v) noexcept {
        return _mm512_and_si512(v, _mm512_set1_epi8(15));
    }
    static Column high_nibbles(Column v) noexcept { return low_nibbles(_mm512_srli_epi16(v, 4)); }
    static Column interleave_low8(Column a, Column b) noexcept {
        return _mm512_unpacklo_epi8(a, b);
    }
    static Column interleave_high8(Column a, Column b) noexcept {
        return _mm512_unpackhi_epi8(a, b);
    }
    static Column interleave_low16(Column a, Column b) noexcept {
        return _mm512_unpacklo_epi16(a, b);
    }
    static Column interleave_high16(Column a, Column b) noexcept {
        return _mm512_unpackhi_epi16(a, b);
    }
    static Column set4(int32_t four) noexcept { return _mm512_set1_epi32(four); }
    static Sums set1_sums(int32_t x) noexcept { return _mm512_set1_epi32(x); }
    static ColumnSums no_sums() noexcept {
        return {_mm512_setzero_si512(), _mm512_setzero_si512()};
    }
    // sums + four weights times four steps in each lane.
    template <int bits>
    static void add_four(ColumnSums& sums, Column w, Column high, Column low) noexcept {
        sums.high = _mm512_dpbusd_epi32(sums.high, w, high);
        if constexpr (bits == 16) {
            sums.low = _mm512_dpbusd_epi32(sums.low, w, low);
        }
    }
    template <int bits>
    static Sums joined(Sums start, const ColumnSums& sums) noexcept {
        if constexpr (bits == 8) {
            return _mm512_add_epi32(start, sums.high);
        }
        return _mm512_add_epi32(_mm512_add_epi32(start, sums.low), _mm512_slli_epi32(sums.high, 8));
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
    // Blocks of up to 32 bytes are within reach of two loads.
    template <int block_bytes>
    static __m128i scale_halves(const uint8_t* p) noexcept {
        if constexpr (block_bytes <= 32) {
            constexpr int kLast = 4 * block_bytes - 64;
            constexpr auto word = [](int block) {
                const int at = block * block_bytes;
                return static_cast<int16_t>(at < 64 ? at / 2 : 32 + (at - kLast) / 2);
            };
            const __m128i from = _mm_setr_epi16(word(0), word(1), word(2), word(3), 0, 0, 0, 0);
            const __m512i first = _mm512_loadu_si512(p);
            const __m512i last = _mm512_loadu_si512(p + kLast);
            return _mm512_castsi512_si128(
                _mm512_permutex2var_epi16(first, _mm512_castsi128_si512(from), last)
            );
        } else {
            __m128i halves = _mm_cvtsi32_si128(load_u16(p));
            halves = _mm_insert_epi16(halves, load_u16(p + block_bytes), 1);
            halves = _mm_insert_epi16(halves, load_u16(p + 2 * block_bytes), 2);
            return _mm_insert_epi16(halves, load_u16(p + 3 * block_bytes), 3);
        }
    }
    static constexpr float kBias = 0x1p19f;
    static __m512i lane() noexcept {
        return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    // 16 bytes in 16 dwords.
    static __m512i spread(const uint8_t* p) noexcept {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    // first, first + 1, ..
    static F from_number(float first) noexcept {
        return add(set1(first), _mm512_cvtepi32_ps(lane()));
    }
    // 16 * (the last two bits of the lane's number) - 32 - bias.
    static F from_two_bits(float bias) noexcept {
        const F numbers = _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
        return sub(mul(numbers, set1(16)), set1(32 + bias));
    }
    // first + the low nibble.
    static F select_low(__m512i q, float first) noexcept {
        return _mm512_permutexvar_ps(q, from_number(first));
    }
    // kBias + the high nibble of a byte.
    static F biased_high(__m512i q) noexcept {
        const __m512i bias = _mm512_castps_si512(set1(kBias));
        const __m512i nibble = _mm512_set1_epi32(0xf0);
        const __m512i biased =
            _mm512_ternarylogic_epi32(q, nibble, bias, 0xea); // q & nibble | bias
        return _mm512_castsi512_ps(biased);
    }
    static __m512i block_of_lane() noexcept {
        return _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    }
    // 16 elements of four blocks of 32: the first two blocks in the low nibbles, and the next pair
    // of the high bits for each.
    static __m512i join_q6_k(__m512i nibbles, const uint8_t* high) noexcept {
        const __m512i down = _mm512_set_epi64(
            0x0004000400040004,
            0x0004000400040004,
            0x0004000400040004,
            0x0004000400040004,
            0,
            0,
            0,
            0
        );
        const __m512i up = _mm512_setr_epi32(4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0, 30, 30, 30, 30);
        const __m512i pairs =
            _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(high)));
        const __m512i fours =
            _mm512_and_si512(_mm512_srlv_epi16(nibbles, down), _mm512_set1_epi8(0x0f));
        // fours | (rotated & 0x30)
        return _mm512_ternarylogic_epi32(
            fours, _mm512_rolv_epi32(pairs, up), _mm512_set1_epi8(0x30), 0xf8
        );
    }
    template <int zero>
    static __m512i minus_times(__m512i x) noexcept {
        static_assert((zero & (zero - 1)) == 0);
        const __m512i times = _mm512_slli_epi32(x, __builtin_ctz(zero));
        return _mm512_sub_epi32(_mm512_setzero_si512(), times);
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
