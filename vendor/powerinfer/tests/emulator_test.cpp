// The emulator of the device: threads, blocks and warps, and their order.
#include "check.h"
#include "cuda/runtime.h"
#include "test_device.h"
#include "twin.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace powerinfer;
using namespace powerinfer::cuda;

constexpr int kThreads = 256;

void wait() {
    cuda::check(cudaDeviceSynchronize(), "waiting");
}

// out[block] is the sum of the block's share.
template <bool kHasBarrier>
__global__ void sum_kernel(float* out, const float* x, int n) {
    __shared__ float parts[kThreads / kWarp];
    const auto thread = static_cast<int>(threadIdx.x);
    const auto step = static_cast<int>(gridDim.x) * kThreads;
    if (thread < kThreads / kWarp) {
        parts[thread] = -1000;
    }
    __syncthreads();
    float sum = 0;
    for (int i = static_cast<int>(blockIdx.x) * kThreads + thread; i < n; i += step) {
        sum += x[i];
    }
    for (unsigned lanes = kWarp / 2; lanes > 0; lanes /= 2) {
        sum += __shfl_down_sync(~0u, sum, lanes);
    }
    if (thread % kWarp == 0) {
        parts[thread / kWarp] = sum;
    }
    if (kHasBarrier) {
        __syncthreads();
    }
    if (thread == 0) {
        sum = 0;
        for (const float part : parts) {
            sum += part;
        }
        out[blockIdx.x] = sum;
    }
}

template <bool kHasBarrier>
std::vector<float> sums(const std::vector<float>& x, unsigned n_blocks) {
    std::vector<float> out(n_blocks);
    PI_LAUNCH((sum_kernel<kHasBarrier>), n_blocks, kThreads, 0, nullptr)
    (out.data(), x.data(), static_cast<int>(x.size()));
    check_launch("sum");
    wait();
    return out;
}

void sums_are_the_same_in_all_orders() {
    twin::Random random(1);
    for (const size_t n : {1u, 31u, 32u, 1000u, 10007u}) {
        const std::vector<float> x = random.normals(n);
        double wanted = 0;
        for (const float value : x) {
            wanted += static_cast<double>(value);
        }
        const std::vector<float> first = sums<true>(x, 7);
        device::in_all_orders([&] {
            const std::vector<float> out = sums<true>(x, 7);
            double total = 0;
            for (const float sum : out) {
                total += static_cast<double>(sum);
            }
            CHECK_NEAR(total, wanted, 1e-4 * std::sqrt(static_cast<double>(n)));
            CHECK(out == first);
        });
    }
}

void a_lost_barrier_shows_in_another_order() {
#if !defined(EMU_TSAN) // which would report it
    const std::vector<float> x(kThreads, 1.0f);
    bool differs = false;
    device::in_all_orders([&] { differs = differs || sums<false>(x, 1) != sums<true>(x, 1); });
    CHECK(differs);
#endif
}

__global__ void fill_kernel(float* out) {
    out[blockIdx.x * blockDim.x + threadIdx.x] = 1;
}

void fill(unsigned n_allocated, unsigned n) {
    float* out = nullptr;
    cuda::check(cudaMalloc(&out, n_allocated * sizeof(float)), "allocating");
    PI_LAUNCH((fill_kernel), 1, n, 0, nullptr)(out);
    wait();
    cuda::check(cudaFree(out), "freeing");
}

__global__ void shared_kernel(float* out, int at) {
    PI_DYNAMIC_SHARED(float, shared);
    out[0] = shared[at];
}

float read_shared(unsigned n_allocated, int at) {
    float out = 0;
    PI_LAUNCH((shared_kernel), 1, 1, n_allocated * sizeof(float), nullptr)(&out, at);
    wait();
    return out;
}

void fresh_shared_memory_is_not_a_number() {
    CHECK(std::isnan(read_shared(5, 4)));
}

// What a sanitizer stops the program for, and next to each what is right.
int run_case(const std::string& name) {
    const bool wrong = name.starts_with("wrong ");
    if (name.ends_with("barrier")) {
        const std::vector<float> x(kThreads, 1.0f);
        wrong ? sums<false>(x, 1) : sums<true>(x, 1);
    } else if (name.ends_with("shared length")) {
        read_shared(5, wrong ? 5 : 4);
    } else if (name.ends_with("length")) {
        fill(63, wrong ? 64 : 63);
    } else if (name.ends_with("host")) {
        float* out = nullptr;
        cuda::check(cudaMalloc(&out, sizeof(float)), "allocating");
        if (wrong) {
            *out = 1; // the memory of the device
        }
        cuda::check(cudaFree(out), "freeing");
    } else {
        return 2;
    }
    return 0;
}

bool case_fails(const std::string& name) {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command = "'" + program + "' '" + name + "' > /dev/null 2>&1";
    return std::system(command.c_str()) != 0;
}

void sanitizers_stop_what_is_wrong() {
#if defined(EMU_TSAN)
    const std::vector<std::string> names = {"barrier"};
#elif defined(EMU_ASAN)
    const std::vector<std::string> names = {"length", "shared length", "host"};
#else
    const std::vector<std::string> names;
    check::skip("needs a build with a sanitizer");
#endif
    for (const std::string& name : names) {
        CHECK_MSG(case_fails("wrong " + name), "%s", name.c_str());
        CHECK_MSG(!case_fails("right " + name), "%s", name.c_str());
    }
}

__global__ void place_kernel(int* out) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned n_threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * n_threads + thread] += static_cast<int>(block * n_threads + thread);
}

void every_thread_runs_once() {
    device::in_all_orders([] {
        std::vector<int> out(2 * 3 * 4 * 5 * 6 * 7);
        PI_LAUNCH((place_kernel), dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr)(out.data());
        wait();
        int wrong = 0;
        for (size_t i = 0; i < out.size(); ++i) {
            wrong += out[i] != static_cast<int>(i);
        }
        CHECK_EQ(wrong, 0);
    });
}

struct Votes {
    int count;
    int any_of_block;
    int all_of_block;
    unsigned ballot;
    int any;
    int all;
};

__global__ void vote_kernel(Votes* out, int n) {
    const auto i = static_cast<int>(threadIdx.x);
    Votes& own = out[i];
    own.count = __syncthreads_count(i < n);
    own.any_of_block = __syncthreads_or(i < n);
    own.all_of_block = __syncthreads_and(i < n);
    own.ballot = __ballot_sync(~0u, i < n);
    own.any = __any_sync(~0u, i < n);
    own.all = __all_sync(~0u, i < n);
}

void votes_count_those_who_agree() {
    for (const int n : {0, 1, 40, 64}) {
        device::in_all_orders([&] {
            std::vector<Votes> out(64);
            PI_LAUNCH((vote_kernel), 1, 64, 0, nullptr)(out.data(), n);
            wait();
            for (int i = 0; i < 64; ++i) {
                const int agree = std::clamp(n - i / 32 * 32, 0, 32); // in the warp
                const Votes& own = out[static_cast<size_t>(i)];
                CHECK_EQ(own.count, n);
                CHECK_EQ(own.any_of_block != 0, n > 0);
                CHECK_EQ(own.all_of_block != 0, n == 64);
                CHECK_EQ(own.ballot, agree == 32 ? ~0u : (1u << agree) - 1);
                CHECK_EQ(own.any != 0, agree > 0);
                CHECK_EQ(own.all != 0, agree == 32);
            }
        });
    }
}

__global__ void shuffle_kernel(int* out) {
    const auto lane = static_cast<int>(threadIdx.x);
    out[lane] = __shfl_sync(~0u, lane, 5, 8);
    out[32 + lane] = __shfl_xor_sync(~0u, lane, 3);
    out[64 + lane] = __shfl_down_sync(~0u, lane, 3, 16);
    out[96 + lane] = __shfl_up_sync(~0u, lane, 3, 16);
    // The halves of a warp on ways of their own.
    const unsigned half = lane < 16 ? 0xffff : 0xffff0000;
    int sum = lane;
    for (int step = 8; step > 0; step /= 2) {
        sum += __shfl_xor_sync(half, sum, step, 16);
    }
    out[128 + lane] = sum;
}

void shuffles_read_the_lane_they_name() {
    device::in_all_orders([] {
        std::vector<int> out(5 * 32);
        PI_LAUNCH((shuffle_kernel), 1, 32, 0, nullptr)(out.data());
        wait();
        for (size_t i = 0; i < 32; ++i) {
            const int lane = static_cast<int>(i);
            CHECK_EQ(out[i], lane / 8 * 8 + 5);
            CHECK_EQ(out[32 + i], lane ^ 3);
            CHECK_EQ(out[64 + i], lane % 16 < 13 ? lane + 3 : lane);
            CHECK_EQ(out[96 + i], lane % 16 >= 3 ? lane - 3 : lane);
            CHECK_EQ(out[128 + i], lane < 16 ? 120 : 376);
        }
    });
}

__global__ void exchange_kernel(int* out) {
    __shared__ int values[2 * kWarp];
    const auto i = static_cast<int>(threadIdx.x);
    values[i] = i;
    __syncwarp();
    out[i] = values[i ^ 1];
}

void a_warp_sees_what_its_lanes_wrote() {
    device::in_all_orders([] {
        std::vector<int> out(2 * kWarp);
        PI_LAUNCH((exchange_kernel), 1, 2 * kWarp, 0, nullptr)(out.data());
        wait();
        for (int i = 0; i < 2 * kWarp; ++i) {
            CHECK_EQ(out[static_cast<size_t>(i)], i ^ 1);
        }
    });
}

__global__ void atomic_kernel(int* out) {
    const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(&out[0], 1);
    atomicSub(&out[1], 2);
    atomicMax(&out[2], i);
    atomicMin(&out[3], -i);
    atomicOr(&out[4], 1 << (i % 30));
    atomicAnd(&out[5], ~(1 << (i % 30)));
    int old = 0;
    for (int seen = atomicCAS(&out[6], old, old + 1); seen != old;
         seen = atomicCAS(&out[6], old, old + 1)) {
        old = seen;
    }
}

void atomics_lose_nothing() {
    device::in_all_orders([] {
        std::vector<int> out = {0, 0, 0, 0, 0, -1, 0};
        PI_LAUNCH((atomic_kernel), 9, 64, 0, nullptr)(out.data());
        wait();
        CHECK(out == std::vector<int>({576, -1152, 575, -575, 0x3fffffff, -0x40000000, 576}));
    });
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 2) {
        return run_case(argv[1]);
    }
    CHECK_RUN(sums_are_the_same_in_all_orders);
    CHECK_RUN(a_lost_barrier_shows_in_another_order);
    CHECK_RUN(fresh_shared_memory_is_not_a_number);
    CHECK_RUN(sanitizers_stop_what_is_wrong);
    CHECK_RUN(every_thread_runs_once);
    CHECK_RUN(votes_count_those_who_agree);
    CHECK_RUN(shuffles_read_the_lane_they_name);
    CHECK_RUN(a_warp_sees_what_its_lanes_wrote);
    CHECK_RUN(atomics_lose_nothing);
    return check::finish();
}
