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
    const auto rows = static_cast<int64_t>(n_bytes / w.n_row_bytes());
    return std::max<int64_t>(1, rows / kRowGrain) * kRowGrain;
}

void multiply_rows(
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
    for_tokens(compute.pool, n_tokens, dim, [&](int t) {
        const size_t token = static_cast<size_t>(t);
        const float* row = x + token * static_cast<size_t>(dim);
        compute.ops.pack(packed + token * stride, row, 1, dim, compute.activation_bits);
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
                multiply_rows(
                    compute.ops, x, product, static_cast<int>(from), static_cast<int>(to)
                );
            }
            first += n;
        }
    });
}

cpu::Activations token_of(const cpu::Ops& ops, const cpu::Activations& x, int t) noexcept {
    const size_t token = static_cast<size_t>(t);
    return {
        x.f32 + token * static_cast<size_t>(x.dim),
        x.packed == nullptr ? nullptr : x.packed + token * ops.packed_bytes(x.dim, x.bits),
        x.bits,
        1,
        x.dim,
    };
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
    const size_t stride = static_cast<size_t>(w.cols);
    for_parts(compute.pool, n_tokens, w.cols, [&](const ResultPart& part) {
        for (int t = part.token_begin; t < part.token_end; ++t) {
            float* row = out + static_cast<size_t>(t) * stride;
            std::fill(row + part.col_begin, row + part.col_end, 0.0F);
        }
        const size_t first = static_cast<size_t>(part.token_begin);
        compute.ops.of(w.type).axpy_rows(
            out + first * stride,
            stride,
            w.part(rows, 0, n_rows),
            coef + first * coef_stride,
            coef_stride,
            part.token_end - part.token_begin,
            part.col_begin,
            part.col_end
        );
    });
}

} // namespace powerinfer
