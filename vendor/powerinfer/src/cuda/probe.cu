// A kernel that does nothing, to see whether a device runs what this program was compiled for.
#include "kernels.h"

namespace powerinfer::cuda {

namespace {

__global__ void probe_kernel() {}

} // namespace

cudaError_t probe(Stream stream) {
    PI_LAUNCH((probe_kernel), 1, 1, 0, stream)();
    const cudaError_t status = cudaGetLastError();
    return status != cudaSuccess ? status : cudaStreamSynchronize(stream);
}

} // namespace powerinfer::cuda
