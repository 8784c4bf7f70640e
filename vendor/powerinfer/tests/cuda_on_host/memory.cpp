// Memory of the device, and memory of the host that the device reaches.
#include "sanitizers.h"
#include "state.h"

#include <cstring>
#include <new>

namespace emu {

namespace {

constexpr std::align_val_t kAlignment{256};

using Allocations = std::map<std::byte*, size_t>;

// Exactly as long as asked for, so that the address sanitizer sees the first byte behind it.
std::byte* allocate(Allocations& allocations, size_t n_bytes) {
    auto* p = static_cast<std::byte*>(::operator new(n_bytes, kAlignment, std::nothrow));
    if (p != nullptr) {
        std::memset(p, 0xff, n_bytes);
        allocations[p] = n_bytes;
    }
    return p;
}

bool lies_in(const Allocations& allocations, const void* p, size_t n_bytes) {
    auto* begin = const_cast<std::byte*>(static_cast<const std::byte*>(p));
    auto next = allocations.upper_bound(begin);
    if (next == allocations.begin()) {
        return false;
    }
    --next;
    const auto offset = static_cast<size_t>(begin - next->first);
    return offset <= next->second && n_bytes <= next->second - offset;
}

cudaError_t no_such_memory(const char* call) {
    return keep(
        cudaErrorInvalidValue, std::string(call) + ": not within memory that was allocated for it"
    );
}

cudaError_t check_copy(const void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind) {
    const Allocations& device = state().device_memory;
    const bool writes_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool reads_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (writes_device && !lies_in(device, to, n_bytes)) {
        return no_such_memory("destination of a copy");
    }
    if (reads_device && !lies_in(device, from, n_bytes)) {
        return no_such_memory("source of a copy");
    }
    return cudaSuccess;
}

cudaError_t enqueue_copy(
    void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind, Stream& stream
) {
    const cudaError_t error = check_copy(to, from, n_bytes, kind);
    if (error != cudaSuccess || n_bytes == 0) {
        return error;
    }
    return enqueue(stream, [=] { std::memmove(to, from, n_bytes); });
}

cudaError_t enqueue_set(void* to, int byte, size_t n_bytes, Stream& stream) {
    const State& s = state();
    if (!lies_in(s.device_memory, to, n_bytes) && !lies_in(s.host_memory, to, n_bytes)) {
        return no_such_memory("cudaMemset");
    }
    if (n_bytes == 0) {
        return cudaSuccess;
    }
    return enqueue(stream, [=] { std::memset(to, byte, n_bytes); });
}

void free_memory(Allocations& allocations, Allocations::iterator found) {
    ::operator delete(found->first, kAlignment);
    allocations.erase(found);
}

} // namespace

DeviceAccess::DeviceAccess() {
    State& s = state();
    if (s.n_accesses++ == 0) {
        for (const auto& [p, n_bytes] : s.device_memory) {
            unpoison(p, n_bytes);
        }
    }
}

DeviceAccess::~DeviceAccess() {
    State& s = state();
    if (--s.n_accesses == 0) {
        for (const auto& [p, n_bytes] : s.device_memory) {
            poison(p, n_bytes);
        }
    }
}

size_t memory_in_use() {
    const std::lock_guard lock(state().mutex);
    return state().in_use;
}

size_t memory_peak() {
    const std::lock_guard lock(state().mutex);
    return state().peak;
}

void reset_memory_peak() {
    const std::lock_guard lock(state().mutex);
    state().peak = state().in_use;
}

} // namespace emu

using namespace emu;

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error == cudaSuccess) {
        *total = config().memory;
        *free = config().memory - std::min(config().memory, state().in_use);
    }
    return error;
}

cudaError_t cudaMalloc(void** p, size_t n_bytes) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const cudaError_t error = unsafe("cudaMalloc");
    if (error != cudaSuccess) {
        return error;
    }
    *p = nullptr;
    if (n_bytes == 0) {
        return cudaSuccess;
    }
    if (s.in_use > config().memory || n_bytes > config().memory - s.in_use) {
        return keep(cudaErrorMemoryAllocation, "");
    }
    *p = allocate(s.device_memory, n_bytes);
    if (*p == nullptr) {
        return keep(cudaErrorMemoryAllocation, "the host has no memory for it");
    }
    poison(*p, n_bytes);
    s.in_use += n_bytes;
    s.peak = std::max(s.peak, s.in_use);
    return cudaSuccess;
}

// Waits for all streams, as CUDA's does.
cudaError_t cudaFree(void* p) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    run_all();
    // What is left after a failure is freed all the same: tests go on after one.
    const auto found = s.device_memory.find(static_cast<std::byte*>(p));
    if (found != s.device_memory.end()) {
        s.in_use -= found->second;
        unpoison(found->first, found->second);
        free_memory(s.device_memory, found);
    } else if (p != nullptr) {
        return no_such_memory("cudaFree");
    }
    return unsafe("cudaFree");
}

cudaError_t cudaHostAlloc(void** p, size_t n_bytes, unsigned) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const cudaError_t error = unsafe("cudaHostAlloc");
    if (error != cudaSuccess) {
        return error;
    }
    *p = n_bytes == 0 ? nullptr : allocate(s.host_memory, n_bytes);
    return *p == nullptr && n_bytes > 0 ? keep(cudaErrorMemoryAllocation, "pinned memory")
                                        : cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    run_all();
    const auto found = s.host_memory.find(static_cast<std::byte*>(p));
    if (found != s.host_memory.end()) {
        free_memory(s.host_memory, found);
    } else if (p != nullptr) {
        return no_such_memory("cudaFreeHost");
    }
    return unsafe("cudaFreeHost");
}

cudaError_t cudaHostGetDevicePointer(void** p, void* host, unsigned) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    if (!lies_in(state().host_memory, host, 1)) {
        return no_such_memory("cudaHostGetDevicePointer");
    }
    *p = host;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(
    void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream
) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    return error != cudaSuccess ? error : enqueue_copy(to, from, n_bytes, kind, stream_of(stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    cudaError_t error = unsafe("cudaMemcpy");
    if (error == cudaSuccess) {
        error = enqueue_copy(to, from, n_bytes, kind, s.null_stream);
    }
    if (error == cudaSuccess) {
        run_to_end(s.null_stream);
        error = unusable();
    }
    return error;
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t n_bytes, cudaStream_t stream) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    return error != cudaSuccess ? error : enqueue_set(to, byte, n_bytes, stream_of(stream));
}

// Does not wait, as CUDA's.
cudaError_t cudaMemset(void* to, int byte, size_t n_bytes) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unsafe("cudaMemset");
    return error != cudaSuccess ? error : enqueue_set(to, byte, n_bytes, state().null_stream);
}
