// The device of the tests cuda_*: an emulated one, or a GPU where the core is built with one. A
// test that keeps to what is here and to cuda/runtime.h runs on both.
#pragma once

#include "check.h"
#include "cuda/runtime.h"

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace device {

// Without a device the caller skips, which is an error where POWERINFER_REQUIRE_GPU is set.
inline bool is_available() {
#if !defined(PI_EMULATED)
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        CHECK_MSG(std::getenv("POWERINFER_REQUIRE_GPU") == nullptr, "this run must not skip");
        check::skip("no device");
        return false;
    }
#endif
    return true;
}

// Runs a test for every order in which the emulator can run threads; once on a GPU, which has its
// own. The test must wait for what it enqueued.
template <typename F>
void in_all_orders(F&& test) {
#if defined(PI_EMULATED)
    const emu::Config before = emu::config();
    for (const auto order : {emu::Order::Forward, emu::Order::Reverse, emu::Order::Shuffle}) {
        for (const unsigned n_threads : {1U, 2U}) {
            emu::config().order = order;
            emu::config().threads = n_threads;
            test();
        }
    }
    emu::config() = before;
#else
    test();
#endif
}

inline void wait(powerinfer::cuda::Stream stream = nullptr) {
    powerinfer::cuda::check(cudaStreamSynchronize(stream), "waiting for the device");
}

// Memory of the host that the device sees at the same address; the host waits for the device before
// it looks. It is as long as was asked for, so that sanitizers find what is beyond.
template <typename T>
struct Allocator {
    using value_type = T;

    Allocator() = default;
    template <typename U>
    Allocator(const Allocator<U>&) noexcept {}

    T* allocate(size_t n) {
#if defined(PI_EMULATED)
        return static_cast<T*>(::operator new(n * sizeof(T)));
#else
        void* data = nullptr;
        powerinfer::cuda::check(
            cudaHostAlloc(&data, n * sizeof(T), cudaHostAllocMapped), "allocating for a test"
        );
        return static_cast<T*>(data);
#endif
    }
    void deallocate(T* data, size_t) noexcept {
#if defined(PI_EMULATED)
        ::operator delete(data);
#else
        static_cast<void>(cudaFreeHost(data));
#endif
    }

    template <typename U>
    bool operator==(const Allocator<U>&) const noexcept {
        return true;
    }
};

// What a kernel is given is one of these: it cannot read what else the host has.
template <typename T>
using vector = std::vector<T, Allocator<T>>;

template <typename T>
vector<T> copy(const std::vector<T>& values) {
    return {values.begin(), values.end()};
}

} // namespace device
