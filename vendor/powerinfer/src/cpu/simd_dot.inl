// Dot products of weight rows with activations, in register tiles of R rows by T tokens. Each
// (row, token) runs the same sequence of operations in every tile, so its bits do not depend on
// the tile.
#pragma once

#include "simd_weights.inl"

namespace powerinfer::cpu {
namespace {

// The rows of a tile and the rows that come after them.
struct TileRows {
    const uint8_t* row[Simd::kRowTile];
    const uint8_t* next[Simd::kRowTile];
};

template <typename W, int R, int T>
void dot_tile_blocks(
    float* out, size_t out_stride, const TileRows& rows, const Activations& x, size_t token
) {
    constexpr int kChunks = W::kElements / 32;
    const auto dim = static_cast<size_t>(x.dim);
    const size_t n_blocks = dim / W::kElements;
    const int16_t* q[T];
    const float* scale[T];
    const int32_t* sum[T];
    F acc[R][T];
    Simd::Eight mins[R][T];
    for (size_t t = 0; t < T; ++t) {
        q[t] = x.q16 + (token + t) * dim;
        scale[t] = x.scale + (token + t) * (dim / 32);
        sum[t] = x.sum + (token + t) * (dim / 32);
        for (int r = 0; r < R; ++r) {
            acc[r][t] = Simd::zero();
            mins[r][t] = Simd::zero8();
        }
    }
    for (size_t b = 0; b < n_blocks; ++b) {
        const size_t offset = b * W::kBytes;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const uint8_t* block = rows.row[r] + offset;
            const typename W::Head head = W::head(block);
            prefetch(rows.next[r] + offset, W::kBytes);
#pragma GCC unroll 8
            for (int c = 0; c < kChunks; ++c) {
                const Simd::Words words = Simd::widen(W::bytes(block, c));
                const auto chunk_scale = W::scale(head, c);
                const size_t chunk = b * kChunks + static_cast<size_t>(c);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) {
                    acc[r][t] = Simd::dot(
                        acc[r][t], words, q[t] + 32 * chunk, chunk_scale, scale[t][chunk]
                    );
                }
            }
            if constexpr (W::kHasMin) {
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) {
                    mins[r][t] = Simd::dot8(mins[r][t], head.min, scale[t] + 8 * b, sum[t] + 8 * b);
                }
            }
        }
    }
    for (size_t t = 0; t < T; ++t) {
        for (size_t r = 0; r < R; ++r) {
            float value = Simd::sum(acc[r][t]);
            if constexpr (W::kHasMin) {
                value -= Simd::sum8(mins[r][t]);
            }
            out[(token + t) * out_stride + r] = value;
        }
    }
}

// The last, incomplete vector of a row, padded with zeros.
template <typename W>
F dot_tail(F acc, const uint8_t* w, const float* x, size_t n) noexcept {
    uint8_t w_padded[Simd::kLanes * W::kElementBytes] = {};
    float x_padded[Simd::kLanes] = {};
    __builtin_memcpy(w_padded, w, n * W::kElementBytes);
    __builtin_memcpy(x_padded, x, n * sizeof(float));
    return Simd::fma(W::vector(w_padded), Simd::load(x_padded), acc);
}

template <typename W, int R, int T>
void dot_tile_floats(
    float* out, size_t out_stride, const TileRows& rows, const Activations& x, size_t token
) {
    constexpr size_t kLanes = Simd::kLanes;
    constexpr size_t kElementBytes = W::kElementBytes;
    const auto dim = static_cast<size_t>(x.dim);
    const size_t whole = dim / kLanes * kLanes;
    const float* values[T];
    F acc[R][T];
    for (size_t t = 0; t < T; ++t) {
        values[t] = x.f32 + (token + t) * dim;
        for (int r = 0; r < R; ++r) {
            acc[r][t] = Simd::zero();
        }
    }
    for (size_t j = 0; j < whole; j += kLanes) {
        F column[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            column[t] = Simd::load(values[t] + j);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const F weights = W::vector(rows.row[r] + j * kElementBytes);
            prefetch(rows.next[r] + j * kElementBytes, kLanes * kElementBytes);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                acc[r][t] = Simd::fma(weights, column[t], acc[r][t]);
            }
        }
    }
    for (size_t t = 0; t < T; ++t) {
        for (size_t r = 0; r < R; ++r) {
            if (whole < dim) {
                const uint8_t* rest = rows.row[r] + whole * kElementBytes;
                acc[r][t] = dot_tail<W>(acc[r][t], rest, values[t] + whole, dim - whole);
            }
            out[(token + t) * out_stride + r] = Simd::sum(acc[r][t]);
        }
    }
}

template <typename W, bool kBlocks, int R, int T>
inline void dot_tile(
    float* out, size_t out_stride, const TileRows& rows, const Activations& x, size_t token
) {
    if constexpr (kBlocks) {
        dot_tile_blocks<W, R, T>(out, out_stride, rows, x, token);
    } else {
        dot_tile_floats<W, R, T>(out, out_stride, rows, x, token);
    }
}

// R rows from row i on, all tokens.
template <typename W, bool kBlocks, int R>
void dot_some_rows(float* out, size_t out_stride, const Rows& w, int i, const Activations& x) {
    constexpr int kTokens = Simd::kTokenTile;
    TileRows rows;
    for (int r = 0; r < R; ++r) {
        rows.row[r] = row_at(w, i + r);
        rows.next[r] = i + R + r < w.n ? row_at(w, i + R + r) : rows.row[r];
    }
    const auto n_tokens = static_cast<size_t>(x.n_tokens);
    size_t token = 0;
    for (; token + kTokens <= n_tokens; token += kTokens) {
        dot_tile<W, kBlocks, R, kTokens>(out + i, out_stride, rows, x, token);
    }
    for (; token < n_tokens; ++token) {
        dot_tile<W, kBlocks, R, 1>(out + i, out_stride, rows, x, token);
    }
}

template <typename W, bool kBlocks>
void dot_rows(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    int i = 0;
    if (x.n_tokens < Simd::kTokenTile) {
        for (; i + Simd::kRowTile <= w.n; i += Simd::kRowTile) {
            dot_some_rows<W, kBlocks, Simd::kRowTile>(out, out_stride, w, i, x);
        }
    } else {
        for (; i + Simd::kRowTileTokens <= w.n; i += Simd::kRowTileTokens) {
            dot_some_rows<W, kBlocks, Simd::kRowTileTokens>(out, out_stride, w, i, x);
        }
    }
    for (; i < w.n; ++i) {
        dot_some_rows<W, kBlocks, 1>(out, out_stride, w, i, x);
    }
}

} // namespace
} // namespace powerinfer::cpu
