// Sums of scaled rows of floats for several tokens. A piece of acc stays in registers while rows
// pass by; every element still gets one fused multiply-add per row, in row order.
#pragma once

#include "simd_axpy.inl"

namespace powerinfer::cpu {
namespace {

constexpr int kFloatRows = 32; // rows at a time: they stay in the second-level cache
constexpr int kTileVectors = Simd::kAxpyVectors;

// acc[t][0..kTileVectors vectors) += coef[t][i] * the same columns of row i, for T tokens.
template <typename W, int T>
void axpy_tile(
    float* acc,
    size_t acc_stride,
    const uint8_t* const* rows,
    size_t offset,
    int n_rows,
    const float* coef,
    size_t coef_stride
) noexcept {
    F sums[T][kTileVectors];
#pragma GCC unroll 4
    for (size_t t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
            sums[t][v] = Simd::load(acc + t * acc_stride + v * Simd::kLanes);
        }
    }
    for (int i = 0; i < n_rows; ++i) {
        F weights[kTileVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
            weights[v] = W::vector(rows[i] + offset + v * Simd::kLanes * W::kElementBytes);
        }
#pragma GCC unroll 4
        for (size_t t = 0; t < T; ++t) {
            const F factor = Simd::set1(coef[t * coef_stride + static_cast<size_t>(i)]);
#pragma GCC unroll 4
            for (int v = 0; v < kTileVectors; ++v) {
                sums[t][v] = Simd::fma(factor, weights[v], sums[t][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
            Simd::store(acc + t * acc_stride + v * Simd::kLanes, sums[t][v]);
        }
    }
}

inline bool has_zero(const float* coef, size_t coef_stride, int n_rows, int n_tokens) noexcept {
    bool found = false;
    for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
        for (int i = 0; i < n_rows; ++i) {
            found |= coef[t * coef_stride + static_cast<size_t>(i)] == 0.0f;
        }
    }
    return found;
}

template <typename W>
void axpy_floats(
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
    constexpr int T = Simd::kTokenTile;
    constexpr int kColumns = kTileVectors * Simd::kLanes;
    const int tile_end = col_begin + (col_end - col_begin) / kColumns * kColumns;
    for (int first = 0; first < w.n; first += kFloatRows) {
        const int n = w.n - first < kFloatRows ? w.n - first : kFloatRows;
        Rows some = {w.data, w.stride_bytes, nullptr, n};
        if (w.ids != nullptr) {
            some.ids = w.ids + first;
        } else {
            some.data += static_cast<size_t>(first) * w.stride_bytes;
        }
        const uint8_t* rows[kFloatRows];
        for (int i = 0; i < n; ++i) {
            rows[i] = row_at(some, i);
        }
        int t = 0;
        while (t < n_tokens) {
            float* sums = acc + static_cast<size_t>(t) * acc_stride;
            const float* factors = coef + static_cast<size_t>(t) * coef_stride + first;
            // A zero is skipped, which only rows one by one can do.
            if (t + T > n_tokens || has_zero(factors, coef_stride, n, T)) {
                axpy_one_token<W>(sums, some, factors, col_begin, col_end);
                t += 1;
                continue;
            }
            for (int c = col_begin; c < tile_end; c += kColumns) {
                const size_t offset = static_cast<size_t>(c) * W::kElementBytes;
                axpy_tile<W, T>(sums + c, acc_stride, rows, offset, n, factors, coef_stride);
            }
            if (tile_end < col_end) {
                for (size_t i = 0; i < T; ++i) {
                    const float* own = factors + i * coef_stride;
                    axpy_one_token<W>(sums + i * acc_stride, some, own, tile_end, col_end);
                }
            }
            t += T;
        }
    }
}

} // namespace
} // namespace powerinfer::cpu
