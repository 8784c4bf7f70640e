// Products of small matrices of signed bytes by one warp, on tensor cores: exact integers.
#pragma once

#include "reduce.cuh"

namespace powerinfer::cuda {

#if defined(__HIPCC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800)
// Of 8 rows, 8 columns and 16 terms.
__device__ __forceinline__ void multiply_add_8x8(int& c0, int& c1, uint32_t a, uint32_t b) {
#if defined(__HIPCC__)
    const int lane = lane_id();
    for (int k = 0; k < 4; ++k) {
        const int row = static_cast<int>(__shfl_sync(kWholeWarp, a, lane / 4 * 4 + k));
        const int first = static_cast<int>(__shfl_sync(kWholeWarp, b, lane % 4 * 8 + k));
        const int second = static_cast<int>(__shfl_sync(kWholeWarp, b, lane % 4 * 8 + 4 + k));
        c0 = __dp4a(row, first, c0);
        c1 = __dp4a(row, second, c1);
    }
#else
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(c0), "+r"(c1)
        : "r"(a), "r"(b));
#endif
}
#endif

// c (16, 8) += a (16, 16 * kSteps) times b (16 * kSteps, 8); kSteps is 1 or 2. The whole warp takes
// part. Lane 4 * g + i has of
//   a: word 2 * s + h: row g + 8 * h, columns 16 * s + 4 * i .. + 3
//   b: word s: column g, rows 16 * s + 4 * i .. + 3
//   c: number 2 * h + j: row g + 8 * h, column 2 * i + j
template <int kSteps>
__device__ __forceinline__ void multiply_add(
    int (&c)[4], const uint32_t (&a)[2 * kSteps], const uint32_t (&b)[kSteps]
) {
#if defined(PI_EMULATED)
    emu::multiply_add(c, a, b, kSteps);
#elif defined(__HIPCC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800)
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
        multiply_add_8x8(c[0], c[1], a[2 * s], b[s]);
        multiply_add_8x8(c[2], c[3], a[2 * s + 1], b[s]);
    }
#else
    if constexpr (kSteps == 1) {
        asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
            "{%0, %1, %2, %3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    } else {
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
            "{%8, %9}, {%0, %1, %2, %3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
#endif
}

} // namespace powerinfer::cuda
