// Dot products of weight rows with activations, in register tiles of R rows by T tokens. Each
// (row, token) runs the same sequence of operations in every tile, so its bits do not depend on
// the tile.
#pragma once

#include "simd_pack.inl"

namespace powerinfer::cpu {
namespace {

constexpr size_t kAheadBytes = 16 * 1024;

// The rows of a tile and the rows that are read some tiles later.
struct TileRows {
    const uint8_t* row[Simd::kRowTile];
    const uint8_t* later[Simd::kRowTile];
};

// One unit of blocks of each row, times the groups x[t] of each token.
template <typename W, int R, int T>
[[gnu::always_inline]] inline void dot_unit(
    F (&acc)[R][T], F (&mins)[R][T], const uint8_t* const (&blocks)[R], const Packed* const (&x)[T]
) noexcept {
    constexpr int kGroups = W::kUnitBlocks * W::kElements / 32 / kGroupBlocks;
    typename W::Unit unit[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        unit[r] = W::unit(blocks[r]);
    }
    for (int g = 0; g < kGroups; ++g) {
        Simd::Quants q[R];
        F scale[R][W::kScales];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            q[r] = W::quants(blocks[r], g);
#pragma GCC unroll 2
            for (int i = 0; i < W::kScales; ++i) {
                scale[r][i] = W::scale(unit[r], g, i);
            }
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const Packed& in = x[t][g];
            const F step = Simd::load(in.scale);
            if constexpr (W::kScales == 1) {
                const Simd::Sums start = Simd::minus_zero<W::kZero>(in);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) {
                    const F sums = Simd::to_float(Simd::dot<W::kZero>(start, q[r], in));
                    acc[r][t] = Simd::fma(sums, Simd::mul(scale[r][0], step), acc[r][t]);
                }
            } else {
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    const Simd::Sums start = Simd::minus_zero<W::kZero>(in, half);
#pragma GCC unroll 8
                    for (int r = 0; r < R; ++r) {
                        const F sums = Simd::to_float(Simd::dot_half(start, q[r], in, half));
                        acc[r][t] = Simd::fma(sums, Simd::mul(scale[r][half], step), acc[r][t]);
                    }
                }
            }
            if constexpr (W::kHasMin) {
                const F sums = Simd::load(in.scaled_sum);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) {
                    mins[r][t] = Simd::fma(W::min(unit[r], g), sums, mins[r][t]);
                }
            }
        }
    }
}

template <typename W, int R, int T>
void dot_tile_blocks(
    float* out, size_t out_stride, const TileRows& rows, const Activations& x, size_t token
) {
    constexpr int kUnitBytes = W::kUnitBlocks * W::kBytes;
    constexpr int kUnitElements = W::kUnitBlocks * W::kElements;
    const size_t token_bytes = packed_bytes(x.dim);
    const Packed* in[T];
    F acc[R][T];
    F mins[R][T];
    for (size_t t = 0; t < T; ++t) {
        in[t] = reinterpret_cast<const Packed*>(x.packed + (token + t) * token_bytes);
        for (int r = 0; r < R; ++r) {
            acc[r][t] = Simd::zero();
            mins[r][t] = Simd::zero();
        }
    }
    const int n_units = x.dim / kUnitElements;
    size_t offset = 0;
    const uint8_t* blocks[R];
    for (int u = 0; u < n_units; ++u, offset += kUnitBytes) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            blocks[r] = rows.row[r] + offset;
            prefetch(rows.later[r] + offset, kUnitBytes);
        }
        dot_unit<W, R, T>(acc, mins, blocks, in);
        for (int t = 0; t < T; ++t) {
            in[t] += kUnitElements / 32 / kGroupBlocks;
        }
    }
    const int rest = x.dim - n_units * kUnitElements;
    if (rest > 0) { // an incomplete unit, filled up with zeros
        uint8_t padded[R][kUnitBytes] = {};
        for (int r = 0; r < R; ++r) {
            const auto bytes = static_cast<size_t>(rest / W::kElements * W::kBytes);
            __builtin_memcpy(padded[r], rows.row[r] + offset, bytes);
            blocks[r] = padded[r];
        }
        dot_unit<W, R, T>(acc, mins, blocks, in);
    }
    for (size_t t = 0; t < T; ++t) {
        for (size_t r = 0; r < R; ++r) {
            float value = Simd::sum(acc[r][t]);
            if constexpr (W::kHasMin) {
                value -= Simd::sum(mins[r][t]);
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
            prefetch(rows.later[r] + j * kElementBytes, kLanes * kElementBytes);
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

// All rows for T tokens.
template <typename W, bool kBlocks, int R, int T>
void dot_tokens(float* out, size_t out_stride, const Rows& w, const Activations& x, size_t token) {
    // Rows are asked for some tiles ahead: far enough for the memory, near enough for the cache.
    const int ahead = w.stride_bytes * R <= kAheadBytes ? 2 * R : R;
    int i = 0;
    TileRows rows;
    for (; i + R <= w.n; i += R) {
        for (int r = 0; r < R; ++r) {
            rows.row[r] = row_at(w, i + r);
            rows.later[r] = i + r + ahead < w.n ? row_at(w, i + r + ahead) : rows.row[r];
        }
        dot_tile<W, kBlocks, R, T>(out + i, out_stride, rows, x, token);
    }
    for (; i < w.n; ++i) {
        rows.row[0] = row_at(w, i);
        rows.later[0] = rows.row[0];
        dot_tile<W, kBlocks, 1, T>(out + i, out_stride, rows, x, token);
    }
}

template <typename W, bool kBlocks>
void dot_rows(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    constexpr int kTokens = Simd::kTokenTile;
    const auto n_tokens = static_cast<size_t>(x.n_tokens);
    size_t token = 0;
    for (; token + kTokens <= n_tokens; token += kTokens) {
        dot_tokens<W, kBlocks, Simd::kRowTileTokens, kTokens>(out, out_stride, w, x, token);
    }
    for (; token + 2 <= n_tokens; token += 2) {
        dot_tokens<W, kBlocks, Simd::kRowTileTokens, 2>(out, out_stride, w, x, token);
    }
    if (token < n_tokens) {
        dot_tokens<W, kBlocks, Simd::kRowTile, 1>(out, out_stride, w, x, token);
    }
}

} // namespace
} // namespace powerinfer::cpu
