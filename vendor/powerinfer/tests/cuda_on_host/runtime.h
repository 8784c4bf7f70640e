// The part of CUDA's runtime that a host program uses: memory, streams, events, graphs, launches.
//
// A stream is a queue. What is enqueued runs when something waits for it, and only as far as that
// needs: a program that forgets to wait reads what was there before, and one that overwrites a
// staging buffer too early sends the wrong bytes. Fresh memory holds 0xff bytes, which are NaN.
// Errors are kept as on CUDA: cudaGetLastError has the last one of any call, and after a failed
// kernel every call fails, here until emu::take_error().
//
// Time is counted, not measured: an operation of a stream or a graph takes a microsecond.
//
// Stricter than CUDA: a copy from memory that is not pinned also reads it when it runs, no stream
// waits for the null stream unasked, and a kernel's first launch, which loads it, is in no capture.
#pragma once

#include "config.h"
#include "vectors.h"

#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>

namespace emu {

struct Stream;
struct Event;
struct Graph;
struct GraphExec;

size_t memory_in_use(); // bytes of cudaMalloc
size_t memory_peak();   // since the last reset
void reset_memory_peak();

size_t waiting_operations(); // in all streams

// Runs all there is to run and returns the text of the error that is pending, which is cleared, or
// an empty one.
std::string take_error();

struct Shape {
    dim3 grid;
    dim3 block;
    size_t shared_bytes;
    Stream* stream;
};

// `thread` runs the kernel for one thread.
void launch(const void* kernel, const Shape& shape, std::function<void()> thread);

template <typename... Parameters>
struct Launcher {
    void (*kernel)(Parameters...);
    Shape shape;

    // Arguments are copied, as a launch does.
    void operator()(std::type_identity_t<Parameters>... arguments) const {
        launch(reinterpret_cast<const void*>(kernel), shape, [kernel = kernel, arguments...] {
            kernel(arguments...);
        });
    }
};

template <typename... Parameters>
Launcher<Parameters...> launcher(
    void (*kernel)(Parameters...),
    dim3 grid,
    dim3 block,
    size_t shared_bytes = 0,
    Stream* stream = nullptr
) {
    return {kernel, {grid, block, shared_bytes, stream}};
}

} // namespace emu

// ---- errors ----

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInitializationError = 3,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorCapturedEvent = 907,
};

const char* cudaGetErrorName(cudaError_t error);
// Of the last error with what the emulator knows about it. Valid until the thread's next call.
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

// ---- devices ----

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    size_t sharedMemPerBlock;
    size_t sharedMemPerBlockOptin;
    size_t sharedMemPerMultiprocessor;
    int regsPerBlock;
    int warpSize;
    int maxThreadsPerBlock;
    int maxThreadsPerMultiProcessor;
    int major;
    int minor;
    int multiProcessorCount;
    int l2CacheSize;
    int integrated;
    int canMapHostMemory;
    int unifiedAddressing;
    int asyncEngineCount;
    int concurrentKernels;
    int pciBusID;
    int pciDeviceID;
    int pciDomainID;
};

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceSynchronize();

// ---- memory ----

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault,
};

enum : unsigned {
    cudaHostAllocDefault = 0,
    cudaHostAllocPortable = 1,
    cudaHostAllocMapped = 2,
    cudaHostAllocWriteCombined = 4,
};

cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** p, size_t n_bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaHostAlloc(void** p, size_t n_bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaHostGetDevicePointer(void** p, void* host, unsigned flags);

template <typename T>
cudaError_t cudaMalloc(T** p, size_t n_bytes) {
    return cudaMalloc(reinterpret_cast<void**>(p), n_bytes);
}
template <typename T>
cudaError_t cudaHostAlloc(T** p, size_t n_bytes, unsigned flags) {
    return cudaHostAlloc(reinterpret_cast<void**>(p), n_bytes, flags);
}
template <typename T>
cudaError_t cudaHostGetDevicePointer(T** p, void* host, unsigned flags) {
    return cudaHostGetDevicePointer(reinterpret_cast<void**>(p), host, flags);
}

using cudaStream_t = emu::Stream*;

cudaError_t cudaMemcpy(void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(
    void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream = nullptr
);
cudaError_t cudaMemset(void* to, int byte, size_t n_bytes);
cudaError_t cudaMemsetAsync(void* to, int byte, size_t n_bytes, cudaStream_t stream = nullptr);

// ---- streams and events ----

using cudaEvent_t = emu::Event*;

enum : unsigned {
    cudaStreamDefault = 0,
    cudaStreamNonBlocking = 1,
    cudaEventDefault = 0,
    cudaEventBlockingSync = 1,
    cudaEventDisableTiming = 2,
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

// ---- graphs ----

using cudaGraph_t = emu::Graph*;
using cudaGraphExec_t = emu::GraphExec*;

enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed,
};

enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone,
    cudaStreamCaptureStatusActive,
    cudaStreamCaptureStatusInvalidated,
};

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(
    cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0
);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

// ---- kernels ----

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
};

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(
    void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value
) {
    return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
