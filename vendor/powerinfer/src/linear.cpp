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

int count_rows(const Product& product) noexcept {
    return product.rows == nullptr ? product.w->rows : product.n_rows;
}

int64_t rows_of(const Matrix& w, size_t n_bytes) {
    const auto rows = static_cast<int64_t>(n_bytes / w.stride_bytes());
    return std::max<int64_t>(1, rows / kRowGrain) * kRowGrain;
}

void multiply_rows(
    const cpu::Ops& ops, const cpu::Activations& x, const Product& product, int begin, int end
) {
    const Matrix& w = *product.w;
    float* out = product.out + begin;
    const cpu::Rows rows =
        product.rows == nullptr ? w.slice(begin, end) : w.select(product.rows + begin, end - begin);
    ops.of(w.type).dot_rows(out, product.out_stride, rows, x);
    if (product.bias == nullptr) {
        return;
    }
    for (int t = 0; t < x.n_tokens; ++t) {
        float* row = out + static_cast<size_t>(t) * product.out_stride;
        for (int i = begin; i < end; ++i) {
            row[i - begin] += product.bias[product.rows == nullptr ? i : product.rows[i]];
        }
    }
}

} // namespace

cpu::Activations make_activations(
    Compute& compute, const float* x, int n_tokens, int dim, bool is_quantized
) {
    if (!is_quantized) {
        return {x, nullptr, compute.activation_bits, n_tokens, dim};
    }
    std::byte* packed = compute.scratch.packed.data();
    const size_t stride = compute.ops.packed_bytes(dim);
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
            static_cast<uint64_t>(count_rows(product)) * product.w->stride_bytes();
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
    int n_tokens
) {
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
        compute.ops.of(w.type).axpy_rows(
            out,
            static_cast<size_t>(w.cols),
            w.select(rows, n_rows),
            coef,
            coef_stride,
            n_tokens,
            col_begin,
            col_end
        );
    });
}

} // namespace powerinfer
