// Dot products of weight rows with activations. Each (row, token) runs the same sequence of
// operations however many rows and tokens are multiplied together, so its bits do not depend on
// them. Rows of floats go through register tiles of R rows by T tokens. Quantised rows are decoded
// group by group: in registers for one token, into a panel in the first cache for many.
#pragma once

#include "simd_pack.inl"

namespace powerinfer::cpu {
namespace {

// Rows are asked for this far ahead: far enough for the memory, near enough for the first cache.
constexpr size_t kAheadBytes = 8 * 1024;

int rows_ahead(const Rows& w, int tile) noexcept {
    const auto tiles = static_cast<int>(kAheadBytes / (w.stride_bytes * static_cast<size_t>(tile)));
    return (tiles + 1) * tile;
}

// The rows of a tile and the rows that are read some tiles later. Beyond the last row they are the
// last row again.
template <int R>
struct TileRows {
    const uint8_t* row[R];
    const uint8_t* later[R];

    TileRows(const Rows& w, int first, int ahead) noexcept {
        for (int r = 0; r < R; ++r) {
            row[r] = row_at(w, first + r < w.n ? first + r : w.n - 1);
            later[r] = first + r + ahead < w.n ? row_at(w, first + r + ahead) : row[r];
        }
    }
};

// out[0..n) = the sums of the first n of R vectors.
template <int R>
[[gnu::always_inline]] inline void store_sums(float* out, const F* v, int n = R) noexcept {
    if constexpr (R % 4 == 0) {
        if (n == R) {
#pragma GCC unroll 8
            for (int r = 0; r < R; r += 4) {
                Simd::sums4(out + r, v[r], v[r + 1], v[r + 2], v[r + 3]);
            }
            return;
        }
    }
    for (int r = 0; r < n; ++r) {
        out[r] = Simd::sum(v[r]);
    }
}

// Quantised rows.

template <bool kHasMin>
struct GroupMin {};

template <>
struct GroupMin<true> {
    F min;
};

// The weights of a group.
template <typename W>
struct Group : GroupMin<W::kHasMin> {
    Simd::Quants q;
    F scale[W::kHalves];
};

template <typename W>
[[gnu::always_inline]] inline Group<W> decode_group(
    const uint8_t* blocks, const typename W::Lanes& lanes, int g
) noexcept {
    Group<W> group;
    group.q = W::quants(blocks, g);
    for (int i = 0; i < W::kHalves; ++i) {
        group.scale[i] = W::scale(lanes, g, i);
    }
    if constexpr (W::kHasMin) {
        group.min = W::min(lanes, g);
    }
    return group;
}

// What all rows need of the activations of a group.
template <typename W>
struct TokenGroup {
    const Packed& x;
    F step;
    Simd::Sums start[W::kHalves];

    explicit TokenGroup(const Packed& packed) noexcept : x(packed), step(Simd::load(x.scale)) {
        if constexpr (W::kHalves == 1) {
            start[0] = Simd::minus_zero<W::kZero>(x);
        } else {
            start[0] = Simd::minus_zero<W::kZero>(x, 0);
            start[1] = Simd::minus_zero<W::kZero>(x, 1);
        }
    }
    // sum + the products of the group, by lane.
    template <int bits>
    [[gnu::always_inline]] F add_to(F sum, const Group<W>& w) const noexcept {
        if constexpr (W::kHalves == 1) {
            const F products = Simd::to_float(Simd::dot<W::kZero, bits>(start[0], w.q, x));
            sum = Simd::fma(products, Simd::mul(w.scale[0], step), sum);
        } else {
#pragma GCC unroll 2
            for (int half = 0; half < 2; ++half) {
                const F products = Simd::to_float(Simd::dot_half<bits>(start[half], w.q, x, half));
                sum = Simd::fma(products, Simd::mul(w.scale[half], step), sum);
            }
        }
        if constexpr (W::kHasMin) {
            sum = Simd::fma(w.min, Simd::load(x.minus_scaled_sum), sum);
        }
        return sum;
    }
};

template <typename W>
constexpr int kUnitGroups = W::kUnit / 32 / kGroupBlocks;

// Calls visit(blocks, first group) for the units of columns [begin, end) of R rows; `begin` is the
// first of a unit. A last, incomplete unit is filled up with zeros.
template <typename W, int R, typename Visit>
[[gnu::always_inline]] inline void for_units(
    const TileRows<R>& rows, int begin, int end, Visit visit
) noexcept {
    constexpr int kUnit = W::kUnit;
    constexpr int kUnitBytes = W::kUnitBytes;
    const uint8_t* blocks[R];
    int column = begin;
    size_t offset = static_cast<size_t>(begin / kUnit) * kUnitBytes;
    int group = 0;
    for (; column + kUnit <= end; column += kUnit, offset += kUnitBytes) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            blocks[r] = rows.row[r] + offset;
            prefetch(rows.later[r] + offset, kUnitBytes);
        }
        visit(blocks, group);
        group += kUnitGroups<W>;
    }
    if (column < end) {
        uint8_t padded[R][kUnitBytes] = {};
        const auto bytes = static_cast<size_t>((end - column) / W::kBlock * W::kBlockBytes);
        for (int r = 0; r < R; ++r) {
            __builtin_memcpy(padded[r], rows.row[r] + offset, bytes);
            blocks[r] = padded[r];
        }
        visit(blocks, group);
    }
}

inline const Packed* packed_token(const Activations& x, size_t token) noexcept {
    return reinterpret_cast<const Packed*>(x.packed + token * packed_bytes(x.dim));
}

// One token.
template <typename W, int bits, int R>
void dot_tile_one(float* out, const TileRows<R>& rows, const Activations& x) {
    const Packed* in = packed_token(x, 0);
    F acc[R];
    for (int r = 0; r < R; ++r) {
        acc[r] = Simd::zero();
    }
    for_units<W, R>(rows, 0, x.dim, [&](const uint8_t* const(&blocks)[R], int group) {
        typename W::Lanes lanes[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            lanes[r] = W::lanes(blocks[r]);
        }
        for (int g = 0; g < kUnitGroups<W>; ++g) {
            const TokenGroup<W> shared(in[group + g]);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                acc[r] =
                    shared.template add_to<bits>(acc[r], decode_group<W>(blocks[r], lanes[r], g));
            }
        }
    });
    store_sums<R>(out, acc);
}

template <typename W, int bits>
void dot_one(float* out, const Rows& w, const Activations& x) {
    constexpr int R = Simd::kRowTile;
    const int ahead = rows_ahead(w, R);
    int i = 0;
    for (; i + R <= w.n; i += R) {
        dot_tile_one<W, bits, R>(out + i, TileRows<R>(w, i, ahead), x);
    }
    for (; i < w.n; ++i) {
        dot_tile_one<W, bits, 1>(out + i, TileRows<1>(w, i, 0), x);
    }
}

// Many tokens: columns are taken in panels and tokens in blocks, so that the decoded panel stays in
// the first cache and the activations of the block in the second.
constexpr int kPanelColumns = 2048;
constexpr int kPanelGroups = kPanelColumns / 32 / kGroupBlocks;
constexpr int kPanelRows = Simd::kPanelRows;
constexpr int kPanelTokens = Simd::kPanelTokens;
constexpr int kMaxBlockTokens = 60;
constexpr size_t kBlockBytes = 512 * 1024;

template <typename W>
struct Panel {
    Group<W> group[kPanelGroups][kPanelRows];
    int n_groups;
};

// sums[t][r] + the products of the panel, T tokens whose first groups are x[t].
template <typename W, int bits, int T>
[[gnu::noinline]] void multiply_panel(
    F (*sums)[kPanelRows], const Panel<W>& panel, const Packed* const* x
) {
    const Packed* in[T];
    F acc[T][kPanelRows];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        in[t] = x[t];
#pragma GCC unroll 8
        for (int r = 0; r < kPanelRows; ++r) {
            acc[t][r] = sums[t][r];
        }
    }
    for (int g = 0; g < panel.n_groups; ++g) {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            // Keeps the compiler from holding the weights of all rows in registers, of which it
            // has not enough: they are operands from the first cache.
            __asm__ volatile("" ::: "memory");
            const TokenGroup<W> shared(in[t][g]);
#pragma GCC unroll 8
            for (int r = 0; r < kPanelRows; ++r) {
                acc[t][r] = shared.template add_to<bits>(acc[t][r], panel.group[g][r]);
            }
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
        for (int r = 0; r < kPanelRows; ++r) {
            sums[t][r] = acc[t][r];
        }
    }
}

template <typename W>
void decode_panel(Panel<W>& panel, const TileRows<kPanelRows>& rows, int begin, int end) {
    panel.n_groups = 0;
    for_units<W, kPanelRows>(rows, begin, end, [&](const auto& blocks, int group) {
        for (int r = 0; r < kPanelRows; ++r) {
            const typename W::Lanes lanes = W::lanes(blocks[r]);
            for (int g = 0; g < kUnitGroups<W>; ++g) {
                panel.group[group + g][r] = decode_group<W>(blocks[r], lanes, g);
            }
        }
        panel.n_groups = group + kUnitGroups<W>;
    });
}

// n_tokens <= kMaxBlockTokens tokens from `token` on, kPanelRows rows of which n are wanted.
template <typename W, int bits>
void dot_tile_many(
    float* out,
    size_t out_stride,
    const TileRows<kPanelRows>& rows,
    int n,
    const Activations& x,
    size_t token,
    int n_tokens
) {
    Panel<W> panel;
    F sums[kMaxBlockTokens][kPanelRows];
    const Packed* in[kMaxBlockTokens];
    for (int t = 0; t < n_tokens; ++t) {
        in[t] = packed_token(x, token + static_cast<size_t>(t));
        for (int r = 0; r < kPanelRows; ++r) {
            sums[t][r] = Simd::zero();
        }
    }
    for (int begin = 0; begin < x.dim; begin += kPanelColumns) {
        const int end = x.dim - begin < kPanelColumns ? x.dim : begin + kPanelColumns;
        decode_panel(panel, rows, begin, end);
        int t = 0;
        for (; t + kPanelTokens <= n_tokens; t += kPanelTokens) {
            multiply_panel<W, bits, kPanelTokens>(sums + t, panel, in + t);
        }
        for (; t < n_tokens; ++t) {
            multiply_panel<W, bits, 1>(sums + t, panel, in + t);
        }
        for (t = 0; t < n_tokens; ++t) {
            in[t] += kPanelGroups;
        }
    }
    for (int t = 0; t < n_tokens; ++t) {
        store_sums<kPanelRows>(out + (token + static_cast<size_t>(t)) * out_stride, sums[t], n);
    }
}

template <typename W, int bits>
void dot_many(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    const auto fitting = static_cast<int>(kBlockBytes / packed_bytes(x.dim));
    const int wanted = fitting < kMaxBlockTokens ? fitting : kMaxBlockTokens;
    const int block = wanted < kPanelTokens ? kPanelTokens : wanted / kPanelTokens * kPanelTokens;
    const int ahead = rows_ahead(w, kPanelRows);
    for (int t = 0; t < x.n_tokens; t += block) {
        const int n_tokens = x.n_tokens - t < block ? x.n_tokens - t : block;
        for (int i = 0; i < w.n; i += kPanelRows) {
            const int n = w.n - i < kPanelRows ? w.n - i : kPanelRows;
            const TileRows<kPanelRows> rows(w, i, ahead);
            dot_tile_many<W, bits>(
                out + i, out_stride, rows, n, x, static_cast<size_t>(t), n_tokens
            );
        }
    }
}

template <typename W, int bits>
void dot_rounded(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    if (x.n_tokens == 1) {
        dot_one<W, bits>(out, w, x);
    } else {
        dot_many<W, bits>(out, out_stride, w, x);
    }
}

template <typename W>
void dot_blocks(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    if (x.bits == 8) {
        dot_rounded<W, 8>(out, out_stride, w, x);
    } else {
        dot_rounded<W, 16>(out, out_stride, w, x);
    }
}

// Rows of floats.

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
    float* out, size_t out_stride, const TileRows<R>& rows, const Activations& x, size_t token
) {
    constexpr size_t kLanes = Simd::kLanes;
    constexpr size_t kElementBytes = W::kElementBytes;
    const auto dim = static_cast<size_t>(x.dim);
    const size_t whole = dim / kLanes * kLanes;
    const float* values[T];
    F acc[T][R];
#pragma GCC unroll 8
    for (size_t t = 0; t < T; ++t) {
        values[t] = x.f32 + (token + t) * dim;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            acc[t][r] = Simd::zero();
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
                acc[t][r] = Simd::fma(weights, column[t], acc[t][r]);
            }
        }
    }
    if (whole < dim) {
#pragma GCC unroll 8
        for (size_t t = 0; t < T; ++t) {
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const uint8_t* rest = rows.row[r] + whole * kElementBytes;
                acc[t][r] = dot_tail<W>(acc[t][r], rest, values[t] + whole, dim - whole);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < T; ++t) {
        store_sums<R>(out + (token + t) * out_stride, acc[t]);
    }
}

// All rows for T tokens.
template <typename W, int R, int T>
void dot_tokens(float* out, size_t out_stride, const Rows& w, const Activations& x, size_t token) {
    const int ahead = rows_ahead(w, R);
    int i = 0;
    for (; i + R <= w.n; i += R) {
        dot_tile_floats<W, R, T>(out + i, out_stride, TileRows<R>(w, i, ahead), x, token);
    }
    for (; i < w.n; ++i) {
        dot_tile_floats<W, 1, T>(out + i, out_stride, TileRows<1>(w, i, 0), x, token);
    }
}

template <typename W>
void dot_floats(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    constexpr int kTokens = Simd::kTokenTile;
    const auto n_tokens = static_cast<size_t>(x.n_tokens);
    size_t token = 0;
    for (; token + kTokens <= n_tokens; token += kTokens) {
        dot_tokens<W, Simd::kRowTileTokens, kTokens>(out, out_stride, w, x, token);
    }
    for (; token < n_tokens; ++token) {
        dot_tokens<W, Simd::kRowTile, 1>(out, out_stride, w, x, token);
    }
}

} // namespace
} // namespace powerinfer::cpu
