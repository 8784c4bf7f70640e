// A block of threads: what a kernel sees of its place in the grid, and what its threads do
// together.
//
// Every thread is a fibre, and all of a block run in turns on one thread of the operating system:
// each until it waits for others. So a barrier that is missing shows as a result that depends on
// config().order; waits that never end, barriers after a thread has returned and masks that name
// the wrong lanes make the launch fail with a text that says so.
#pragma once

#include "sanitizers.h"
#include "vectors.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

namespace emu {

// Of the thread that runs.
struct Position {
    uint3 thread;
    uint3 block;
    dim3 block_dim;
    dim3 grid_dim;
    unsigned id; // of the thread in its block
    std::byte* shared;
};
extern constinit thread_local const Position* position;

// Runs the function once for every thread of the grid. Returns what went wrong, or an empty text.
std::string run_grid(
    const std::function<void()>& thread, dim3 grid, dim3 block, size_t shared_bytes
);

// Waits for all threads of the block, and returns for how many of them the predicate holds.
int wait_for_block(bool predicate);

// What a lane brings to an exchange within its warp, and what it takes from it.
struct Exchange {
    // Looks at what the lanes of the mask bring; says what is wrong, or nullptr. The other lanes'
    // pointers are null.
    using Resolve = const char* (*)(Exchange* const* lanes);

    Resolve resolve;
    uint32_t mask;
    uint64_t value = 0; // brought, then taken
    int source = 0;     // lane that a shuffle reads
    bool orders_memory = false;
    SyncPoint* sync = nullptr;
};

// Waits for all lanes of the mask.
void wait_for_lanes(Exchange& exchange);

uint64_t shuffle(uint32_t mask, uint64_t value, int source);
uint32_t ballot(uint32_t mask, bool predicate);
void wait_for_warp(uint32_t mask);

// c (16, 8) += a (16, 16 * n_steps) times b (16 * n_steps, 8), of signed bytes, as PTX lays them
// out for mma.m16n8k16 and mma.m16n8k32: each lane of the warp brings 4 numbers of c, 2 * n_steps
// words of a and n_steps of b, 1 or 2.
void multiply_add(int* c, const uint32_t* a, const uint32_t* b, int n_steps);

inline int lane() {
    return static_cast<int>(position->id % 32);
}

inline std::byte* dynamic_shared() {
    return position->shared;
}

} // namespace emu

// ---- words of the language ----

#define __global__
#define __device__
#define __host__
#define __constant__    static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// One copy for each block that runs. In sanitizers it is one at a time: plain variables have their
// ends guarded and their races seen.
#if defined(EMU_ASAN) || defined(EMU_TSAN)
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

#define threadIdx (::emu::position->thread)
#define blockIdx  (::emu::position->block)
#define blockDim  (::emu::position->block_dim)
#define gridDim   (::emu::position->grid_dim)

inline constexpr int warpSize = 32;

// ---- what threads do together ----

inline void __syncthreads() {
    emu::wait_for_block(false);
}
inline int __syncthreads_count(int predicate) {
    return emu::wait_for_block(predicate != 0);
}
inline int __syncthreads_or(int predicate) {
    return emu::wait_for_block(predicate != 0) != 0;
}
inline int __syncthreads_and(int predicate) {
    return emu::wait_for_block(predicate == 0) == 0;
}
inline void __syncwarp(unsigned mask = ~0u) {
    emu::wait_for_warp(mask);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return emu::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
    return emu::ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
    return emu::ballot(mask, predicate != 0) == mask;
}

namespace emu {

// Lanes exchange numbers of up to 64 bits; CUDA shuffles no other types.
template <typename T>
concept Shuffled = std::is_arithmetic_v<T> || std::is_same_v<T, __half>;

template <Shuffled T>
T shuffle(uint32_t mask, T value, int source) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, source);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace emu

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const int first = emu::lane() & ~(width - 1);
    return emu::shuffle<T>(mask, value, first | (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    const int lane = emu::lane();
    const int source = lane ^ bits;
    const int end = (lane & ~(width - 1)) + width;
    return emu::shuffle<T>(mask, value, source >= end ? lane : source);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned n, int width = 32) {
    const int lane = emu::lane();
    const int step = static_cast<int>(n);
    const bool ends = (lane & (width - 1)) + step >= width;
    return emu::shuffle<T>(mask, value, ends ? lane : lane + step);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned n, int width = 32) {
    const int lane = emu::lane();
    const int step = static_cast<int>(n);
    const bool ends = (lane & (width - 1)) < step;
    return emu::shuffle<T>(mask, value, ends ? lane : lane - step);
}
