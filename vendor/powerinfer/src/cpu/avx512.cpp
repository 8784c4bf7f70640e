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
    static constexpr int kPanelRows = 8;   // decoded rows, which tiles of rows and tokens pass over
    template <int bits>                    // the fewer, the more tokens fit
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
    static F fms(F a, F b, F c) noexcept { return _mm512_fmsub_ps(a, b, c); }
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
        const __m512i from = _mm512_setr_epi32(0, 8, 0, 8, 1, 9, 1, 9, 2, 10, 2, 10, 3, 11, 3, 11);
        const __m512i bytes = _mm512_loadu_si512(low);
        const __m512i first = _mm512_permutexvar_epi32(from, bytes);
        const __m512i second =
            _mm512_permutexvar_epi32(_mm512_add_epi32(from, _mm512_set1_epi32(4)), bytes);
        return {{join_q6_k(first, high), join_q6_k(second, high + 16)}};
    }
    static F scales_q6_k(const uint8_t* q, float d) noexcept {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
        return mul(set1(d), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
    }
    // Every second of the scales from `first` on, each in the lanes of its block.
    static F lanes_q6_k(F scales, int first) noexcept {
        const __m512i from = _mm512_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6);
        return _mm512_permutexvar_ps(_mm512_add_epi32(from, _mm512_set1_epi32(first)), scales);
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
    // 16 elements of each of four blocks of 32. Low bits: the low nibbles for the first two blocks
    // and the high ones for the last two; high bits: the four pairs of 16 bytes, one for each
    // block, moved to bits 4 and 5 (what comes from another byte is masked out).
    static __m512i join_q6_k(__m512i nibbles, const uint8_t* high) noexcept {
        const __m512i down = _mm512_setr_epi32(0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4);
        const __m512i up = _mm512_setr_epi32(4, 2, 0, 30, 4, 2, 0, 30, 4, 2, 0, 30, 4, 2, 0, 30);
        const __m512i of_lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        const __m128i pairs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(high));
        const __m512i pair_of_lane =
            _mm512_permutexvar_epi32(of_lane, _mm512_castsi128_si512(pairs));
        const __m512i fours =
            _mm512_and_si512(_mm512_srlv_epi32(nibbles, down), _mm512_set1_epi8(0x0f));
        // fours | (rotated & 0x30)
        return _mm512_ternarylogic_epi32(
            fours, _mm512_rolv_epi32(pair_of_lane, up), _mm512_set1_epi8(0x30), 0xf8
        );
    }
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
