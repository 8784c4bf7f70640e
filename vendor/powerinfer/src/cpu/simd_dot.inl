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

// Of whole tiles; a row has `columns` elements.
template <typename W>
int rows_ahead(int columns, int tile) noexcept {
    const size_t tile_bytes = bytes_of<W>(columns) * static_cast<size_t>(tile);
    return (static_cast<int>(kAheadBytes / tile_bytes) + 1) * tile;
}

// The rows of a tile and the rows that are read some tiles later. Beyond the last row they are the
// last row again.
template <int R>
struct TileRows {
    const uint8_t* row[R];
    const uint8_t* later[R];

    TileRows() = default;
    TileRows(const Rows& w, int first, int ahead) noexcept {
        for (int r = 0; r < R; ++r) {
            row[r] = row_at(w, first + r < w.n ? first + r : w.n - 1);
            later[r] = first + r + ahead < w.n ? row_at(w, first + r + ahead) : row[r];
        }
    }
    TileRows<1> one(int r) const noexcept {
        TileRows<1> tile;
        tile.row[0] = row[r];
        tile.later[0] = later[r];
        return tile;
    }
};

// out[0..n) = the sums of the first n of R vectors.
template <int R>
[[gnu::always_inline]] inline void store_sums(float* out, const F (&v)[R], int n = R) noexcept {
    if constexpr (R % 4 == 0) {
        if (n >= R) {
#pragma GCC unroll 2
            for (int r = 0; r < R; r += 4) {
                Simd::sums4(out + r, v[r], v[r + 1], v[r + 2], v[r + 3]);
            }
            return;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        if (r < n) {
            out[r] = Simd::sum(v[r]);
        }
    }
}

// Quantised rows.

// What all rows need of the activations of T groups. Arrays of vectors, which the compiler keeps in
// registers; it does not with arrays of structures.
template <typename W, int bits, int T>
struct TokenGroups {
    Simd::Steps steps[T][bits / 4]; // two of high bytes, two of low bytes
    Simd::Sums start[T][W::kHalves];
    F minus_sums[W::kHasMin ? T : 1]; // scaled

    // Slot t becomes group g of a token.
    [[gnu::always_inline]] void set(
        int t, const PackedTokens<bits>& in, int token, int g
    ) noexcept {
        const Packed<bits>& x = in.group(token, g);
#pragma GCC unroll 4
        for (int i = 0; i < bits / 4; ++i) {
            steps[t][i] = Simd::steps(x.steps[i]);
        }
        const Simd::Sums sums = Simd::load_sums(x.sums);
        if constexpr (W::kHalves == 1) {
            start[t][0] = Simd::minus_times<W::kZero>(sums);
        } else {
            const Simd::Sums first = Simd::load_sums(in.group_sums(token, g).first);
            start[t][0] = Simd::minus_times<W::kZero>(first);
            start[t][1] = Simd::minus_times<W::kZero>(Simd::sub(sums, first));
        }
        if constexpr (W::kHasMin) {
            minus_sums[t] = Simd::load(in.group_sums(token, g).minus_scaled);
        }
    }
    // sum + the products of half i of the group (of the group if W::kHalves is 1), by lane;
    // `scales` are the products of the scales of weights and activations.
    [[gnu::always_inline]] F add_products(int t, F sum, const Simd::Quants& q, F scales, int i)
        const noexcept {
        if constexpr (W::kHalves == 1) {
            const Simd::Sums products = Simd::dot<W::kZero>(start[t][0], q, steps[t]);
            return Simd::fma(Simd::to_float(products), scales, sum);
        } else {
            const Simd::Sums products = Simd::dot_half(start[t][i], q, steps[t], i);
            return Simd::fma(Simd::to_float(products), scales, sum);
        }
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

// One token.
template <typename W, int bits, int R>
void dot_tile_one(float* out, const TileRows<R>& rows, const Activations& x) {
    const PackedTokens<bits> in(x.packed, x.dim);
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
            const F token_scales = Simd::lanes(in.scales_from(0, group + g));
            TokenGroups<W, bits, 1> token;
            token.set(0, in, 0, group + g);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const Simd::Quants q = W::quants(blocks[r], g);
#pragma GCC unroll 2
                for (int i = 0; i < W::kHalves; ++i) {
                    const F products = Simd::mul(W::scale(lanes[r], g, i), token_scales);
                    acc[r] = token.add_products(0, acc[r], q, products, i);
                }
                if constexpr (W::kHasMin) {
                    acc[r] = Simd::fma(W::min(lanes[r], g), token.minus_sums[0], acc[r]);
                }
            }
        }
    });
    store_sums<R>(out, acc);
}

template <typename W, int bits>
void dot_one(float* out, const Rows& w, const Activations& x) {
    constexpr int R = Simd::kRowTile;
    const int ahead = rows_ahead<W>(x.dim, R);
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
constexpr int kPanelColumns = 1024;
constexpr int kPanelGroups = kPanelColumns / 32 / kGroupBlocks;
constexpr int kPanelRows = Simd::kPanelRows;
constexpr int kMaxBlockTokens = 60;
constexpr size_t kBlockBytes = 512 * 1024;

// Register tiles; what the weights need of a token counts too.
template <typename W, int bits>
constexpr int kTileRows = Simd::kTileRows<bits * W::kHalves>;
template <typename W, int bits>
constexpr int kTileTokens = Simd::kTileTokens<bits * W::kHalves>;

constexpr int kPanelSpans = kPanelGroups / kSpanGroups;
static_assert(kPanelGroups % kSpanGroups == 0);

template <bool kHasMin>
struct PanelMins {};

template <>
struct PanelMins<true> {
    float min[kPanelGroups][kPanelRows][kGroupBlocks];
};

template <typename W>
struct Panel : PanelMins<W::kHasMin> {
    using SpanScales = float[kPanelRows][W::kHalves][Simd::kLanes]; // of kSpanGroups groups

    Simd::Quants quants[kPanelGroups][kPanelRows];
    alignas(F) SpanScales scales[kPanelSpans];
    int n_groups;
    bool is_first; // of the panels of its rows
    bool is_last;
};

// Where the products of tokens and the rows of a panel go.
struct PanelSums {
    F (*unfinished)[kPanelRows]; // by token, between one panel and the next
    float* out;                  // of the first token and row
    size_t out_stride;
    int n_rows; // that are wanted
};

// Adds the products of rows row .. row + R - 1 of the panel with tokens token .. token + T - 1.
template <typename W, int bits, int R, int T>
[[gnu::noinline]] void multiply_tile(
    const PanelSums& sums,
    const Panel<W>& panel,
    int row,
    const PackedTokens<bits>& tokens,
    int token
) {
    const PackedTokens<bits> in = tokens.from(token, 0);
    alignas(F) float scales[kPanelSpans][R][T][W::kHalves][Simd::kLanes];
    for (int span = 0; span * kSpanGroups < panel.n_groups; ++span) {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            const F of_token = Simd::load(in.scales_from(t, span * kSpanGroups));
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
                for (int i = 0; i < W::kHalves; ++i) {
                    const F of_row = Simd::load(panel.scales[span][row + r][i]);
                    Simd::store(scales[span][r][t][i], Simd::mul(of_row, of_token));
                }
            }
        }
    }
    F acc[T][R];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            acc[t][r] = panel.is_first ? Simd::zero() : sums.unfinished[token + t][row + r];
        }
    }
    for (int g = 0; g < panel.n_groups; ++g) {
        const auto& group_scales = scales[g / kSpanGroups];
        const int at = g % kSpanGroups * kGroupBlocks;
        TokenGroups<W, bits, T> group;
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            group.set(t, in, t, g);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            // Keeps the compiler from holding the weights of all rows in registers, of which it
            // has not enough.
            __asm__ volatile("" ::: "memory");
            const Simd::Quants q = panel.quants[g][row + r];
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
                for (int i = 0; i < W::kHalves; ++i) {
                    const F products = Simd::lanes(group_scales[r][t][i] + at);
                    acc[t][r] = group.add_products(t, acc[t][r], q, products, i);
                }
                if constexpr (W::kHasMin) {
                    const F min = Simd::lanes(panel.min[g][row + r]);
                    acc[t][r] = Simd::fma(min, group.minus_sums[t], acc[t][r]);
                }
            }
        }
    }
    float* out = sums.out + static_cast<size_t>(token) * sums.out_stride + row;
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        if (panel.is_last) {
            store_sums<R>(out, acc[t], sums.n_rows - row);
            out += sums.out_stride;
        } else {
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                sums.unfinished[token + t][row + r] = acc[t][r];
            }
        }
    }
}

template <typename W, int bits>
void multiply_panel(
    const PanelSums& sums, const Panel<W>& panel, const PackedTokens<bits>& tokens, int n_tokens
) {
    constexpr int R = kTileRows<W, bits>;
    constexpr int T = kTileTokens<W, bits>;
    static_assert(kPanelRows % R == 0);
    int t = 0;
    for (; t + T <= n_tokens; t += T) {
        for (int row = 0; row < kPanelRows; row += R) {
            multiply_tile<W, bits, R, T>(sums, panel, row, tokens, t);
        }
    }
    for (; t < n_tokens; ++t) {
        multiply_tile<W, bits, kPanelRows, 1>(sums, panel, 0, tokens, t);
    }
}

template <typename W>
void decode_panel(Panel<W>& panel, const TileRows<kPanelRows>& rows, int begin, int end) {
    constexpr int kUnit = W::kUnit;
    panel.n_groups = (end - begin + kUnit - 1) / kUnit * kUnitGroups<W>;
    // The last span may have scales that no group fills.
    if (panel.n_groups % kSpanGroups != 0) {
        __builtin_memset(panel.scales[panel.n_groups / kSpanGroups], 0, sizeof panel.scales[0]);
    }
    for (int r = 0; r < kPanelRows; ++r) {
        for_units<W, 1>(rows.one(r), begin, end, [&](const auto& blocks, int group) {
            const typename W::Lanes lanes = W::lanes(blocks[0]);
#pragma GCC unroll 8
            for (int g = 0; g < kUnitGroups<W>; ++g) {
                const int span = (group + g) / kSpanGroups;
                const int at = (group + g) % kSpanGroups * kGroupBlocks;
                panel.quants[group + g][r] = W::quants(blocks[0], g);
                for (int i = 0; i < W::kHalves; ++i) {
                    Simd::store_blocks(panel.scales[span][r][i] + at, W::scale(lanes, g, i));
                }
                if constexpr (W::kHasMin) {
                    Simd::store_blocks(panel.min[group + g][r], W::min(lanes, g));
                }
            }
        });
    }
}

// All columns of kPanelRows rows, n_tokens <= kMaxBlockTokens.
template <typename W, int bits>
void dot_tile_many(
    float* out,
    size_t out_stride,
    int n_rows,
    const TileRows<kPanelRows>& rows,
    int dim,
    const PackedTokens<bits>& tokens,
    int n_tokens
) {
    Panel<W> panel;
    F unfinished[kMaxBlockTokens][kPanelRows];
    for (int begin = 0; begin < dim; begin += kPanelColumns) {
        const int end = dim - begin < kPanelColumns ? dim : begin + kPanelColumns;
        panel.is_first = begin == 0;
        panel.is_last = end == dim;
        decode_panel(panel, rows, begin, end);
        multiply_panel<W, bits>(
            {unfinished, out, out_stride, n_rows},
            panel,
            tokens.from(0, begin / kPanelColumns * kPanelGroups),
            n_tokens
        );
    }
}

template <typename W, int bits>
void dot_many(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    const auto fitting = static_cast<int>(kBlockBytes / packed_bytes<bits>(x.dim));
    const int wanted = fitting < kMaxBlockTokens ? fitting : kMaxBlockTokens;
    constexpr int T = kTileTokens<W, bits>;
    const int block = wanted < T ? T : wanted / T * T;
    const int ahead = rows_ahead<W>(x.dim, kPanelRows);
    const PackedTokens<bits> tokens(x.packed, x.dim);
    for (int t = 0; t < x.n_tokens; t += block) {
        const int n_tokens = x.n_tokens - t < block ? x.n_tokens - t : block;
        for (int i = 0; i < w.n; i += kPanelRows) {
            dot_tile_many<W, bits>(
                out + static_cast<size_t>(t) * out_stride + i,
                out_stride,
                w.n - i,
                TileRows<kPanelRows>(w, i, ahead),
                x.dim,
                tokens.from(t, 0),
                n_tokens
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
    const int ahead = rows_ahead<W>(x.dim, R);
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
