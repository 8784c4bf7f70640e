// Sums of scaled weight rows, and whole rows to floats. Several rows are added while a piece of acc
// stays in registers; every element still gets one fused multiply-add per row, in row order.
#pragma once

#include "simd_weights.inl"

namespace powerinfer::cpu {
namespace {

constexpr int kGroup = 8;   // rows added per pass over acc
constexpr int kListed = 64; // rows listed at a time

// Rows and columns decoded at a time for several tokens: as floats they stay in the first cache.
constexpr int kAxpyRows = 16;
constexpr int kAxpyColumns = 2 * kColumnStep;

// One row, from the first column of the call on, and what multiplies it.
struct Term {
    const uint8_t* row;
    float coef;
};

inline void add_scaled(Floats& acc, float coef, const Floats& x) noexcept {
    const F factor = Simd::set1(coef);
    for (int i = 0; i < kVectors; ++i) {
        acc.v[i] = Simd::fma(factor, x.v[i], acc.v[i]);
    }
}

// The n < 32 last columns, which only types of floats can have.
template <typename W>
void axpy_tail(float* acc, const Term* terms, int n_terms, size_t offset, size_t n) noexcept {
    float sums[32] = {};
    __builtin_memcpy(sums, acc, n * sizeof(float));
    Floats acc_values = load_floats(sums);
    for (int r = 0; r < n_terms; ++r) {
        uint8_t block[W::kBytes] = {};
        __builtin_memcpy(block, terms[r].row + offset, n * (W::kBytes / 32));
        add_scaled(acc_values, terms[r].coef, W::values(block, W::head(block), 0));
    }
    store_floats(sums, acc_values);
    __builtin_memcpy(acc, sums, n * sizeof(float));
}

// acc[0..n) += the first N terms. With kAhead there are N terms more, whose rows are asked for.
template <typename W, int N, bool kAhead>
void axpy_group(float* acc, const Term* terms, int n) noexcept {
    constexpr int kChunks = W::kElements / 32;
    const int n_blocks = n / W::kElements;
    for (int b = 0; b < n_blocks; ++b) {
        const size_t offset = static_cast<size_t>(b) * W::kBytes;
        typename W::Head head[N];
#pragma GCC unroll 8
        for (int r = 0; r < N; ++r) {
            head[r] = W::head(terms[r].row + offset);
            if constexpr (kAhead) {
                prefetch(terms[N + r].row + offset, W::kBytes);
            }
        }
        for (int c = 0; c < kChunks; ++c) {
            float* piece = acc + b * W::kElements + 32 * c;
            Floats sums = load_floats(piece);
#pragma GCC unroll 8
            for (int r = 0; r < N; ++r) {
                const Floats x = W::values(terms[r].row + offset, head[r], c);
                add_scaled(sums, terms[r].coef, x);
            }
            store_floats(piece, sums);
        }
    }
    const int rest = n - n_blocks * W::kElements;
    if (rest > 0) {
        const size_t offset = static_cast<size_t>(n_blocks) * W::kBytes;
        float* tail = acc + n_blocks * W::kElements;
        axpy_tail<W>(tail, terms, N, offset, static_cast<size_t>(rest));
    }
}

template <typename W, bool kAhead>
void axpy_terms(float* acc, const Term* terms, int n_terms, int n) noexcept {
    const Term* const end = terms + n_terms;
    if constexpr (kAhead) {
        for (; end - terms >= 16; terms += 8) {
            axpy_group<W, 8, true>(acc, terms, n);
        }
    }
    for (; end - terms >= 8; terms += 8) {
        axpy_group<W, 8, false>(acc, terms, n);
    }
    for (; end - terms >= 3; terms += 3) {
        axpy_group<W, 3, false>(acc, terms, n);
    }
    for (; end - terms >= 1; terms += 1) {
        axpy_group<W, 1, false>(acc, terms, n);
    }
}

template <typename W>
size_t column_offset(int column) noexcept {
    return static_cast<size_t>(column / W::kElements) * W::kBytes;
}

template <typename W>
void axpy_one_token(float* acc, const Rows& w, const float* coef, int begin, int end) noexcept {
    Term terms[kListed];
    int n_terms = 0;
    for (int i = 0; i < w.n; ++i) {
        if (coef[i] != 0.0f) {
            terms[n_terms] = {row_at(w, i) + column_offset<W>(begin), coef[i]};
            n_terms += 1;
        }
        if (n_terms == kListed || i + 1 == w.n) {
            axpy_terms<W, true>(acc + begin, terms, n_terms, end - begin);
            n_terms = 0;
        }
    }
}

// out[0..n) = the first n elements from `row` on.
template <typename W>
void read_columns(float* out, const uint8_t* row, int n) noexcept {
    const int n_blocks = n / W::kElements;
    for (int b = 0; b < n_blocks; ++b) {
        const uint8_t* block = row + static_cast<size_t>(b) * W::kBytes;
        const typename W::Head head = W::head(block);
        for (int c = 0; c < W::kElements / 32; ++c) {
            store_floats(out + b * W::kElements + 32 * c, W::values(block, head, c));
        }
    }
    const int done = n_blocks * W::kElements;
    if (done < n) {
        const auto rest = static_cast<size_t>(n - done);
        uint8_t block[W::kBytes] = {};
        float values[32];
        const size_t offset = static_cast<size_t>(n_blocks) * W::kBytes;
        __builtin_memcpy(block, row + offset, rest * (W::kBytes / 32));
        store_floats(values, W::values(block, W::head(block), 0));
        __builtin_memcpy(out + done, values, rest * sizeof(float));
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
    const size_t offset = column_offset<W>(begin);
    for (int r = 0; r < n_rows; ++r) {
        read_columns<W>(panel[r], row_at(w, first + r) + offset, n);
        if (first + kAxpyRows + r < w.n) {
            const size_t bytes = column_offset<W>(n);
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
        axpy_terms<WeightF32, false>(acc + t * acc_stride + begin, terms, n_terms, n);
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
