#include "linear.h"

#include <algorithm>
#include <cstring>

namespace powerinfer {

namespace {

// Weights that one thread takes at a time, in rows that fill the tiles of all kernels: not less,
// which amortises the hand-out, and for many tokens not more, which keeps them in the second-level
// cache while the tokens pass over them.
constexpr size_t kLeastBytes = 16 * 1024;
constexpr size_t kMostBytes = 256 * 1024;
constexpr int64_t kRowGrain = 8;

// Where tokens need less than this share of the rows, each gets its own rows one by one. A row for
// one token costs about twice what it costs in a tile of many.
constexpr double kOwnRowsShare = 0.5;
constexpr int kListed = 256; // rows listed at a time: they stay in the second-level cache

int count_rows(const Product& product) noexcept {
    return product.rows == nullptr ? product.w->rows : product.n_rows;
}

int64_t rows_of(const Matrix& w, size_t n_bytes) {
    const auto rows = static_cast<int64_t>(n_bytes / w.n_row_bytes());
    return std::max<int64_t>(1, rows / kRowGrain) * kRowGrain;
}

cpu::Activations token_of(const cpu::Ops& ops, const cpu::Activations& x, int t) {
    const size_t token = static_cast<size_t>(t);
    return {
        x.f32 + token * static_cast<size_t>(x.dim),
        x.packed == nullptr ? nullptr : x.packed + token * ops.packed_bytes(x.dim, x.bits),
        x.bits,
        1,
        x.dim,
    };
}

// For each token the rows that it needs.
void multiply_own_rows(
    const cpu::Ops& ops, const cpu::Activations& x, const Product& product, int begin, int end
) {
    const auto dot_rows = ops.of(product.w->type).dot_rows;
    for (int first = begin; first < end; first += kListed) {
        const int n = std::min(kListed, end - first);
        for (int t = 0; t < x.n_tokens; ++t) {
            const size_t offset =
                static_cast<size_t>(t) * product.out_stride + static_cast<size_t>(first);
            const uint8_t* needed = product.needed.flags + offset;
            float* out = product.out + offset;
            int32_t ids[kListed];
            int at[kListed];
            float products[kListed];
            int n_own = 0;
            for (int i = 0; i < n; ++i) {
                at[n_own] = i;
                ids[n_own] = product.rows == nullptr ? first + i : product.rows[first + i];
                n_own += needed[i];
            }
            std::fill(out, out + n, 0.0F);
            if (n_own > 0) {
                dot_rows(products, 0, product.w->select(ids, n_own), token_of(ops, x, t));
            }
            for (int i = 0; i < n_own; ++i) {
                out[at[i]] = products[i] + (product.bias == nullptr ? 0.0F : product.bias[ids[i]]);
            }
        }
    }
}

// Every row for every token.
void multiply_all(
    const cpu::Ops& ops, const cpu::Activations& x, const Product& product, int begin, int end
) {
    float* out = product.out + begin;
    const cpu::Rows rows = product.w->part(product.rows, begin, end);
    ops.of(product.w->type).dot_rows(out, product.out_stride, rows, x);
    for (int t = 0; t < x.n_tokens && product.bias != nullptr; ++t) {
        float* row = out + static_cast<size_t>(t) * product.out_stride;
        for (int i = begin; i < end; ++i) {
            row[i - begin] += product.bias[product.rows == nullptr ? i : product.rows[i]];
        }
    }
    for (int t = 0; t < x.n_tokens && product.needed.flags != nullptr; ++t) {
        const size_t offset = static_cast<size_t>(t) * product.out_stride;
        for (size_t i = offset + static_cast<size_t>(begin); i < offset + static_cast<size_t>(end);
             ++i) {
            product.out[i] = product.needed.flags[i] != 0 ? product.out[i] : 0.0F;
        }
    }
}

bool has_own_rows(const Product& product, int n_tokens) {
    const double all = static_cast<double>(count_rows(product)) * n_tokens;
    return product.needed.flags != nullptr &&
           static_cast<double>(product.needed.n) < kOwnRowsShare * all;
}

} // namespace

cpu::Activations make_activations(
    Compute& compute, const float* x, int n_tokens, int dim, bool is_quantized
) {
    if (!is_quantized) {
        return {x, nullptr, compute.activation_bits, n_tokens, dim};
    }
    std::byte* packed = compute.scratch.packed.data();
    const size_t stride = compute.ops.packed_bytes(dim, compute.activation_bits);
    compute.pool.parallel_for(n_tokens, 1, [&](int64_t begin, int64_t end, int) {
        const size_t first = static_cast<size_t>(begin);
        compute.ops.pack(
            packed + first * stride,
            x + first * static_cast<size_t>(dim),
            static_cast<int>(end - begin),
            dim,
            compute.activation_bits
        );
    });
    return {x, packed, compute.activation_bits, n_tokens, dim};
}

void multiply(Compute& compute, const cpu::Activations& x, std::span<const Product> products) {
    int64_t total = 0;
    for (const Product& product : products) {
        total += count_rows(product);
        compute.stats.weight_bytes_read +=
            static_cast<uint64_t>(count_rows(product)) * product.w->n_row_bytes();
    }
    const int64_t grain = rows_of(*products.front().w, kLeastBytes);
    const int64_t largest = x.n_tokens == 1 ? total : rows_of(*products.front().w, kMostBytes);
    compute.pool.parallel_for(total, grain, largest, [&](int64_t begin, int64_t end, int) {
        int64_t first = 0; // row of the group at which the product begins
        for (const Product& product : products) {
            const int64_t n = count_rows(product);
            const int64_t from = std::max(begin - first, int64_t{0});
            const int64_t to = std::min(end - first, n);
            if (from < to) {
                const auto multiply_rows =
                    has_own_rows(product, x.n_tokens) ? multiply_own_rows : multiply_all;
                multiply_rows(
                    compute.ops, x, product, static_cast<int>(from), static_cast<int>(to)
                );
            }
            first += n;
        }
    });
}

void multiply_transposed(
    Compute& compute,
    float* out,
    const Matrix& w,
    const int32_t* rows,
    int n_rows,
    const float* coef,
    size_t coef_stride,
    uint64_t n_terms,
    int n_tokens
) {
    const double all = static_cast<double>(n_rows) * n_tokens;
    const bool has_own = n_tokens > 1 && static_cast<double>(n_terms) < kOwnRowsShare * all;
    const int n_steps = (w.cols + cpu::kColumnStep - 1) / cpu::kColumnStep;
    const int n_threads = compute.pool.n_threads();
    const int64_t grain = (n_steps + n_threads - 1) / n_threads;
    compute.pool.parallel_for(n_steps, grain, [&](int64_t begin, int64_t end, int) {
        const int col_begin = static_cast<int>(begin) * cpu::kColumnStep;
        const int col_end = std::min(w.cols, static_cast<int>(end) * cpu::kColumnStep);
        for (int t = 0; t < n_tokens; ++t) {
            float* row = out + static_cast<size_t>(t) * static_cast<size_t>(w.cols);
            std::fill(row + col_begin, row + col_end, 0.0F);
        }
        const int tokens_at_once = has_own ? 1 : n_tokens;
        const int rows_at_once = has_own ? kListed : n_rows;
        for (int i = 0; i < n_rows; i += rows_at_once) {
            const int n = std::min(rows_at_once, n_rows - i);
            for (int t = 0; t < n_tokens; t += tokens_at_once) {
                const size_t token = static_cast<size_t>(t);
                compute.ops.of(w.type).axpy_rows(
                    out + token * static_cast<size_t>(w.cols),
                    static_cast<size_t>(w.cols),
                    w.part(rows, i, i + n),
                    coef + token * coef_stride + i,
                    coef_stride,
                    tokens_at_once,
                    col_begin,
                    col_end
                );
            }
        }
    });
}

} // namespace powerinfer
