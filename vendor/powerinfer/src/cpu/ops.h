// CPU operators: one table of function pointers per instruction set, chosen once at run time.
// The scalar table is the specification and the oracle of all others.
//
// Numerics. Weight rows of float types multiply float activations. Quantised weight rows multiply
// activations rounded to 16 or 8 bits per block of 32, so that the integer part of a dot product is
// exact. With 16 the rounding of the activation (2^-16 of the block's largest value) disappears
// beside that of the weights; 8 are half the work where many tokens share a weight. Every result of
// a row depends on that row and that token only: the same bits for any number of rows, tokens or
// threads.
//
// Rounding: q = x / scale, half to even, scale = amax / max_step(bits). The largest step of 16 bits
// is the largest number that two signed bytes can write as 256 * high + low, because byte products
// are the fastest that processors have. Blocks of zeros get scale 0; a block that holds an infinity
// or a NaN gets scale NaN and zeros, so that the products it enters are NaN.
#pragma once

#include "../columns.h"
#include "../dtype.h"
#include "../kv_page.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace powerinfer::cpu {

inline constexpr int kActivationBlock = 32; // activations that share one scale
// The largest step of rounded activations.
constexpr int max_step(int bits) noexcept {
    return bits == 8 ? 127 : 127 * 256 + 127;
}
inline constexpr int kColumnStep = 256; // column ranges of axpy start and end at multiples of this

// A selection of rows of one row-major matrix.
struct Rows {
    const std::byte* data; // first byte of row 0
    size_t stride_bytes;   // from one row to the next
    const int32_t* ids;    // (n,) ascending row numbers, or nullptr for rows 0..n-1
    int n;
};

// Inputs of a product: n_tokens vectors of length dim, row-major.
struct Activations {
    const float* f32;        // (n_tokens, dim)
    const std::byte* packed; // (n_tokens, packed_bytes(dim, bits)) by pack() of the same table;
                             // nullptr unless the weights are quantised
    int bits;                // of the packed values: 16 or 8
    int n_tokens;
    int dim;
};

struct TypeOps {
    // out[t * out_stride + i] = dot(w[row i], x[t]).
    void (*dot_rows)(float* out, size_t out_stride, const Rows& w, const Activations& x);

    // acc[t * acc_stride + c] += sum over i, ascending, of coef[t * coef_stride + i] * w[row i][c]
    // for c in [col_begin, col_end), one term after the other on every instruction set:
    //   acc = fma(coef * s, q, acc)  blocks of 32, whose weights are s * q
    //   acc = fma(coef, w, acc)      super-blocks, w as dequantize has it, and floats
    // coef * s is rounded to float. Terms with a zero coefficient are skipped.
    // acc is indexed from column 0. col_begin is a multiple of kColumnStep; col_end too, or the end
    // of the row.
    void (*axpy_rows)(
        float* acc,
        size_t acc_stride,
        const Rows& w,
        const float* coef,
        size_t coef_stride,
        int n_tokens,
        int col_begin,
        int col_end
    );

    // out[0..n) = the row's values; n is a multiple of the type's block.
    void (*dequantize)(float* out, const std::byte* row, int n);
};

// A q4_0 matrix stored by columns (see columns.h), and which of them some token needs.
struct Columns {
    const std::byte* data;
    int n_rows;          // a multiple of kColumnRows
    const int32_t* ids;  // ascending column numbers
    const int32_t* ends; // (n_blocks,) how many of them are in block b or before
};

// Query heads of consecutive tokens that attend to one head of keys and values: token t to its
// first n_positions + t positions.
struct Queries {
    const float* vectors; // of head h of token t at t * token_stride + h * head_dim
    size_t token_stride;
    int n_tokens;
    int n_heads;
    int head_dim;
    int n_positions;     // at least 1
    float* scores;       // (n, score_stride) to work in
    size_t score_stride; // all positions in whole pages, or more

    // They are numbered token by token.
    int n() const noexcept { return n_tokens * n_heads; }
    size_t at(int i) const noexcept {
        return static_cast<size_t>(i / n_heads) * token_stride +
               static_cast<size_t>(i % n_heads) * static_cast<size_t>(head_dim);
    }
    int positions(int i) const noexcept { return n_positions + i / n_heads; }
};

inline constexpr int kNWeightTypes = 9;

struct Ops {
    const char* name;                         // "scalar", "avx2", "avx512", "neon", "neon-dotprod"
    std::array<TypeOps, kNWeightTypes> types; // by weight_index

    // Bytes of one token's activations rounded to `bits`, laid out as this table's kernels read
    // them; dim is a multiple of 32. `out` of pack is aligned to 64 bytes.
    size_t (*packed_bytes)(int dim, int bits);
    void (*pack)(std::byte* out, const float* x, int n_tokens, int dim, int bits);

    void (*rms_norm)(float* out, const float* x, const float* weight, float eps, int n);
    // bias may be nullptr.
    void (*layer_norm)(
        float* out, const float* x, const float* weight, const float* bias, float eps, int n
    );
    // In place, maximum subtracted; n >= 1. Entries of -inf become exactly 0; a NaN, +inf or
    // nothing but -inf makes all entries NaN.
    void (*softmax)(float* x, int n);
    // out = softmax(vectors . keys / sqrt(head_dim)) . values, where the vectors have their places.
    // Each result depends on its own query only.
    void (*attend)(float* out, const HeadPages& head, const Queries& queries);
    // x[i] = x[i] / (1 + exp(-x[i])), in place.
    void (*silu)(float* x, int n);

    // out[t * out_stride + i] = dot(w[i], x[t]) for rows i of [begin, end), multiples of
    // kColumnRows. x[t] holds for each block of columns the elements of those that are listed, then
    // zeros. Blocks ascending, one fused multiply-add of the exact integer sum with the product of
    // both scales; a block whose scale in x[t] is 0 is left out. The same bits on every
    // instruction set.
    void (*dot_columns)(
        float* out, size_t out_stride, const Columns& w, int begin, int end, const Activations& x
    );

    // Lists the i of [begin, end), ascending, with values[t * stride + i] >= threshold for some
    // token, and returns how many there are. `ids` has room for all.
    int (*select)(
        int32_t* ids,
        const float* values,
        size_t stride,
        int n_tokens,
        float threshold,
        int begin,
        int end
    );

    const TypeOps& of(DType type) const noexcept;
};

// Position of a weight type in Ops::types; the type must have is_weight.
int weight_index(DType type) noexcept;

const Ops& scalar_ops() noexcept;
// nullptr when the build or this processor lacks the instructions.
const Ops* avx2_ops() noexcept;
const Ops* avx512_ops() noexcept;
const Ops* neon_ops() noexcept;
const Ops* neon_dotprod_ops() noexcept;
// The best of the above. The environment variable POWERINFER_CPU, set to the name of a table,
// overrides it (for tests and bug reports); an unknown or unavailable name throws
// Error(unsupported).
const Ops& best_ops();

} // namespace powerinfer::cpu
