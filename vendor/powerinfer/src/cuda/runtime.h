// The names of CUDA that the device code uses, and how a kernel is launched: by nvcc, by hipcc, or
// on the CPU for the tests, where the include path has an emulator in place of CUDA's headers.
#pragma once

#include "../error.h"

#if defined(__HIPCC__)
#include "hip_names.h"
#else
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace powerinfer::cuda {

using Stream = cudaStream_t;

// Throws Error(device), or Error(out_of_memory) where the device has too little.
void check(cudaError_t status, const char* action);

// After a launch.
inline void check_launch(const char* kernel) {
    check(cudaGetLastError(), kernel);
}

inline constexpr int kWarp = 32;

constexpr int ceil_div(int n, int d) noexcept {
    return (n + d - 1) / d;
}

} // namespace powerinfer::cuda

// PI_LAUNCH((kernel<2>), grid, block, shared_bytes, stream)(arguments...)
#define PI_UNPACK(...) __VA_ARGS__
#if defined(__CUDACC__) || defined(__HIPCC__)
#define PI_LAUNCH(kernel, grid, block, shared, stream)                                             \
    PI_UNPACK kernel<<<grid, block, shared, stream>>>
#define PI_DYNAMIC_SHARED(type, name)                                                              \
    extern __shared__ __align__(16) unsigned char pi_shared[];                                     \
    type* name = reinterpret_cast<type*>(pi_shared)
#else
#define PI_LAUNCH(kernel, grid, block, shared, stream)                                             \
    ::emu::launcher(PI_UNPACK kernel, grid, block, shared, stream)
#define PI_DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(::emu::dynamic_shared())
#endif
