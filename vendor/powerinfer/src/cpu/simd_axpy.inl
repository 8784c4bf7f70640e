// Sums of scaled weight rows, and whole rows to floats. Several rows are added while a piece of acc
// stays in registers; every element still gets one term per row, in row order.
#pragma once

#include "simd_weights.inl"

#include <type_traits>

namespace powerinfer::cpu {
namespace {

constexpr int kTerms = 8;   // rows added per pass over acc
constexpr int kListed = 64; // rows listed at a time

// What is asked for of each of the first rows of a call, before anything is computed: nobody asked
// for them while other rows were added.
constexpr int kFirstBytes = 2048;

// Rows and columns decoded at a time for several tokens: as floats they stay in the first cache.
constexpr int kAxpyRows = 16;
constexpr int kAxpyColumns = 2 * kColumnStep;

// One row, from the first column of the call on, and what multiplies it.
struct Term {
    const uint8_t* row;
    float coef;
};

// What the scales multiply in group g of a unit.
template <typename W>
[[gnu::always_inline]] inline typename W::Steps steps_of(const uint8_t* unit, int g) noexcept {
    using Steps = typename W::Steps;
    if constexpr (std::is_constructible_v<Steps, const uint8_t*, int>) {
        return Steps(unit, g);
    } else {
        return Steps(W::quants(unit, g));
    }
}

// Weights: vector i of a group that begins with element j of its unit.
template <typename W>
[[gnu::always_inline]] inline F weights_at(
    const typename W::Steps& steps, const typename W::Scales& scales, int j, int i
) noexcept {
    if constexpr (!W::kHasScales) {
        return steps.at(i);
    } else {
        const int element = j + i * Simd::kLanes;
        const F scale = Simd::set1(W::scale_at(scales, element));
        if constexpr (W::kHasMin) {
            return Simd::fms(scale, steps.at(i), Simd::set1(W::min_at(scales, element)));
        } else {
            return Simd::mul(scale, steps.at(i));
        }
    }
}

// acc[0..32 * kChunks) += that of N rows, kStep chunks of 32 at a time.
template <typename W, int N, int kChunks, int kStep>
[[gnu::always_inline]] inline void axpy_unit(
    float* acc, const uint8_t* const (&units)[N], const Term* terms
) noexcept {
    constexpr int kVectors = kStep * 32 / Simd::kLanes;
    typename W::Scales scales[N];
#pragma GCC unroll 8
    for (int r = 0; r < N; ++r) {
        scales[r] = W::scales(units[r]);
        if constexpr (W::kByScale) {
            W::multiply(scales[r], terms[r].coef);
        }
    }
    if constexpr (W::kHasScales) {
        // Broadcasts from the first cache are cheaper than from parts of registers.
        Simd::keep_in_memory(scales);
    }
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; c += kStep) {
        F sums[kVectors];
#pragma GCC unroll 8
        for (int i = 0; i < kVectors; ++i) {
            sums[i] = Simd::load(acc + 32 * c + i * Simd::kLanes);
        }
#pragma GCC unroll 8
        for (int r = 0; r < N; ++r) {
            const typename W::Steps steps = steps_of<W>(units[r], c / kStep);
            const F coef = Simd::set1(terms[r].coef);
#pragma GCC unroll 8
            for (int i = 0; i < kVectors; ++i) {
                if constexpr (W::kByScale) {
                    const int element = 32 * c + i * Simd::kLanes;
                    const F scale = Simd::set1(W::scale_at(scales[r], element));
                    sums[i] = Simd::fma(scale, steps.at(i), sums[i]);
                } else {
                    const F weights = weights_at<W>(steps, scales[r], 32 * c, i);
                    sums[i] = Simd::fma(coef, weights, sums[i]);
                }
            }
            if constexpr (W::kHasScales && !W::kByScale) {
                // Keeps the compiler from beginning with later rows, for which it has no registers.
#pragma GCC unroll 8
                for (int i = 0; i < kVectors; ++i) {
                    Simd::finish(sums[i]);
                }
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < kVectors; ++i) {
            Simd::store(acc + 32 * c + i * Simd::kLanes, sums[i]);
        }
    }
}

// acc[column..) += N terms, as often as kChunks chunks of 32 fit below n. The rows of n_next later
// terms are asked for. Returns the first column that is left.
template <typename W, int N, int kChunks, int kStep>
int axpy_chunks(float* acc, const Term* terms, int n_next, int column, int n) noexcept {
    constexpr int kColumns = 32 * kChunks;
    const uint8_t* units[N];
    for (; column + kColumns <= n; column += kColumns) {
        const size_t offset = bytes_of<W>(column);
        for (int r = 0; r < n_next; ++r) {
            prefetch(terms[N + r].row + offset, static_cast<int>(bytes_of<W>(kColumns)));
        }
#pragma GCC unroll 8
        for (int r = 0; r < N; ++r) {
            units[r] = terms[r].row + offset;
        }
        axpy_unit<W, N, kChunks, kStep>(acc + column, units, terms);
    }
    return column;
}

// acc[0..n) += N terms.
template <typename W, int N>
void axpy_group(float* acc, const Term* terms, int n_next, int n) noexcept {
    constexpr int kChunks = W::kUnit / 32;
    constexpr int kStep = kChunks < kGroupBlocks ? kChunks : kGroupBlocks;
    int column = 0;
    if constexpr (kChunks == 1 && kGroupBlocks > 1) { // floats: as many chunks as lanes can hold
        column = axpy_chunks<W, N, kGroupBlocks, kGroupBlocks>(acc, terms, n_next, 0, n);
        if constexpr (kGroupBlocks > 2) { // a head of attention may have 64 columns
            column = axpy_chunks<W, N, 2, 2>(acc, terms, n_next, column, n);
        }
    }
    column = axpy_chunks<W, N, kChunks, kStep>(acc, terms, n_next, column, n);
    if (column < n) { // an incomplete unit, filled up with zeros
        const uint8_t* units[N];
        uint8_t padded[N][W::kUnitBytes] = {};
        float sums[W::kUnit] = {};
        for (int r = 0; r < N; ++r) {
            const uint8_t* rest = terms[r].row + bytes_of<W>(column);
            __builtin_memcpy(padded[r], rest, bytes_of<W>(n - column));
            units[r] = padded[r];
        }
        const size_t rest = static_cast<size_t>(n - column) * sizeof(float);
        __builtin_memcpy(sums, acc + column, rest);
        axpy_unit<W, N, kChunks, kStep>(sums, units, terms);
        __builtin_memcpy(acc + column, sums, rest);
    }
}

// acc[0..n) += n_terms terms. With kAhead the rows of later terms, up to terms[n_listed], are asked
// for meanwhile.
template <typename W, bool kAhead, int N = kTerms>
void axpy_terms(float* acc, const Term* terms, int n_terms, int n_listed, int n) noexcept {
    int i = 0;
    for (; i + N <= n_terms; i += N) {
        const int later = n_listed - i - N;
        const int next = !kAhead ? 0 : later < N ? later : N;
        axpy_group<W, N>(acc, terms + i, next, n);
    }
    if constexpr (N > 1) {
        axpy_terms<W, kAhead, N / 2>(acc, terms + i, n_terms - i, n_listed - i, n);
    }
}

template <typename W>
void axpy_one_token(float* acc, const Rows& w, const float* coef, int begin, int end) noexcept {
    const int n = end - begin;
    const int row_bytes = static_cast<int>(bytes_of<W>(n));
    const int first_bytes = row_bytes < kFirstBytes ? row_bytes : kFirstBytes;
    Term terms[kListed];
    int n_terms = 0;
    int to_ask = kTerms;
    for (int i = 0; i < w.n; ++i) {
        if (coef[i] == 0.0f) {
            continue;
        }
        const uint8_t* row = row_at(w, i) + bytes_of<W>(begin);
        if (to_ask > 0) {
            prefetch(row, first_bytes);
            to_ask -= 1;
        }
        terms[n_terms] = {row, coef[i]};
        n_terms += 1;
        if (n_terms == kListed) { // the last rows wait until those after them are known
            axpy_terms<W, true>(acc + begin, terms, kListed - kTerms, kListed, n);
            __builtin_memcpy(terms, terms + kListed - kTerms, sizeof(Term) * kTerms);
            n_terms = kTerms;
        }
    }
    axpy_terms<W, true>(acc + begin, terms, n_terms, n_terms, n);
}

// Calls visit(unit, column) for the units of the first n elements from `row` on. A last, incomplete
// unit is filled up with zeros.
template <typename W, typename Visit>
void for_row_units(const uint8_t* row, int n, Visit visit) noexcept {
    int column = 0;
    for (; column + W::kUnit <= n; column += W::kUnit, row += W::kUnitBytes) {
        visit(row, column);
    }
    if (column < n) {
        uint8_t padded[W::kUnitBytes] = {};
        __builtin_memcpy(padded, row, bytes_of<W>(n - column));
        visit(padded, column);
    }
}

constexpr int kGroup = 32 * kGroupBlocks; // elements of a group

// out[0..kUnit) = what the scales multiply, or the weights.
template <typename W, bool kWeights>
void read_unit(float* out, const uint8_t* unit) noexcept {
    constexpr int kStep = W::kUnit < kGroup ? W::kUnit : kGroup;
    typename W::Scales scales;
    if constexpr (kWeights) {
        scales = W::scales(unit);
    }
#pragma GCC unroll 8
    for (int j = 0; j < W::kUnit; j += kStep) {
        const typename W::Steps steps = steps_of<W>(unit, j / kStep);
#pragma GCC unroll 8
        for (int i = 0; i < kStep / Simd::kLanes; ++i) {
            float* to = out + j + i * Simd::kLanes;
            if constexpr (kWeights) {
                Simd::store(to, weights_at<W>(steps, scales, j, i));
            } else {
                Simd::store(to, steps.at(i));
            }
        }
    }
}

// A decoded weight type: the weights as floats,
template <typename W>
struct Decoded : WeightF32 {
    static void decode(uint8_t* out, const uint8_t* unit) noexcept {
        read_unit<W, true>(reinterpret_cast<float*>(out), unit);
    }
};

// or what the scales multiply, followed by the scales.
template <typename W>
    requires W::kByScale
struct Decoded<W> {
    static constexpr int kUnit = W::kUnit;
    static constexpr int kScalesAt = kUnit * 4;
    static constexpr int kUnitBytes = (kScalesAt + sizeof(typename W::Scales) + 63) / 64 * 64;
    static constexpr int kBlock = kUnit;
    static constexpr int kBlockBytes = kUnitBytes;
    static constexpr bool kHasScales = true;
    static constexpr bool kHasMin = false;
    static constexpr bool kByScale = true;
    using Scales = typename W::Scales;
    static Scales scales(const uint8_t* unit) noexcept {
        Scales s;
        __builtin_memcpy(&s, unit + kScalesAt, sizeof s);
        return s;
    }
    static void multiply(Scales& s, float factor) noexcept { W::multiply(s, factor); }
    static float scale_at(const Scales& s, int j) noexcept { return W::scale_at(s, j); }
    struct Steps : WeightF32::Steps {
        Steps(const uint8_t* p, int g) noexcept : WeightF32::Steps(p + g * kGroup * 4, 0) {}
    };

    static void decode(uint8_t* out, const uint8_t* unit) noexcept {
        read_unit<W, false>(reinterpret_cast<float*>(out), unit);
        const Scales s = W::scales(unit);
        __builtin_memcpy(out + kScalesAt, &s, sizeof s);
    }
};

// Rows [first, first + n_rows) and columns [begin, begin + n) for all tokens: decode once, then add
// for each token.
template <typename W>
void axpy_panel(
    float* acc,
    size_t acc_stride,
    const Rows& w,
    const float* coef,
    size_t coef_stride,
    int n_tokens,
    int first,
    int n_rows,
    int begin,
    int n
) noexcept {
    using D = Decoded<W>;
    alignas(64) uint8_t panel[kAxpyRows][kAxpyColumns / D::kUnit * D::kUnitBytes];
    const size_t offset = bytes_of<W>(begin);
    for (int r = 0; r < n_rows; ++r) {
        for_row_units<W>(row_at(w, first + r) + offset, n, [&](const uint8_t* unit, int column) {
            D::decode(panel[r] + bytes_of<D>(column), unit);
        });
        if (first + kAxpyRows + r < w.n) {
            const size_t bytes = bytes_of<W>(n);
            prefetch(row_at(w, first + kAxpyRows + r) + offset, static_cast<int>(bytes));
        }
    }
    for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
        Term terms[kAxpyRows];
        int n_terms = 0;
        for (int r = 0; r < n_rows; ++r) {
            const float factor = coef[t * coef_stride + static_cast<size_t>(first + r)];
            if (factor != 0.0f) {
                terms[n_terms] = {panel[r], factor};
                n_terms += 1;
            }
        }
        axpy_terms<D, false>(acc + t * acc_stride + begin, terms, n_terms, n_terms, n);
    }
}

template <typename W>
void axpy_rows(
    float* acc,
    size_t acc_stride,
    const Rows& w,
    const float* coef,
    size_t coef_stride,
    int n_tokens,
    int col_begin,
    int col_end
) {
    if (n_tokens == 1) {
        axpy_one_token<W>(acc, w, coef, col_begin, col_end);
        return;
    }
    for (int begin = col_begin; begin < col_end; begin += kAxpyColumns) {
        const int n = col_end - begin < kAxpyColumns ? col_end - begin : kAxpyColumns;
        for (int first = 0; first < w.n; first += kAxpyRows) {
            const int n_rows = w.n - first < kAxpyRows ? w.n - first : kAxpyRows;
            axpy_panel<W>(acc, acc_stride, w, coef, coef_stride, n_tokens, first, n_rows, begin, n);
        }
    }
}

template <typename W>
void dequantize(float* out, const std::byte* row, int n) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(row);
    for_row_units<W>(bytes, n, [&](const uint8_t* unit, int column) {
        float values[W::kUnit];
        read_unit<W, true>(values, unit);
        const int rest = n - column < W::kUnit ? n - column : W::kUnit;
        __builtin_memcpy(out + column, values, static_cast<size_t>(rest) * sizeof(float));
    });
}

} // namespace
} // namespace powerinfer::cpu
