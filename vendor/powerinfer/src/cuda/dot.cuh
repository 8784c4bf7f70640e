// Dot products of rows of weights with tokens, by one warp: the inner loop of everything on a
// device that multiplies rows.
#pragma once

#include "chunks.cuh"
#include "reduce.cuh"

namespace powerinfer::cuda {

// What chunk c of token t contributes to the product with a row.
template <DType type>
__device__ __forceinline__ float dot_chunk(
    const uint32_t (&q)[8], const ChunkScale& w, const DeviceActivations& x, size_t t, int c
) {
    const auto dim = static_cast<size_t>(x.dim);
    const size_t offset = t * dim + static_cast<size_t>(c) * kChunk;
    uint32_t low[8];
    uint32_t high[8];
    load_words(low, reinterpret_cast<const uint8_t*>(x.packed.low + offset));
    load_words(low + 4, reinterpret_cast<const uint8_t*>(x.packed.low + offset + 16));
    load_words(high, reinterpret_cast<const uint8_t*>(x.packed.high + offset));
    load_words(high + 4, reinterpret_cast<const uint8_t*>(x.packed.high + offset + 16));
    uint32_t block[4];
    load_words(block, reinterpret_cast<const uint8_t*>(x.packed.blocks + offset / kChunk));
    int sums[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        int low_sum = 0;
        int high_sum = 0;
#pragma unroll
        for (int k = 4 * h; k < 4 * h + 4; ++k) {
            low_sum = __dp4a(static_cast<int>(q[k]), static_cast<int>(low[k]), low_sum);
            high_sum = __dp4a(static_cast<int>(q[k]), static_cast<int>(high[k]), high_sum);
        }
        sums[h] = low_sum + 256 * high_sum - Chunks<type>::kOffset * static_cast<int>(block[1 + h]);
    }
    float sum = 0.0f;
    if constexpr (Chunks<type>::kHasTwoScales) {
        sum = w.scale[0] * static_cast<float>(sums[0]) + w.scale[1] * static_cast<float>(sums[1]);
    } else {
        sum = w.scale[0] * static_cast<float>(sums[0] + sums[1]);
    }
    if constexpr (Chunks<type>::kHasMin) {
        sum -= w.min * static_cast<float>(static_cast<int>(block[1]) + static_cast<int>(block[2]));
    }
    return __int_as_float(static_cast<int>(block[0])) * sum;
}

// One lane's share of the products of R rows with tokens first .. first + T - 1; of tokens beyond
// the last one the last one's.
template <DType type, int R, int T>
__device__ __forceinline__ void add_products(
    float (&sums)[R][T], const Row (&rows)[R], const DeviceActivations& x, int first, int lane
) {
    size_t tokens[T];
#pragma unroll
    for (int t = 0; t < T; ++t) {
        tokens[t] = static_cast<size_t>(min(first + t, x.n_tokens - 1));
    }
    if constexpr (kSplit<type>.elements > 1) {
        for (int c = lane; c < x.dim / kChunk; c += kWarp) {
            uint32_t q[R][8];
            ChunkScale scales[R];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                Chunks<type>::words(q[r], rows[r], c);
                scales[r] = Chunks<type>::scale(rows[r], c);
            }
#pragma unroll
            for (int t = 0; t < T; ++t) {
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    sums[r][t] += dot_chunk<type>(q[r], scales[r], x, tokens[t], c);
                }
            }
        }
    } else if (x.dim % 8 == 0) {
        for (int j = 8 * lane; j < x.dim; j += 8 * kWarp) {
            float w[R][8];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                Floats<type>::eight(w[r], rows[r].body, j);
            }
#pragma unroll
            for (int t = 0; t < T; ++t) {
                const float* x_t = x.f32 + tokens[t] * static_cast<size_t>(x.dim) + j;
#pragma unroll
                for (int i = 0; i < 8; ++i) {
#pragma unroll
                    for (int r = 0; r < R; ++r) {
                        sums[r][t] = fmaf(w[r][i], x_t[i], sums[r][t]);
                    }
                }
            }
        }
    } else {
        for (int j = lane; j < x.dim; j += kWarp) {
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const float w = Floats<type>::get(rows[r].body, j);
#pragma unroll
                for (int t = 0; t < T; ++t) {
                    const float value = x.f32[tokens[t] * static_cast<size_t>(x.dim) + j];
                    sums[r][t] = fmaf(w, value, sums[r][t]);
                }
            }
        }
    }
}

// sums[r][t] = rows[r] . x[first + t], in every lane. The whole warp takes part. Each product is
// summed in the same order whatever R, T and the other tokens are.
template <DType type, int R, int T>
__device__ __forceinline__ void dot_rows(
    float (&sums)[R][T], const Row (&rows)[R], const DeviceActivations& x, int first
) {
    const int lane = lane_id();
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int t = 0; t < T; ++t) {
            sums[r][t] = 0.0f;
        }
    }
    add_products<type, R, T>(sums, rows, x, first, lane);
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int t = 0; t < T; ++t) {
            sums[r][t] = warp_sum(sums[r][t]);
        }
    }
}

// Calls body<type>() for the type of a matrix: the one place where kernels are chosen by type.
template <typename Body>
void for_type(DType type, Body&& body) {
    switch (type) {
    case DType::f32:
        return body.template operator()<DType::f32>();
    case DType::f16:
        return body.template operator()<DType::f16>();
    case DType::bf16:
        return body.template operator()<DType::bf16>();
    case DType::q4_0:
        return body.template operator()<DType::q4_0>();
    case DType::q5_0:
        return body.template operator()<DType::q5_0>();
    case DType::q8_0:
        return body.template operator()<DType::q8_0>();
    case DType::q4_k:
        return body.template operator()<DType::q4_k>();
    case DType::q5_k:
        return body.template operator()<DType::q5_k>();
    case DType::q6_k:
        return body.template operator()<DType::q6_k>();
    case DType::i32:
        break;
    }
    PI_THROW(internal, "no kernels for type %s", dtype_info(type).name);
}

// Calls body<T>() for the least T = 1, 2, 4, 8 that holds n tokens, or 8.
template <typename Body>
void for_tokens(int n, Body&& body) {
    if (n <= 1) {
        body.template operator()<1>();
    } else if (n <= 2) {
        body.template operator()<2>();
    } else if (n <= 4) {
        body.template operator()<4>();
    } else {
        body.template operator()<8>();
    }
}

} // namespace powerinfer::cuda
