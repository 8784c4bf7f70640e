// Products of weight matrices with a batch of activations, spread over the threads by rows.
#pragma once

#include "model.h"
#include "scratch.h"
#include "stats.h"
#include "thread_pool.h"

#include <initializer_list>
#include <span>

namespace powerinfer {

class FfnPlan;

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

// Which rows each token needs.
struct Needed {
    const uint8_t* flags = nullptr; // (n_tokens, out_stride) 0 or 1; nullptr: all
    uint64_t n = 0;                 // ones among the flags of the product's rows
};

// One matrix of a group that shares its input: out[t, i] = w[rows[i]] . x[t] + bias[rows[i]], or 0
// where the token does not need the row.
struct Product {
    const Matrix* w;
    float* out; // (n_tokens, out_stride)
    size_t out_stride;
    const float* bias = nullptr;   // (rows of w,) or nullptr
    const int32_t* rows = nullptr; // (n_rows,) ascending, or nullptr for all
    int n_rows = -1;               // of `rows`
    Needed needed = {};
};

// The batch `x` (n_tokens, dim), also rounded for quantised weights if `is_quantized`; the rounded
// form lives in the scratch until the next call.
cpu::Activations make_activations(
    Compute& compute, const float* x, int n_tokens, int dim, bool is_quantized
);

// All products of the group in one parallel loop.
void multiply(Compute& compute, const cpu::Activations& x, std::span<const Product> products);
inline void multiply(
    Compute& compute, const cpu::Activations& x, std::initializer_list<Product> products
) {
    multiply(compute, x, std::span<const Product>(products.begin(), products.size()));
}

// out[t, :] = sum over i of coef[t, i] * w[rows[i], :], spread by columns; each column is summed in
// the order of `rows` whatever the number of threads. n_terms of the coefficients are not zero. out
// is (n_tokens, w.cols).
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
);

} // namespace powerinfer
