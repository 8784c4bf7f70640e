// What a device computes: one function for each kernel or fused group of kernels. A function
// enqueues its work on the stream and returns; the device finishes what was enqueued before first.
// All pointers are to memory of the device unless they say otherwise. Nothing is allocated. They
// throw Error(device) where a launch is refused.
//
// Numerics are those of the CPU (cpu/ops.h): quantised weights multiply activations rounded to 16
// or 8 bits per block of 32, and the integer part of a product is exact; sums of floats are float.
// Every sum has a fixed order that depends on nothing but the shapes of the weights: a token gets
// the same bits alone and beside others. No result depends on the order in which blocks run.
#pragma once

#include "../config.h"
#include "../dtype.h"
#include "runtime.h"
#include "shapes.h"

#include <cstdint>
#include <span>

namespace powerinfer::cuda {

// Rows of weights. Blocks of quantised types are split: `body` has of each block the part that is
// read in words of 16 bytes, `scales` the rest of it; see weights.h. Floats are all body.
struct DeviceMatrix {
    const uint8_t* body = nullptr; // nullptr: no such matrix
    const uint8_t* scales = nullptr;
    DType type = DType::f32;
    int rows = 0;
    int cols = 0;

    bool is_quantized() const noexcept { return dtype_info(type).is_quantized; }
};

struct DeviceActivations {
    const float* f32; // (T, dim), for weights of float types
    Packed packed;    // for quantised ones
    int n_tokens;     // T, at most kMaxTokens but for multiply
    int dim;
};

// Whether the device runs kernels of this program, which are compiled for some kinds of devices:
// waits for one that does nothing, and does not throw.
cudaError_t probe(Stream stream);

// ---- activations (activations.cu) ----

void pack(Stream stream, const Packed& out, const float* x, int n_tokens, int dim, int max_step);

struct Normalize {
    float* x;            // (.., dim)
    const int32_t* rows; // (T,) of x, or nullptr for 0..T-1
    const float* add;    // (.., dim), rows as of x, or nullptr: added to x first
    int n_tokens;        // T
    int dim;
    Norm norm;
    const float* weight; // (dim,)
    const float* bias;   // (dim,) or nullptr
    float eps;
    int max_step;    // of both packed forms
    float* out;      // (T, dim)
    Packed packed;   // of out
    Packed packed_x; // of x itself, after the addition
};
void normalize(Stream stream, const Normalize& op);

// ---- products (multiply.cu) ----

// out[t * out_stride + i] = w[i] . x[t] + bias[i], or that added to it.
struct DeviceProduct {
    DeviceMatrix w;
    float* out;
    int out_stride;
    const float* bias = nullptr; // (w.rows,)
    bool adds = false;
};
// At most 3 products of the same input.
void multiply(Stream stream, const DeviceActivations& x, std::span<const DeviceProduct> products);

// ---- predictor (predictor.cu) ----

// hidden (T, fc1.rows) = relu(fc1 x), also packed where packed.low is not null.
void predict_hidden(
    Stream stream,
    float* hidden,
    const Packed& packed,
    const DeviceMatrix& fc1,
    const DeviceActivations& x,
    int max_step
);

// Selects where fc2 . hidden >= threshold.
void select(
    Stream stream,
    const Selection& out,
    const DeviceMatrix& fc2,
    const DeviceActivations& hidden,
    float threshold,
    int n_hot
);

// What the host gets of a layer; memory of the host that the device can write.
struct HostShare {
    int32_t* n;       // selected cold neurons
    int32_t* neurons; // (*n,) their numbers, in the order of their rows
    uint32_t* needed; // (*n,) bit t: token t selects it
    float* input;     // (n_input,)
};
// `neurons` (n_rows,) has the number of each row's neuron.
void hand_over(
    Stream stream,
    const HostShare& out,
    const Selection& selection,
    const int32_t* neurons,
    int n_hot,
    int n_rows,
    const float* input,
    int n_input
);

// ---- feed-forward (ffn.cu) ----

struct DeviceNeurons {
    DeviceMatrix gate;              // (n, dim), gated families
    DeviceMatrix up;                // (n, dim)
    DeviceMatrix down_t;            // (n, dim); absent in GGUF files
    const float* up_bias = nullptr; // (n,)
    int n = 0;
};

struct Rule {
    Activation activation;
    float fatrelu_threshold;
    bool reads_all; // also what the test shows to be zero
};

struct NeuronCounters {
    uint32_t* layer; // added to: (kLayerCounters,)
    uint32_t* fired; // added to: (n,) tokens with a non-zero coefficient; nullptr: not counted
};

// coef[t * n + i] = what neuron i is worth for token t: activation(gate) * up, or the activation of
// an ungated up; 0 for tokens that do not need it. Of neurons that no token needs nothing is
// written. `selection` nullptr: all neurons and tokens.
void weigh(
    Stream stream,
    float* coef,
    const DeviceNeurons& neurons,
    const DeviceActivations& x,
    const Selection* selection,
    const Rule& rule,
    const NeuronCounters& counters
);

// x[t] += bias + sum over the neurons of coef[t, i] * down_t[i]. `partial` (kDownParts, T, dim) is
// scratch; `arrived` (T * ceil(dim / kDownColumns),) must be 0 and is 0 again afterwards.
void project_down(
    Stream stream,
    float* x,
    const DeviceNeurons& neurons,
    const float* coef,
    const Selection* selection,
    const float* bias,
    int n_tokens,
    float* partial,
    uint32_t* arrived
);

// ---- rows that change places (scatter.cu) ----

// Row rows[i] of `to` becomes row i of `from`. No row comes twice. Both begin at multiples of 16
// bytes; row_bytes is even.
struct RowScatter {
    uint8_t* to;         // (.., row_bytes)
    const uint8_t* from; // (n, row_bytes)
    const int32_t* rows; // (n,)
    int n;
    size_t row_bytes;
};
inline constexpr int kMaxScatters = 10;
void scatter_rows(Stream stream, std::span<const RowScatter> scatters);

// ---- attention (rotate.cu, attention.cu) ----

// The cache of one layer, in pages of kPageTokens rows (kv_cache.h).
struct DeviceCache {
    uint8_t* keys;   // (n_pages, kPageTokens, kv_dim)
    uint8_t* values; // likewise
    DType type;      // f16 or f32
};

struct DeviceTokens {
    const int32_t* positions; // (T,)
    const int32_t* sequences; // (T,)
    const int32_t* pages;     // (n_sequences, pages_per_sequence)
    int pages_per_sequence;
    const float* rotation; // (T, head_dim) cosines, then sines; nullptr: no rope
    int n;                 // T
};

struct Heads {
    Rope rope;
    int n_heads;
    int n_kv_heads;
    int head_dim;

    int dim() const noexcept { return n_heads * head_dim; }
    int kv_dim() const noexcept { return n_kv_heads * head_dim; }
};

// Turns q (T, dim) in place and k (T, kv_dim) on its way into the cache, with v.
void rotate_and_store(
    Stream stream,
    float* q,
    const float* k,
    const float* v,
    const DeviceCache& cache,
    const DeviceTokens& tokens,
    const Heads& heads
);

// out (T, dim) = attention of q over the positions up to each token's own; also packed where
// packed.low is not null.
void attend(
    Stream stream,
    float* out,
    const Packed& packed,
    const float* q,
    const DeviceCache& cache,
    const DeviceTokens& tokens,
    const Heads& heads,
    int n_ctx,
    int max_step,
    float* scratch
);

} // namespace powerinfer::cuda
