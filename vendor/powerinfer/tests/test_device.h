// The device of the tests cuda_*: an emulated one, or a GPU where the core is built with one. A
// test that keeps to what is here and to cuda/runtime.h runs on both.
#pragma once

#include "check.h"
#include "cuda/runtime.h"

#include <cstddef>
#include <cstdlib>
#include <span>

namespace device {

// Without a device the caller skips, which is an error where POWERINFER_REQUIRE_GPU is set.
inline bool is_available() {
#if defined(__CUDACC__) || defined(__HIPCC__)
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
#if defined(__CUDACC__) || defined(__HIPCC__)
    test();
#else
    const emu::Config before = emu::config();
    for (const auto order : {emu::Order::Forward, emu::Order::Reverse, emu::Order::Shuffle}) {
        for (const unsigned n_threads : {1U, 2U}) {
            emu::config().order = order;
            emu::config().threads = n_threads;
            test();
        }
    }
    emu::config() = before;
#endif
}

inline void wait(powerinfer::cuda::Stream stream = nullptr) {
    powerinfer::cuda::check(cudaStreamSynchronize(stream), "waiting for the device");
}

// n elements that host and device see, and not a byte more: sanitizers find what is beyond. The
// host waits for the device before it looks.
template <typename T>
class Array {
public:
    explicit Array(size_t n) : n_(n) {
#if defined(__CUDACC__) || defined(__HIPCC__)
        // No allocation is empty: kernels may still be given its address.
        const size_t n_bytes = (n == 0 ? 1 : n) * sizeof(T);
        powerinfer::cuda::check(cudaMallocManaged(&data_, n_bytes), "allocating for a test");
#else
        data_ = new T[n];
#endif
    }

    explicit Array(std::span<const T> values) : Array(values.size()) {
        for (size_t i = 0; i < n_; ++i) {
            data_[i] = values[i];
        }
    }

    ~Array() {
#if defined(__CUDACC__) || defined(__HIPCC__)
        static_cast<void>(cudaFree(data_));
#else
        delete[] data_;
#endif
    }

    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    T* data() noexcept { return data_; }
    const T* data() const noexcept { return data_; }
    size_t size() const noexcept { return n_; }
    T& operator[](size_t i) noexcept { return data_[i]; }
    const T& operator[](size_t i) const noexcept { return data_[i]; }
    std::span<T> span() noexcept { return {data_, n_}; }

private:
    T* data_ = nullptr;
    size_t n_;
};

} // namespace device
