// What the tests on the emulated device share: its settings, streams, events and a number on it.
#pragma once

#include "check.h"
#include "cuda/runtime.h"

#include <string>

namespace emulator_cases {

using namespace powerinfer;

inline constexpr auto kToDevice = cudaMemcpyHostToDevice;
inline constexpr auto kToHost = cudaMemcpyDeviceToHost;
inline constexpr size_t kSize = sizeof(float);

// Of the tests, which must not fail.
inline void must(cudaError_t error) {
    cuda::check(error, "test");
}

inline bool has(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

// The emulator as it was, at the end of a case.
class Restore {
public:
    ~Restore() {
        emu::take_error();
        emu::config() = before_;
    }

private:
    emu::Config before_ = emu::config();
};

struct Stream {
    Stream() { must(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
    ~Stream() { cudaStreamDestroy(handle); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return handle; }

    cudaStream_t handle = nullptr;
};

struct Event {
    explicit Event(unsigned flags = cudaEventDisableTiming) {
        must(cudaEventCreateWithFlags(&handle, flags));
    }
    ~Event() { cudaEventDestroy(handle); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    operator cudaEvent_t() const { return handle; }

    cudaEvent_t handle = nullptr;
};

// A number on the device.
struct Number {
    explicit Number(float value) {
        must(cudaMalloc(&p, kSize));
        must(cudaMemcpy(p, &value, kSize, kToDevice));
    }
    ~Number() { cudaFree(p); }
    Number(const Number&) = delete;
    Number& operator=(const Number&) = delete;

    float value() const {
        float value = 0;
        must(cudaMemcpy(&value, p, kSize, kToHost));
        return value;
    }

    float* p = nullptr;
};

__global__ inline void scale_kernel(float* x, float factor, float summand) {
    *x = *x * factor + summand;
}

__global__ inline void add_kernel(float* out, const float* x) {
    *out += *x;
}

__global__ inline void stuck_kernel() {
    if (threadIdx.x > 0) {
        __syncthreads();
    }
}

inline void scale(const Number& x, float factor, float summand, cudaStream_t stream) {
    PI_LAUNCH((scale_kernel), 1, 1, 0, stream)(x.p, factor, summand);
    cuda::check_launch("scale");
}

inline void add(const Number& out, const Number& x, cudaStream_t stream) {
    PI_LAUNCH((add_kernel), 1, 1, 0, stream)(out.p, x.p);
    cuda::check_launch("add");
}

} // namespace emulator_cases
