// Errors, devices and launches.
#include "runtime.h"

#include "block.h"
#include "state.h"

#include <cstdio>
#include <utility>

namespace emu {

namespace {

constexpr size_t kSharedUnasked = size_t{48} << 10; // more needs cudaFuncSetAttribute
constexpr int kVersion = 13000;

struct ErrorText {
    cudaError_t error;
    const char* name;
    const char* text;
};

constexpr ErrorText kErrorTexts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration,
     "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver,
     "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice,
     "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported,
     "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated,
     "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched,
     "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined,
     "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation,
     "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorCapturedEvent,
     "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
};

const ErrorText& text_of(cudaError_t error) {
    for (const ErrorText& known : kErrorTexts) {
        if (known.error == error) {
            return known;
        }
    }
    static constexpr ErrorText kUnknown{cudaSuccess, "unrecognized", "unrecognized error code"};
    return kUnknown;
}

std::string text_of(dim3 size) {
    return "(" + std::to_string(size.x) + ", " + std::to_string(size.y) + ", " +
           std::to_string(size.z) + ")";
}

bool is_possible(dim3 grid, dim3 block) {
    const uint64_t n_threads = uint64_t{block.x} * block.y * block.z;
    return n_threads > 0 && n_threads <= 1024 && block.z <= 64 && grid.x > 0 &&
           grid.x <= 0x7fffffff && grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535;
}

} // namespace

State& state() {
    // Never destroyed: objects that outlive main may still free what is theirs.
    static State* const only = new State;
    return *only;
}

cudaError_t keep(cudaError_t error, std::string detail) {
    State& s = state();
    if (s.failed()) {
        return s.error;
    }
    s.error = error;
    s.detailed = error;
    s.detail = std::move(detail);
    return error;
}

cudaError_t unusable() {
    if (config().driver < kVersion) {
        return keep(cudaErrorInsufficientDriver, "");
    }
    if (config().n_devices <= 0) {
        return keep(cudaErrorNoDevice, "");
    }
    return state().failed() ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t unsafe(const char* call) {
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    for (const Stream* stream : state().streams) {
        Capture* capture = stream->capture.get();
        if (capture == nullptr || capture->mode == cudaStreamCaptureModeRelaxed) {
            continue;
        }
        if (capture->mode == cudaStreamCaptureModeGlobal ||
            capture->thread == std::this_thread::get_id()) {
            capture->is_valid = false;
            return keep(cudaErrorStreamCaptureUnsupported, call);
        }
    }
    return cudaSuccess;
}

std::string take_error() {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    run_all();
    const cudaError_t error = std::exchange(s.error, cudaSuccess);
    return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

void launch(const void* kernel, const Shape& shape, std::function<void()> thread) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    if (unusable() != cudaSuccess) {
        return;
    }
    if (!is_possible(shape.grid, shape.block)) {
        keep(
            cudaErrorInvalidConfiguration,
            "a grid of " + text_of(shape.grid) + " blocks of " + text_of(shape.block) + " threads"
        );
        return;
    }
    if (!config().has_kernels) {
        keep(cudaErrorNoKernelImageForDevice, "");
        return;
    }
    Stream& stream = stream_of(shape.stream);
    if (stream.capture != nullptr && !s.loaded.contains(kernel)) {
        stream.capture->is_valid = false;
        keep(cudaErrorStreamCaptureUnsupported, "the first launch of a kernel, which loads it");
        return;
    }
    s.loaded.insert(kernel);
    const auto found = s.shared_limits.find(kernel);
    const size_t limit = found == s.shared_limits.end() ? kSharedUnasked : found->second;
    if (shape.shared_bytes > limit) {
        keep(
            cudaErrorInvalidValue,
            std::to_string(shape.shared_bytes) +
                " bytes of dynamic shared memory for a kernel that may have " +
                std::to_string(limit)
        );
        return;
    }
    enqueue(stream, [shape, thread = std::move(thread)] {
        std::string failure = run_grid(thread, shape.grid, shape.block, shape.shared_bytes);
        if (!failure.empty()) {
            keep(cudaErrorLaunchFailure, std::move(failure));
        }
    });
}

} // namespace emu

using namespace emu;

const char* cudaGetErrorName(cudaError_t error) {
    return text_of(error).name;
}

const char* cudaGetErrorString(cudaError_t error) {
    static thread_local std::string text;
    State& s = state();
    const std::lock_guard lock(s.mutex);
    text = text_of(error).text;
    if (error != cudaSuccess && error == s.detailed && !s.detail.empty()) {
        text += ": " + s.detail;
    }
    return text.c_str();
}

cudaError_t cudaPeekAtLastError() {
    const std::lock_guard lock(state().mutex);
    return state().error;
}

cudaError_t cudaGetLastError() {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    return s.failed() ? s.error : std::exchange(s.error, cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = config().driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = kVersion;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
    const std::lock_guard lock(state().mutex);
    *count = config().n_devices;
    return unusable();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    const std::lock_guard lock(state().mutex);
    if (device < 0 || device >= config().n_devices) {
        return keep(cudaErrorInvalidDevice, std::to_string(device));
    }
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "emulated");
    properties->totalGlobalMem = config().memory;
    properties->sharedMemPerBlock = kSharedUnasked;
    properties->sharedMemPerBlockOptin = config().shared_memory;
    properties->sharedMemPerMultiprocessor = config().shared_memory + 1024;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsPerMultiProcessor = 2048;
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = config().n_multiprocessors;
    properties->l2CacheSize = 32 << 20;
    properties->canMapHostMemory = 1;
    properties->unifiedAddressing = 1;
    properties->asyncEngineCount = 2;
    properties->concurrentKernels = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    if (device < 0 || device >= config().n_devices) {
        return keep(cudaErrorInvalidDevice, std::to_string(device));
    }
    // All devices share one memory here, so a program of several would not be tested.
    return device == 0 ? cudaSuccess : keep(cudaErrorInvalidDevice, "only device 0 is emulated");
}

cudaError_t cudaGetDevice(int* device) {
    const std::lock_guard lock(state().mutex);
    *device = 0;
    return unusable();
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<size_t>(value) > config().shared_memory) {
        return keep(
            cudaErrorInvalidValue,
            std::to_string(value) + " bytes of shared memory where a block may have " +
                std::to_string(config().shared_memory)
        );
    }
    state().shared_limits[kernel] = static_cast<size_t>(value);
    return cudaSuccess;
}
