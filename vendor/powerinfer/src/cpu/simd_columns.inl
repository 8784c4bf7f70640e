// Products of a q4_0 matrix stored by columns: four columns are interleaved, so that a lane holds
// four weights of one row, and multiplied by four steps of the token in every lane. The sums of a
// block are exact, then scaled and added to the row's result: a chain of its own for each row and
// token, whatever else is computed.
#pragma once

#include "simd_columns_ahead.inl"

namespace powerinfer::cpu {
namespace {

using Column = Simd::Column;
using ColumnSums = Simd::ColumnSums;

constexpr int kBlockQuads = kColumnBlock / kQuad;
constexpr int kHalves = Simd::kNibbleHalves;        // of the nibbles that are summed at once
constexpr int kVectorBytes = 4 * Simd::kLanes;      // of a column
constexpr int kParts = kColumnBytes / kVectorBytes; // vectors of a column of kColumnRows rows

// Several tokens take as many rows at a time as have their results in the second-level cache.
constexpr size_t kResultBytes = 256 * 1024;

// Four columns of kColumnRows rows from `row` on, interleaved: lane l of out[v] holds row 16 * v +
// kLanes * part + l of these in its low nibbles, and 64 rows on in its high ones.
[[gnu::always_inline]] inline void interleave(
    Column (&out)[4], const uint8_t* const* columns, int64_t row, int part
) noexcept {
    Column in[kQuad];
#pragma GCC unroll 4
    for (int k = 0; k < kQuad; ++k) {
        in[k] = Simd::load_column(columns[k] + row / 2 + kVectorBytes * part);
    }
    const Column low[2] = {
        Simd::interleave_low8(in[0], in[1]), Simd::interleave_low8(in[2], in[3])
    };
    const Column high[2] = {
        Simd::interleave_high8(in[0], in[1]), Simd::interleave_high8(in[2], in[3])
    };
    out[0] = Simd::interleave_low16(low[0], low[1]);
    out[1] = Simd::interleave_high16(low[0], low[1]);
    out[2] = Simd::interleave_low16(high[0], high[1]);
    out[3] = Simd::interleave_high16(high[0], high[1]);
}

// A block of a token.
template <int bits>
struct TokenBlock {
    const Packed<bits>& group;
    int block; // of the group
    float scale;
    int32_t start; // what stands for zero, times -(sum of the steps)

    TokenBlock(const PackedTokens<bits>& tokens, int t, int b) noexcept
        : group(tokens.group(t, b / kGroupBlocks)), block(b % kGroupBlocks),
          scale(tokens.scales_from(t, 0)[b]) {
        int32_t sum = 0;
        for (int quad = 0; quad < kBlockQuads; ++quad) {
            for (int k = 0; k < kQuad; ++k) {
                const int high = *(step_bytes(quad, 0) + k);
                sum += bits == 8 ? high : 256 * high + *(step_bytes(quad, kLow) + k);
            }
        }
        start = -8 * sum;
    }
    Column high(int quad) const noexcept { return four(quad, 0); }
    Column low(int quad) const noexcept { return four(quad, kLow); }

private:
    static constexpr int kLow = bits == 8 ? 0 : 2; // the first vector of low bytes

    const int8_t* step_bytes(int quad, int first) const noexcept {
        return group.steps[first + quad / 4] + kQuad * Simd::lane(block, quad % 4);
    }
    Column four(int quad, int first) const noexcept {
        int32_t steps;
        __builtin_memcpy(&steps, step_bytes(quad, first), sizeof steps);
        return Simd::set4(steps);
    }
};

// out[0..kColumnRows) += the products of a block. `weights(w, part, half, quad)` gives four vectors
// of the low (half 0) or high nibbles, `scales(row)` the scales of the rows of a vector.
template <int bits, typename Weights, typename Scales>
[[gnu::always_inline]] inline void add_block(
    float* out, const TokenBlock<bits>& x, int n_quads, Weights weights, Scales scales
) noexcept {
    const Simd::Sums start = Simd::set1_sums(x.start);
    const F step = Simd::set1(x.scale);
    for (int part = 0; part < kParts; ++part) {
        for (int first = 0; first < 2; first += kHalves) {
            ColumnSums sums[kHalves][4];
#pragma GCC unroll 2
            for (int half = 0; half < kHalves; ++half) {
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) {
                    sums[half][v] = Simd::no_sums();
                }
            }
            for (int quad = 0; quad < n_quads; ++quad) {
                const Column high = x.high(quad);
                const Column low = x.low(quad);
                Column w[kHalves][4];
                weights(w, part, first, quad);
#pragma GCC unroll 2
                for (int half = 0; half < kHalves; ++half) {
#pragma GCC unroll 4
                    for (int v = 0; v < 4; ++v) {
                        Simd::add_four<bits>(sums[half][v], w[half][v], high, low);
                    }
                }
            }
#pragma GCC unroll 2
            for (int half = 0; half < kHalves; ++half) {
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) {
                    const int row = 64 * (first + half) + 16 * v + Simd::kLanes * part;
                    const F products = Simd::to_float(Simd::joined<bits>(start, sums[half][v]));
                    const F scale = Simd::mul(scales(row), step);
                    Simd::store(out + row, Simd::fma(products, scale, Simd::load(out + row)));
                }
            }
        }
    }
}

[[gnu::always_inline]] inline void split_nibbles(
    Column (&out)[kHalves][4], const Column (&bytes)[4], int first
) noexcept {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
        if constexpr (kHalves == 2) {
            out[0][v] = Simd::low_nibbles(bytes[v]);
            out[1][v] = Simd::high_nibbles(bytes[v]);
        } else {
            out[0][v] = first == 0 ? Simd::low_nibbles(bytes[v]) : Simd::high_nibbles(bytes[v]);
        }
    }
}

// One token: the weights go from the matrix through registers.
template <int bits>
void add_rows_one(
    float* out,
    const ColumnBlock& block,
    int64_t row,
    const TokenBlock<bits>& x,
    ColumnsAhead& ahead
) noexcept {
    add_block<bits>(
        out,
        x,
        block.n_quads,
        [&](Column(&w)[kHalves][4], int part, int first, int quad) {
            if (part == 0 && first == 0) {
                ahead.next();
            }
            Column bytes[4];
            interleave(bytes, block.column + kQuad * quad, row, part);
            split_nibbles(w, bytes, first);
        },
        [&](int i) { return Simd::load_f16(block.scales + 2 * (row + i)); }
    );
}

// kColumnRows rows of a block decoded for many tokens, which stays in the first cache.
struct ColumnPanel {
    Column weights[kParts][2 / kHalves][kBlockQuads][kHalves][4];
    alignas(64) float scales[kColumnRows];

    void fill(const ColumnBlock& block, int64_t row, ColumnsAhead& ahead) noexcept {
        for (int quad = 0; quad < block.n_quads; ++quad) {
            ahead.next();
            for (int part = 0; part < kParts; ++part) {
                Column bytes[4];
                interleave(bytes, block.column + kQuad * quad, row, part);
                for (int first = 0; first < 2; first += kHalves) {
                    split_nibbles(weights[part][first / kHalves][quad], bytes, first);
                }
            }
        }
        for (int i = 0; i < kColumnRows; i += Simd::kLanes) {
            Simd::store(scales + i, Simd::load_f16(block.scales + 2 * (row + i)));
        }
    }
};

template <int bits>
void add_rows_many(
    float* out,
    size_t out_stride,
    const ColumnPanel& panel,
    int n_quads,
    int block,
    const Activations& x
) noexcept {
    const PackedTokens<bits> tokens(x.packed, x.dim);
    for (int t = 0; t < x.n_tokens; ++t) {
        const TokenBlock<bits> token(tokens, t, block);
        if (token.scale == 0.0f) {
            continue;
        }
        add_block<bits>(
            out + static_cast<size_t>(t) * out_stride,
            token,
            n_quads,
            [&](Column(&w)[kHalves][4], int part, int first, int quad) {
                const auto& from = panel.weights[part][first / kHalves][quad];
#pragma GCC unroll 2
                for (int half = 0; half < kHalves; ++half) {
#pragma GCC unroll 4
                    for (int v = 0; v < 4; ++v) {
                        w[half][v] = from[half][v];
                    }
                }
            },
            [&](int i) { return Simd::load(panel.scales + i); }
        );
    }
}

// Rows [begin, end) of a matrix that is one tile.
template <int bits>
void dot_tile_rows(
    float* out, size_t out_stride, const Columns& w, int begin, int end, const Activations& x
) {
    const int n_blocks = x.dim / kColumnBlock;
    for (size_t t = 0; t < static_cast<size_t>(x.n_tokens); ++t) {
        __builtin_memset(
            out + t * out_stride + begin, 0, static_cast<size_t>(end - begin) * sizeof(float)
        );
    }
    const PackedTokens<bits> tokens(x.packed, x.dim);
    ColumnsAhead ahead(w, n_blocks, begin, end);
    ColumnPanel panel;
    ColumnBlock block;
    for (int b = 0; b < n_blocks; ++b) {
        const TokenBlock<bits> first(tokens, 0, b);
        block.find(w, b);
        if (block.n_quads == 0 || (x.n_tokens == 1 && first.scale == 0.0f)) {
            continue;
        }
        for (int row = begin; row < end; row += kColumnRows) {
            if (x.n_tokens == 1) {
                add_rows_one<bits>(out + row, block, row, first, ahead);
            } else {
                panel.fill(block, row, ahead);
                add_rows_many<bits>(out + row, out_stride, panel, block.n_quads, b, x);
            }
        }
    }
}

void dot_columns(
    float* out, size_t out_stride, const Columns& w, int begin, int end, const Activations& x
) {
    const size_t bytes = static_cast<size_t>(x.n_tokens) * kColumnRows * sizeof(float);
    const auto fitting = static_cast<int>(kResultBytes / bytes) * kColumnRows;
    const int rows = fitting < kColumnRows ? kColumnRows : fitting;
    for (int row = begin; row < end;) {
        const ColumnTile tile = tile_of_row(w.n_rows, x.dim, row);
        const Columns in_tile = {w.data + tile.offset, tile.rows, w.ids, w.ends};
        int last = tile.begin + tile.rows < end ? tile.begin + tile.rows : end;
        last = last - row < rows ? last : row + rows;
        float* results = out + tile.begin;
        if (x.bits == 8) {
            dot_tile_rows<8>(results, out_stride, in_tile, row - tile.begin, last - tile.begin, x);
        } else {
            dot_tile_rows<16>(results, out_stride, in_tile, row - tile.begin, last - tile.begin, x);
        }
        row = last;
    }
}

} // namespace
} // namespace powerinfer::cpu
