// placeholder
#include "check.h"
#include "cuda/runtime.h"

#include <vector>
using namespace powerinfer;
namespace {
template <int kThreads>
__global__ void sum_kernel(float* out, const float* x, int n) {
    __shared__ float parts[kThreads / 32];
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
        sum += x[i];
    }
    for (int step = 16; step > 0; step /= 2) {
        sum += __shfl_xor_sync(~0u, sum, step);
    }
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0;
        for (float p : parts) {
            sum += p;
        }
        *out = sum;
    }
}
void test_it() {
    float* x = nullptr;
    float* out = nullptr;
    cuda::check(cudaMalloc(&x, 400), "x");
    cuda::check(cudaMalloc(&out, 4), "x");
    std::vector<float> h(100, 2.0f);
    cuda::check(cudaMemcpyAsync(x, h.data(), 400, cudaMemcpyHostToDevice, nullptr), "copy");
    PI_LAUNCH((sum_kernel<64>), 1, 64, 0, nullptr)(out, x, 100);
    cuda::check_launch("sum");
    float r = 0;
    cuda::check(cudaMemcpy(&r, out, 4, cudaMemcpyDeviceToHost), "copy");
    CHECK_EQ(r, 200.0f);
    cudaFree(x);
    cudaFree(out);
}
} // namespace
int main() {
    CHECK_RUN(test_it);
    return check::finish();
}
