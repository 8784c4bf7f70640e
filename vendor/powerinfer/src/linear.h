// Products of weight matrices with a batch of activations, spread over the threads by rows.
#pragma once

#include "model.h"
#include "scratch.h"
#include "stats.h"
#include "thread_pool.h"

#include <algorithm>
#include <initializer_list>
#include <span>

namespace powerinfer {

class FfnPlan;

// Fewer elements are not worth a piece of their own: to hand it out takes as long.
inline constexpr int kLeastElements = 4096;

// Calls body(token) for all of them, spread over the threads; each touches about `width` elements.
template <typename Body>
void for_tokens(ThreadPool& pool, int n_tokens, int width, Body&& body) {
    pool.parallel_for(
        n_tokens,
        std::max(1, kLeastElements / width),
        [&](int64_t begin, int64_t end, int) {
            for (int t = static_cast<int>(begin); t < end; ++t) {
                body(t);
            }
        }
    );
}

// What every stage of a step works with.
struct Compute {
    const Model& model;
    const cpu::Ops& ops;
    ThreadPool& pool;
    Scratch& scratch;
    Stats& stats;
    FfnPlan& plan;
    int activation_bits; // 16 or 8, for quantised weights
};

// One matrix of a group that shares its input: out[t, i] = w[rows[i]] . x[t] + bias[rows[i]].
struct Product {
    const Matrix* w;
    float* out; // (n_tokens, out_stride)
    size_t out_stride;
    const float* bias = nullptr;   // (rows of w,) or nullptr
    const int32_t* rows = nullptr; // (n_rows,) ascending, or nullptr for all
    int n_rows = -1;               // of `rows`
};

// The batch `x` (n_tokens, dim), also rounded for quantised weights if `is_quantized`; the rounded
// form lives in the scratch until the next call.
cpu::Activations make_activations(
    Compute& compute, const float* x, int n_tokens, int dim, bool is_quantized
);

// Token t of a batch alone.
cpu::Activations token_of(const cpu::Ops& ops, const cpu::Activations& x, int t) noexcept;

// All products of the group in one parallel loop.
void multiply(Compute& compute, const cpu::Activations& x, std::span<const Product> products);
inline void multiply(
    Compute& compute, const cpu::Activations& x, std::initializer_list<Product> products
) {
    multiply(compute, x, std::span<const Product>(products.begin(), products.size()));
}

// Tokens and columns of a result.
struct ResultPart {
    int token_begin;
    int token_end;
    int col_begin; // multiples of cpu::kColumnStep, or the end
    int col_end;
};

// Calls body(part) for parts that cover all tokens and columns, spread over the threads: by
// columns, which reads each weight once, and by tokens where there are too few columns.
template <typename Body>
void for_parts(ThreadPool& pool, int n_tokens, int n_cols, Body&& body) {
    const int n_steps = (n_cols + cpu::kColumnStep - 1) / cpu::kColumnStep;
    const int n_col_parts = std::min(pool.n_threads(), n_steps);
    const int n_token_parts = std::min(pool.n_threads() / n_col_parts, n_tokens);
    pool.parallel_for(n_col_parts * n_token_parts, 1, [&](int64_t begin, int64_t end, int) {
        for (int i = static_cast<int>(begin); i < end; ++i) {
            const int col = i % n_col_parts;
            const int token = i / n_col_parts;
            body(ResultPart{
                n_tokens * token / n_token_parts,
                n_tokens * (token + 1) / n_token_parts,
                n_steps * col / n_col_parts * cpu::kColumnStep,
                std::min(n_cols, n_steps * (col + 1) / n_col_parts * cpu::kColumnStep),
            });
        }
    });
}

// out[t, :] = sum over i of coef[t, i] * w[rows[i], :], in the order of `rows` whatever the number
// of threads. out is (n_tokens, w.cols).
void multiply_transposed(
    Compute& compute,
    float* out,
    const Matrix& w,
    const int32_t* rows,
    int n_rows,
    const float* coef,
    size_t coef_stride,
    int n_tokens
);

} // namespace powerinfer
