// The scalar table: what every operator means, written as plainly as possible. Sums are in double,
// so it is also the oracle that the SIMD tables are measured against.
#include "ops.h"
#include "rounded.h"
#include "scalar_blocks.h"

#include <cmath>

namespace powerinfer::cpu {

namespace {

const uint8_t* row_at(const Rows& w, int i) noexcept {
    const auto row = static_cast<size_t>(w.ids != nullptr ? w.ids[i] : i);
    return reinterpret_cast<const uint8_t*>(w.data) + row * w.stride_bytes;
}

template <typename W>
const uint8_t* block_at(const uint8_t* row, int column) noexcept {
    return row + static_cast<size_t>(column / W::kElements) * W::kBytes;
}

// The 32 elements from `column` on.
template <typename W>
Chunk chunk_at(const uint8_t* row, int column) noexcept {
    Chunk chunk;
    W::chunk(chunk, block_at<W>(row, column), column % W::kElements / 32);
    return chunk;
}

// Dot products.

size_t packed_bytes(int dim, int = 16) noexcept {
    return static_cast<size_t>(dim / kActivationBlock) * sizeof(RoundedBlock);
}

template <typename W>
double dot_float(const uint8_t* row, const float* x, int dim) noexcept {
    double sum = 0;
    for (int j = 0; j < dim; ++j) {
        sum += static_cast<double>(W::get(row, j)) * static_cast<double>(x[j]);
    }
    return sum;
}

template <typename W>
double dot_blocks(const uint8_t* row, const Activations& x, size_t token) noexcept {
    const auto* blocks =
        reinterpret_cast<const RoundedBlock*>(x.packed + token * packed_bytes(x.dim));
    double total = 0;
    for (int column = 0; column < x.dim; column += kActivationBlock) {
        const RoundedBlock& block = blocks[column / kActivationBlock];
        const Chunk chunk = chunk_at<W>(row, column);
        int32_t sums[2] = {0, 0};
        for (int j = 0; j < 32; ++j) {
            sums[j / 16] += int32_t{chunk.q[j]} * int32_t{block.q[j]};
        }
        const double value = static_cast<double>(chunk.scale[0]) * sums[0] +
                             static_cast<double>(chunk.scale[1]) * sums[1] -
                             static_cast<double>(chunk.min) * block.sum;
        total += static_cast<double>(block.scale) * value;
    }
    return total;
}

template <typename W, bool kBlocks>
void dot_rows(float* out, size_t out_stride, const Rows& w, const Activations& x) {
    for (int i = 0; i < w.n; ++i) {
        const uint8_t* row = row_at(w, i);
        for (size_t t = 0; t < static_cast<size_t>(x.n_tokens); ++t) {
            double value;
            if constexpr (kBlocks) {
                value = dot_blocks<W>(row, x, t);
            } else {
                value = dot_float<W>(row, x.f32 + t * static_cast<size_t>(x.dim), x.dim);
            }
            out[t * out_stride + static_cast<size_t>(i)] = static_cast<float>(value);
        }
    }
}

// The weight of a column of a block, whose columns begin at `columns`, in a row of a tile.
int column_weight(const uint8_t* columns, int n_rows, int column, int row) noexcept {
    const int r = row % kColumnRows;
    const uint8_t byte = columns
        [static_cast<size_t>(column) * static_cast<size_t>(n_rows / 2) +
         static_cast<size_t>(row / kColumnRows * kColumnBytes + column_byte(r % 64))];
    return (r < 64 ? byte & 15 : byte >> 4) - 8;
}

float dot_column_blocks(const Columns& w, int i, const RoundedBlock* x, int dim) noexcept {
    const ColumnTile tile = tile_of_row(w.n_rows, dim, i);
    const int row = i - tile.begin;
    const auto* scales = reinterpret_cast<const uint8_t*>(w.data) + tile.offset;
    float sum = 0;
    int first = 0;
    for (int b = 0; b < dim / kColumnBlock; ++b, scales += column_block_bytes(tile.rows)) {
        int32_t steps = 0;
        for (int k = first; k < w.ends[b]; ++k) {
            const uint8_t* columns = scales + 2 * static_cast<size_t>(tile.rows);
            const int column = w.ids[k] % kColumnBlock;
            steps += column_weight(columns, tile.rows, column, row) * x[b].q[k - first];
        }
        first = w.ends[b];
        if (x[b].scale != 0.0f) {
            const float scale = f16_to_f32(load_u16(scales + 2 * static_cast<size_t>(row)));
            sum = std::fma(static_cast<float>(steps), scale * x[b].scale, sum);
        }
    }
    return sum;
}

void dot_columns(
    float* out, size_t out_stride, const Columns& w, int begin, int end, const Activations& x
) {
    for (size_t t = 0; t < static_cast<size_t>(x.n_tokens); ++t) {
        const auto* blocks =
            reinterpret_cast<const RoundedBlock*>(x.packed + t * packed_bytes(x.dim));
        for (int i = begin; i < end; ++i) {
            out[t * out_stride + static_cast<size_t>(i)] = dot_column_blocks(w, i, blocks, x.dim);
        }
    }
}

// Sums of scaled rows.

// sums[0..n) += coef * elements [column, column + n) of the row; of blocks n is 32.
template <typename W, bool kBlocks>
void add_scaled(float* sums, float coef, const uint8_t* row, int column, int n) noexcept {
    if constexpr (kBlocks) {
        const Chunk chunk = chunk_at<W>(row, column);
        for (int j = 0; j < 32; ++j) {
            const float scale = chunk.scale[j / 16];
            const auto q = static_cast<float>(chunk.q[j]);
            sums[j] = W::kElements == 32 ? std::fma(coef * scale, q, sums[j])
                                         : std::fma(coef, scale * q - chunk.min, sums[j]);
        }
    } else {
        for (int j = 0; j < n; ++j) {
            sums[j] = std::fma(coef, W::get(row, column + j), sums[j]);
        }
    }
}

template <typename W, bool kBlocks>
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
    for (int i = 0; i < w.n; ++i) {
        const uint8_t* row = row_at(w, i);
        for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
            const float factor = coef[t * coef_stride + static_cast<size_t>(i)];
            if (factor == 0.0f) {
                continue;
            }
            float* sums = acc + t * acc_stride;
            for (int column = col_begin; column < col_end; column += 32) {
                const int n = col_end - column < 32 ? col_end - column : 32;
                add_scaled<W, kBlocks>(sums + column, factor, row, column, n);
            }
        }
    }
}

template <typename W, bool kBlocks>
void dequantize(float* out, const std::byte* row, int n) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(row);
    if constexpr (kBlocks) {
        for (int column = 0; column < n; column += 32) {
            const Chunk chunk = chunk_at<W>(bytes, column);
            for (int j = 0; j < 32; ++j) {
                const auto q = static_cast<float>(chunk.q[j]);
                out[column + j] = chunk.scale[j / 16] * q - chunk.min;
            }
        }
    } else {
        for (int j = 0; j < n; ++j) {
            out[j] = W::get(bytes, j);
        }
    }
}

// Activations to Q16.

void pack(std::byte* out, const float* x, int n_tokens, int dim, int bits) {
    auto* blocks = reinterpret_cast<RoundedBlock*>(out);
    const size_t n = static_cast<size_t>(n_tokens) * static_cast<size_t>(dim / kActivationBlock);
    for (size_t b = 0; b < n; ++b) {
        blocks[b] = round_block(x + b * kActivationBlock, bits);
    }
}

// Norms and activation functions.

void rms_norm(float* out, const float* x, const float* weight, float eps, int n) {
    double squares = 0;
    for (int j = 0; j < n; ++j) {
        squares += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    }
    const double factor = 1.0 / std::sqrt(squares / n + static_cast<double>(eps));
    for (int j = 0; j < n; ++j) {
        const double scaled = static_cast<double>(x[j]) * factor;
        out[j] = static_cast<float>(scaled * static_cast<double>(weight[j]));
    }
}

void layer_norm(
    float* out, const float* x, const float* weight, const float* bias, float eps, int n
) {
    double sum = 0;
    for (int j = 0; j < n; ++j) {
        sum += static_cast<double>(x[j]);
    }
    const double mean = sum / n;
    double squares = 0;
    for (int j = 0; j < n; ++j) {
        const double offset = static_cast<double>(x[j]) - mean;
        squares += offset * offset;
    }
    const double factor = 1.0 / std::sqrt(squares / n + static_cast<double>(eps));
    for (int j = 0; j < n; ++j) {
        const double scaled = (static_cast<double>(x[j]) - mean) * factor;
        const double shift = bias != nullptr ? static_cast<double>(bias[j]) : 0.0;
        out[j] = static_cast<float>(scaled * static_cast<double>(weight[j]) + shift);
    }
}

void softmax(float* x, int n) {
    float max = x[0];
    for (int j = 1; j < n; ++j) {
        max = std::fmax(max, x[j]);
    }
    double sum = 0;
    for (int j = 0; j < n; ++j) {
        x[j] = static_cast<float>(std::exp(static_cast<double>(x[j] - max)));
        sum += static_cast<double>(x[j]);
    }
    for (int j = 0; j < n; ++j) {
        x[j] = static_cast<float>(static_cast<double>(x[j]) / sum);
    }
}

template <typename W>
void attend_as(float* out, const HeadPages& head, const Queries& queries) {
    const auto at = [&](const std::byte* page_0, int position) {
        const auto page = static_cast<size_t>(head.pages[position / kPageTokens]);
        return reinterpret_cast<const uint8_t*>(page_0) + page * head.page_bytes;
    };
    const int dim = queries.head_dim;
    for (int i = 0; i < queries.n(); ++i) {
        const float* query = queries.vectors + queries.at(i);
        float* scores = queries.scores + static_cast<size_t>(i) * queries.score_stride;
        const int n_positions = queries.positions(i);
        for (int p = 0; p < n_positions; ++p) {
            const uint8_t* keys = at(head.keys, p);
            double sum = 0;
            for (int d = 0; d < dim; ++d) {
                const float key = W::get(keys, d * kPageTokens + p % kPageTokens);
                sum += static_cast<double>(key) * static_cast<double>(query[d]);
            }
            scores[p] = static_cast<float>(sum / std::sqrt(static_cast<double>(dim)));
        }
        softmax(scores, n_positions);
        for (int d = 0; d < dim; ++d) {
            double sum = 0;
            for (int p = 0; p < n_positions; ++p) {
                const float value = W::get(at(head.values, p), p % kPageTokens * dim + d);
                sum += static_cast<double>(value) * static_cast<double>(scores[p]);
            }
            out[queries.at(i) + static_cast<size_t>(d)] = static_cast<float>(sum);
        }
    }
}

void attend(float* out, const HeadPages& head, const Queries& queries) {
    if (head.type == DType::f16) {
        attend_as<ScalarF16>(out, head, queries);
    } else {
        attend_as<ScalarF32>(out, head, queries);
    }
}

void silu(float* x, int n) {
    for (int j = 0; j < n; ++j) {
        const auto value = static_cast<double>(x[j]);
        x[j] = static_cast<float>(value / (1.0 + std::exp(-value)));
    }
}

int select(
    int32_t* ids,
    const float* values,
    size_t stride,
    int n_tokens,
    float threshold,
    int begin,
    int end
) {
    int n = 0;
    for (int i = begin; i < end; ++i) {
        bool is_selected = false;
        for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
            is_selected = is_selected || values[t * stride + static_cast<size_t>(i)] >= threshold;
        }
        if (is_selected) {
            ids[n++] = i;
        }
    }
    return n;
}

template <typename W>
constexpr TypeOps kFloatOps = {dot_rows<W, false>, axpy_rows<W, false>, dequantize<W, false>};

template <typename W>
constexpr TypeOps kBlockOps = {dot_rows<W, true>, axpy_rows<W, true>, dequantize<W, true>};

constexpr Ops kTable = {
    "scalar",
    {kFloatOps<ScalarF32>,
     kFloatOps<ScalarF16>,
     kFloatOps<ScalarBf16>,
     kBlockOps<ScalarQ4_0>,
     kBlockOps<ScalarQ5_0>,
     kBlockOps<ScalarQ8_0>,
     kBlockOps<ScalarQ4K>,
     kBlockOps<ScalarQ5K>,
     kBlockOps<ScalarQ6K>},
    packed_bytes,
    pack,
    rms_norm,
    layer_norm,
    softmax,
    attend,
    silu,
    dot_columns,
    select,
};

} // namespace

const Ops& scalar_ops() noexcept {
    return kTable;
}

} // namespace powerinfer::cpu
