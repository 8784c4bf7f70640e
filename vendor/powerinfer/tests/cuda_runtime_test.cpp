// Launches, errors of the device, and what the tests of kernels stand on.
#include "check.h"
#include "cuda/runtime.h"
#include "cuda/shapes.h"
#include "test_device.h"

#include <vector>

namespace {

using namespace powerinfer::cuda;

constexpr int kBlock = 64;

// out[i] = x[n - 1 - i], block by block through shared memory.
__global__ void reverse_kernel(float* out, const float* x, int n) {
    PI_DYNAMIC_SHARED(float, shared);
    const int first = static_cast<int>(blockIdx.x) * kBlock;
    const int size = n - first < kBlock ? n - first : kBlock;
    const int i = static_cast<int>(threadIdx.x);
    if (i < size) {
        shared[i] = x[first + i];
    }
    __syncthreads();
    if (i < size) {
        out[n - first - size + i] = shared[size - 1 - i];
    }
}

void reverse(float* out, const float* x, int n, int block = kBlock) {
    const dim3 grid(static_cast<unsigned>(ceil_div(n, kBlock)));
    const dim3 threads(static_cast<unsigned>(block));
    PI_LAUNCH((reverse_kernel), grid, threads, kBlock * sizeof(float), nullptr)(out, x, n);
    check_launch("reverse");
}

void a_kernel_gives_the_same_in_every_order() {
    for (const int n : {1, 63, 64, 65, 1000}) {
        std::vector<float> values(static_cast<size_t>(n));
        for (int i = 0; i < n; ++i) {
            values[static_cast<size_t>(i)] = static_cast<float>(i);
        }
        const device::vector<float> x = device::copy(values);
        device::in_all_orders([&] {
            device::vector<float> out(values.size());
            reverse(out.data(), x.data(), n);
            device::wait();
            int wrong = 0;
            for (size_t i = 0; i < values.size(); ++i) {
                wrong += out[i] != values[values.size() - 1 - i];
            }
            CHECK_MSG(wrong == 0, "%d of %d elements", wrong, n);
        });
    }
}

void a_refused_launch_is_an_error_of_the_device() {
    device::vector<float> x(1);
    CHECK_ERROR(device, "reverse: ", reverse(x.data(), x.data(), 1, 2048));
    reverse(x.data(), x.data(), 1); // and the next one works
    device::wait();
}

void errors_have_kinds_that_callers_can_act_on() {
    using powerinfer::cuda::check;
    check(cudaSuccess, "loading");
    CHECK_ERROR(out_of_memory, "loading: the device", check(cudaErrorMemoryAllocation, "loading"));
    CHECK_ERROR(device, "waiting: ", check(cudaErrorLaunchFailure, "waiting"));
}

} // namespace

int main() {
    CHECK_RUN(errors_have_kinds_that_callers_can_act_on);
    if (device::is_available()) {
        CHECK_RUN(a_kernel_gives_the_same_in_every_order);
        CHECK_RUN(a_refused_launch_is_an_error_of_the_device);
    }
    return check::finish();
}
