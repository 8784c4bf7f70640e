// The emulator of the device: what is wrong with a kernel or its launch is an error with a text.
#include "emulator_cases.h"
#include "test_device.h"

namespace {

using namespace powerinfer;
using namespace powerinfer::cuda;
using emulator_cases::has;

__global__ void return_before_barrier_kernel() {
    if (threadIdx.x >= 40) {
        return;
    }
    __syncthreads();
}

__global__ void full_mask_after_return_kernel() {
    if (threadIdx.x < 40) {
        __syncwarp();
    }
}

__global__ void barrier_beside_shuffle_kernel() {
    if (threadIdx.x < 16) {
        __shfl_xor_sync(~0u, 1, 1);
    } else {
        __syncthreads();
    }
}

__global__ void vote_beside_shuffle_kernel() {
    if (threadIdx.x < 16) {
        __shfl_xor_sync(~0u, 1, 1);
    } else {
        __ballot_sync(~0u, 1);
    }
}

__global__ void foreign_mask_kernel() {
    __shfl_xor_sync(threadIdx.x < 16 ? 0xffffu : 0xffu, 1, 1);
}

__global__ void full_mask_in_short_warp_kernel() {
    __shfl_xor_sync(~0u, 1, 1);
}

__global__ void source_outside_mask_kernel() {
    if (threadIdx.x < 16) {
        __shfl_sync(0xffffu, 1, 20);
    }
}

__global__ void nothing_kernel() {}

__global__ void barrier_kernel() {
    __syncthreads();
}

template <typename Kernel>
std::string error_of(Kernel kernel, dim3 grid, dim3 block, size_t shared_bytes = 0) {
    PI_LAUNCH((kernel), grid, block, shared_bytes, nullptr)();
    return emu::take_error();
}

void mistakes_are_reported() {
    device::in_all_orders([] {
        const std::string barrier = error_of(return_before_barrier_kernel, 3, 64);
        CHECK_MSG(has(barrier, "40 wait at __syncthreads"), "%s", barrier.c_str());
        CHECK_MSG(has(barrier, "24 returned"), "%s", barrier.c_str());
        CHECK_MSG(has(barrier, "[block "), "%s", barrier.c_str());
        const std::string gone = error_of(full_mask_after_return_kernel, 1, 64);
        // Who asks before the others have returned waits for ever.
        CHECK_MSG(has(gone, "has returned") || has(gone, "deadlock"), "%s", gone.c_str());
        const std::string beside = error_of(barrier_beside_shuffle_kernel, 1, 32);
        CHECK_MSG(has(beside, "16 wait at __syncthreads, 16 at"), "%s", beside.c_str());
        const std::string vote = error_of(vote_beside_shuffle_kernel, 1, 32);
        CHECK_MSG(has(vote, "32 at a warp-collective"), "%s", vote.c_str());
        const std::string foreign = error_of(foreign_mask_kernel, 1, 32);
        CHECK_MSG(has(foreign, "not in its own mask"), "%s", foreign.c_str());
        const std::string shorter = error_of(full_mask_in_short_warp_kernel, 1, 20);
        CHECK_MSG(has(shorter, "past the block's end"), "%s", shorter.c_str());
        const std::string source = error_of(source_outside_mask_kernel, 1, 32);
        CHECK_MSG(has(source, "outside the mask"), "%s", source.c_str());
        // And the next one works.
        CHECK_EQ(error_of(nothing_kernel, 3, 64), "");
        CHECK_EQ(error_of(barrier_kernel, 3, 64), "");
    });
}

void impossible_launches_are_refused() {
    const char* const configuration = "invalid configuration argument: a grid of ";
    CHECK(has(error_of(nothing_kernel, 1, 1025), configuration));
    CHECK(has(error_of(nothing_kernel, 1, dim3(1, 1, 65)), configuration));
    CHECK(has(error_of(nothing_kernel, 1, 0), configuration));
    CHECK(has(error_of(nothing_kernel, 0, 1), configuration));
    CHECK(has(error_of(nothing_kernel, dim3(1, 65536), 1), configuration));
    CHECK_EQ(error_of(nothing_kernel, 1, 1024), "");
    PI_LAUNCH((nothing_kernel), 0, 1, 0, nullptr)();
    CHECK_ERROR(device, "nothing: invalid configuration", check_launch("nothing"));
    CHECK_EQ(emu::take_error(), "");

    emu::config().has_kernels = false;
    CHECK(has(error_of(nothing_kernel, 1, 1), "no kernel image is available"));
    emu::config().has_kernels = true;

    constexpr size_t kKiB = 1024;
    CHECK_EQ(error_of(nothing_kernel, 1, 1, 48 * kKiB), "");
    CHECK(has(error_of(nothing_kernel, 1, 1, 48 * kKiB + 1), "may have 49152"));
    const auto allow = [](size_t n_bytes) {
        return cudaFuncSetAttribute(
            nothing_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(n_bytes)
        );
    };
    CHECK_EQ(allow(100 * kKiB), cudaSuccess);
    CHECK_EQ(error_of(nothing_kernel, 1, 1, 100 * kKiB), "");
    CHECK_EQ(allow(emu::config().shared_memory + 1), cudaErrorInvalidValue);
    CHECK(!emu::take_error().empty());
}

} // namespace

int main() {
    CHECK_RUN(mistakes_are_reported);
    CHECK_RUN(impossible_launches_are_refused);
    return check::finish();
}
