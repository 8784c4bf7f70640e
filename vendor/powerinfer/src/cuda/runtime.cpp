#include "runtime.h"

namespace powerinfer::cuda {

void check(cudaError_t status, const char* action) {
    if (status == cudaSuccess) [[likely]] {
        return;
    }
    // It is reported here, and not once more by the check of the next launch.
    static_cast<void>(cudaGetLastError());
    if (status == cudaErrorMemoryAllocation) {
        PI_THROW(out_of_memory, "%s: the device has too little free memory", action);
    }
    PI_THROW(device, "%s: %s", action, cudaGetErrorString(status));
}

} // namespace powerinfer::cuda
