// Sums of scaled weight rows, and whole rows to floats. Several rows are added while a piece of acc
// stays in registers; every element still gets one fused multiply-add per row, in row order.
#pragma once

#include "simd_weights.inl"

namespace powerinfer::cpu {
namespace {

constexpr int kTerms = 8;   // rows added per pass over acc
constexpr int kListed = 64; // rows listed at a time

// Rows and columns decoded at a time for several tokens: as floats they stay in the first cache.
constexpr int kAxpyRows = 16;
constexpr int kAxpyColumns = 2 * kColumnStep;

// One row, from the first column of the call on, and what multiplies it.
struct Term {
    const uint8_t* row;
    float coef;
};

inline void add_scaled(Floats& acc, F factor, const Floats& x) noexcept {
    for (int i = 0; i < kVectors; ++i) {
        acc.v[i] = Simd::fma(factor, x.v[i], acc.v[i]);
    }
}

// acc[0..32 * kChunks) += that of n <= kTerms rows, kStep chunks of 32 at a time.
template <typename W, int kChunks, int kStep>
[[gnu::always_inline]] inline void axpy_unit(
    float* acc, const uint8_t* const* units, const Term* terms, int n
) noexcept {
    typename W::Scales scales[kTerms];
    for (int r = 0; r < n; ++r) {
        scales[r] = W::scales(units[r]);
    }
    for (int c = 0; c < kChunks; c += kStep) {
        Floats sums[kStep];
#pragma GCC unroll 4
        for (int i = 0; i < kStep; ++i) {
            sums[i] = load_floats(acc + 32 * (c + i));
        }
        for (int r = 0; r < n; ++r) {
            const F factor = Simd::set1(terms[r].coef);
#pragma GCC unroll 4
            for (int i = 0; i < kStep; ++i) {
                add_scaled(sums[i], factor, W::values(units[r], scales[r], c + i));
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kStep; ++i) {
            store_floats(acc + 32 * (c + i), sums[i]);
        }
    }
}

template <typename W>
size_t bytes_of(int columns) noexcept {
    if constexpr (requires { W::kBlock; }) {
        return static_cast<size_t>(columns / W::kBlock) * W::kBlockBytes;
    } else {
        return static_cast<size_t>(columns) * W::kElementBytes;
    }
}

// acc[column..) += the terms, as often as kChunks chunks of 32 fit below n. The rows of n_next
// later terms are asked for. Returns the first column that is left.
template <typename W, int kChunks, int kStep>
int axpy_chunks(
    float* acc, const Term* terms, int n_terms, int n_next, int column, int n
) noexcept {
    constexpr int kColumns = 32 * kChunks;
    const uint8_t* units[kTerms];
    for (; column + kColumns <= n; column += kColumns) {
        const size_t offset = bytes_of<W>(column);
        for (int r = 0; r < n_terms; ++r) {
            units[r] = terms[r].row + offset;
        }
        for (int r = 0; r < n_next; ++r) {
            prefetch(terms[n_terms + r].row + offset, static_cast<int>(bytes_of<W>(kColumns)));
        }
        axpy_unit<W, kChunks, kStep>(acc + column, units, terms, n_terms);
    }
    return column;
}

// acc[0..n) += n_terms <= kTerms terms.
template <typename W>
void axpy_group(float* acc, const Term* terms, int n_terms, int n_next, int n) noexcept {
    constexpr int kChunks = W::kUnit / 32;
    constexpr int kStep = kChunks < kGroupBlocks ? kChunks : kGroupBlocks;
    int column = 0;
    if constexpr (kChunks == 1 && kGroupBlocks > 1) { // floats: as many chunks as lanes can hold
        column = axpy_chunks<W, kGroupBlocks, kGroupBlocks>(acc, terms, n_terms, n_next, 0, n);
        if constexpr (kGroupBlocks > 2) { // a head of attention may have 64 columns
            column = axpy_chunks<W, 2, 2>(acc, terms, n_terms, n_next, column, n);
        }
    }
    column = axpy_chunks<W, kChunks, kStep>(acc, terms, n_terms, n_next, column, n);
    if (column < n) { // an incomplete unit, filled up with zeros
        const uint8_t* units[kTerms];
        uint8_t padded[kTerms][W::kUnitBytes] = {};
        float sums[W::kUnit] = {};
        for (int r = 0; r < n_terms; ++r) {
            const uint8_t* rest = terms[r].row + bytes_of<W>(column);
            __builtin_memcpy(padded[r], rest, bytes_of<W>(n - column));
            units[r] = padded[r];
        }
        const size_t rest = static_cast<size_t>(n - column) * sizeof(float);
        __builtin_memcpy(sums, acc + column, rest);
        axpy_unit<W, kChunks, kStep>(sums, units, terms, n_terms);
        __builtin_memcpy(acc + column, sums, rest);
    }
}

template <typename W>
void axpy_terms(float* acc, const Term* terms, int n_terms, int n) noexcept {
    for (int i = 0; i < n_terms; i += kTerms) {
        const int rest = n_terms - i;
        const int now = rest < kTerms ? rest : kTerms;
        const int next = rest - now < kTerms ? rest - now : kTerms;
        axpy_group<W>(acc, terms + i, now, next, n);
    }
}

template <typename W>
void axpy_one_token(float* acc, const Rows& w, const float* coef, int begin, int end) noexcept {
    Term terms[kListed];
    int n_terms = 0;
    for (int i = 0; i < w.n; ++i) {
        if (coef[i] != 0.0f) {
            terms[n_terms] = {row_at(w, i) + bytes_of<W>(begin), coef[i]};
            n_terms += 1;
        }
        if (n_terms == kListed || i + 1 == w.n) {
            axpy_terms<W>(acc + begin, terms, n_terms, end - begin);
            n_terms = 0;
        }
    }
}

// out[0..n) = the first n elements from `row` on.
template <typename W>
void read_columns(float* out, const uint8_t* row, int n) noexcept {
    const auto read_unit = [](float* values, const uint8_t* unit) {
        const typename W::Scales scales = W::scales(unit);
        for (int c = 0; c < W::kUnit / 32; ++c) {
            store_floats(values + 32 * c, W::values(unit, scales, c));
        }
    };
    int column = 0;
    for (; column + W::kUnit <= n; column += W::kUnit, row += W::kUnitBytes) {
        read_unit(out + column, row);
    }
    if (column < n) {
        uint8_t padded[W::kUnitBytes] = {};
        float values[W::kUnit];
        __builtin_memcpy(padded, row, bytes_of<W>(n - column));
        read_unit(values, padded);
        __builtin_memcpy(out + column, values, static_cast<size_t>(n - column) * sizeof(float));
    }
}

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
    alignas(64) float panel[kAxpyRows][kAxpyColumns];
    const size_t offset = bytes_of<W>(begin);
    for (int r = 0; r < n_rows; ++r) {
        read_columns<W>(panel[r], row_at(w, first + r) + offset, n);
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
                terms[n_terms] = {reinterpret_cast<const uint8_t*>(panel[r]), factor};
                n_terms += 1;
            }
        }
        axpy_terms<WeightF32>(acc + t * acc_stride + begin, terms, n_terms, n);
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
    read_columns<W>(out, reinterpret_cast<const uint8_t*>(row), n);
}

} // namespace
} // namespace powerinfer::cpu
