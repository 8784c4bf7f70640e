// Dot products of rows of weights with tokens, by one warp: the inner loop of everything on a
// device that multiplies rows.
#pragma once

#include "chunks.cuh"
#include "reduce.cuh"

namespace powerinfer::cuda {

// Eight lanes load 16 bytes each at a time. Of the 32 bytes that each of them wants of its chunk,
// four lanes take the second half first: the eight then have all banks of the cache.
__device__ __forceinline__ int first_half(int c) {
    return c / 4 % 2;
}

// 32 rounded activations, half `first` of them before the other.
struct TokenChunk {
    uint32_t low[8];
    uint32_t high[8];
    float scale;
    int sums[2]; // of elements 0..15 and 16..31
};

__device__ __forceinline__ TokenChunk
load_token(const DeviceActivations& x, size_t t, int c, int first) {
    const size_t offset = t * static_cast<size_t>(x.dim) + static_cast<size_t>(c) * kChunk;
    TokenChunk chunk;
    load_halves(chunk.low, reinterpret_cast<const uint8_t*>(x.packed.low + offset), first);
    load_halves(chunk.high, reinterpret_cast<const uint8_t*>(x.packed.high + offset), first);
    uint32_t block[4];
    load_words(block, reinterpret_cast<const uint8_t*>(x.packed.blocks + offset / kChunk));
    chunk.scale = __int_as_float(static_cast<int>(block[0]));
    chunk.sums[0] = static_cast<int>(block[1]);
    chunk.sums[1] = static_cast<int>(block[2]);
    return chunk;
}

// sum + the product of a chunk of a row with that of a token. `steps` has the integer products of
// their halves, less the offset; where a type has one scale the first one is of the whole chunk.
// Where a compiler could choose between fused and rounded multiplications, this says which: all
// kernels give the same bits.
template <DType type>
__device__ __forceinline__ float add_scaled(
    float sum, const int (&steps)[2], const ChunkScale& w, float x_scale, float x_sum
) {
    float value = w.scale[0] * static_cast<float>(steps[0]);
    if constexpr (Chunks<type>::kHasTwoScales) {
        value = fmaf(w.scale[1], static_cast<float>(steps[1]), value);
    }
    if constexpr (Chunks<type>::kHasMin) {
        value = fmaf(-w.min, x_sum, value);
    }
    return fmaf(x_scale, value, sum);
}

template <DType type>
__device__ __forceinline__ float add_chunk(
    float sum, const uint32_t (&q)[8], const ChunkScale& w, const TokenChunk& x, int first
) {
    int steps[2]; // of half `first`, and of the other
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        int low = 0;
        int high = 0;
#pragma unroll
        for (int k = 4 * h; k < 4 * h + 4; ++k) {
            low = __dp4a(static_cast<int>(q[k]), static_cast<int>(x.low[k]), low);
            high = __dp4a(static_cast<int>(q[k]), static_cast<int>(x.high[k]), high);
        }
        steps[h] = low + 256 * high;
    }
    constexpr int kOffset = Chunks<type>::kOffset;
    const int x_sum = x.sums[0] + x.sums[1];
    if constexpr (Chunks<type>::kHasTwoScales) {
        const int begin = (first == 0 ? steps[0] : steps[1]) - kOffset * x.sums[0];
        const int end = (first == 0 ? steps[1] : steps[0]) - kOffset * x.sums[1];
        steps[0] = begin;
        steps[1] = end;
    } else {
        steps[0] += steps[1] - kOffset * x_sum;
    }
    return add_scaled<type>(sum, steps, w, x.scale, static_cast<float>(x_sum));
}

template <DType type, int R>
__device__ __forceinline__ void load_rows(
    typename Chunks<type>::Bytes (&bytes)[R], const Row (&rows)[R], int c
) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
        Chunks<type>::load(bytes[r], rows[r], c, first_half(c));
    }
}

// What lane `lane` of n_lanes contributes to the products of R rows with tokens first .. first + T
// - 1; of tokens beyond the last one the last one's.
template <DType type, int R, int T>
__device__ __forceinline__ void add_products(
    float (&sums)[R][T],
    const Row (&rows)[R],
    const DeviceActivations& x,
    int first,
    int lane,
    int n_lanes
) {
    size_t tokens[T];
#pragma unroll
    for (int t = 0; t < T; ++t) {
        tokens[t] = static_cast<size_t>(min(first + t, x.n_tokens - 1));
    }
    if constexpr (kSplit<type>.elements > 1) {
        using Bytes = typename Chunks<type>::Bytes;
        // With one token a lane waits for memory most of the time: while it waits for one chunk,
        // the next one is under way, unless that takes too many registers.
        constexpr bool kReadsAhead = T == 1 && R * sizeof(Bytes) < 80;
        const int n_chunks = x.dim / kChunk;
        Bytes next[R];
        if (kReadsAhead && lane < n_chunks) {
            load_rows<type, R>(next, rows, lane);
        }
#pragma unroll 1
        for (int c = lane; c < n_chunks; c += n_lanes) {
            Bytes bytes[R];
            if constexpr (kReadsAhead) {
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    bytes[r] = next[r];
                }
                if (c + n_lanes < n_chunks) {
                    load_rows<type, R>(next, rows, c + n_lanes);
                }
            } else {
                load_rows<type, R>(bytes, rows, c);
            }
            const int first_of_chunk = first_half(c);
            uint32_t q[R][8];
            ChunkScale scales[R];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                Chunks<type>::words(q[r], bytes[r], c, first_of_chunk);
                scales[r] = Chunks<type>::scale(bytes[r], c);
            }
#pragma unroll
            for (int t = 0; t < T; ++t) {
                const TokenChunk chunk = load_token(x, tokens[t], c, first_of_chunk);
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    sums[r][t] =
                        add_chunk<type>(sums[r][t], q[r], scales[r], chunk, first_of_chunk);
                }
            }
        }
    } else if (x.dim % 8 == 0) {
#pragma unroll(T == 1 ? 2 : 1)
        for (int j = 8 * lane; j < x.dim; j += 8 * n_lanes) {
            float w[R][8];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                Floats<type>::eight(w[r], rows[r].body, j);
            }
#pragma unroll
            for (int t = 0; t < T; ++t) {
                const float* token = x.f32 + tokens[t] * static_cast<size_t>(x.dim);
                float values[8];
                Floats<DType::f32>::eight(values, reinterpret_cast<const uint8_t*>(token), j);
#pragma unroll
                for (int i = 0; i < 8; ++i) {
#pragma unroll
                    for (int r = 0; r < R; ++r) {
                        sums[r][t] = fmaf(w[r][i], values[i], sums[r][t]);
                    }
                }
            }
        }
    } else {
        for (int j = lane; j < x.dim; j += n_lanes) {
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

// The place of a bit-reversed number below N, a power of two.
template <int N>
__device__ __forceinline__ int reversed(int i) {
    if constexpr (N == 1) {
        return 0;
    } else {
        constexpr int kUnused = 32 - __builtin_ctz(N);
        return static_cast<int>(__brev(static_cast<uint32_t>(i)) >> kUnused);
    }
}

// Sums over the warp of N values, a power of two: lane i gets that of values[reversed<N>(i)], with
// a fraction of the shuffles of N sums. Neighbours are added first, then pairs of neighbours, and
// so on: kernels that have all of a row in one thread can add in that order too (tiles.cu).
template <int N, int kDistance = 1>
__device__ __forceinline__ float warp_sums(const float (&values)[N]) {
    if constexpr (N == 1) {
        float sum = values[0];
#pragma unroll
        for (int distance = kDistance; distance < kWarp; distance *= 2) {
            sum += __shfl_xor_sync(kWholeWarp, sum, distance);
        }
        return sum;
    } else {
        const bool is_upper = (lane_id() & kDistance) != 0;
        float halves[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; ++i) {
            const float gives = is_upper ? values[i] : values[i + N / 2];
            const float keeps = is_upper ? values[i + N / 2] : values[i];
            halves[i] = keeps + __shfl_xor_sync(kWholeWarp, gives, kDistance);
        }
        return warp_sums<N / 2, 2 * kDistance>(halves);
    }
}

// Product i = reversed<R * T>(lane) in each lane: of row i % R with token first + i / R. The whole
// warp takes part. Each product is summed in the same order whatever R, T and the other tokens are.
// The columns may be shared by several warps: this one is number `part` of n_parts.
template <DType type, int R, int T>
__device__ __forceinline__ float dot_rows_apart(
    const Row (&rows)[R], const DeviceActivations& x, int first, int part = 0, int n_parts = 1
) {
    float sums[R][T] = {};
    add_products<type, R, T>(sums, rows, x, first, part * kWarp + lane_id(), n_parts * kWarp);
    float values[R * T];
#pragma unroll
    for (int i = 0; i < R * T; ++i) {
        values[i] = sums[i % R][i / R];
    }
    return warp_sums(values);
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

inline constexpr int kTokenGroup = 8; // tokens that share what was read of a row

// Where a loop over groups of T tokens ends; T as for_tokens chooses it for all n. The compiler
// sees that fewer than kTokenGroup need no loop.
template <int T>
__device__ __forceinline__ int end_of_groups(int n_tokens) {
    return T < kTokenGroup ? T : n_tokens;
}

// Calls body<T>() for the least T = 1, 2, 4, 8 that holds n tokens, or kTokenGroup.
template <typename Body>
void for_tokens(int n, Body&& body) {
    if (n <= 1) {
        body.template operator()<1>();
    } else if (n <= 2) {
        body.template operator()<2>();
    } else if (n <= 4) {
        body.template operator()<4>();
    } else {
        body.template operator()<kTokenGroup>();
    }
}

} // namespace powerinfer::cuda
