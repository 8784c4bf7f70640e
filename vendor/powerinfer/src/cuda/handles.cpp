#include "handles.h"

#include <cstring>

namespace powerinfer::cuda {

namespace {

void copy(Stream stream, void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind) {
    if (n_bytes > 0) {
        check(cudaMemcpyAsync(to, from, n_bytes, kind, stream), "copy");
    }
}

} // namespace

DeviceMemory::DeviceMemory(size_t n_bytes) : n_bytes_(n_bytes) {
    if (n_bytes == 0) {
        return;
    }
    check(cudaMalloc(reinterpret_cast<void**>(&data_), n_bytes), "allocation on the device");
    cudaError_t status = cudaMemset(data_, 0, n_bytes);
    if (status == cudaSuccess) { // our streams do not wait for the one that clears
        status = cudaStreamSynchronize(nullptr);
    }
    if (status != cudaSuccess) {
        static_cast<void>(cudaFree(data_));
        check(status, "clearing of the device's memory");
    }
}

DeviceMemory::~DeviceMemory() {
    if (data_ != nullptr) {
        static_cast<void>(cudaFree(data_));
    }
}

PinnedMemory::PinnedMemory(size_t n_bytes) : n_bytes_(n_bytes) {
    if (n_bytes == 0) {
        return;
    }
    const unsigned flags = cudaHostAllocMapped | cudaHostAllocPortable;
    check(cudaHostAlloc(reinterpret_cast<void**>(&data_), n_bytes, flags), "pinned memory");
    std::memset(data_, 0, n_bytes);
    const cudaError_t status =
        cudaHostGetDevicePointer(reinterpret_cast<void**>(&device_), data_, 0);
    if (status != cudaSuccess) {
        static_cast<void>(cudaFreeHost(data_));
        check(status, "the device's address of pinned memory");
    }
}

PinnedMemory::~PinnedMemory() {
    if (data_ != nullptr) {
        static_cast<void>(cudaFreeHost(data_));
    }
}

OwnedStream::OwnedStream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
}

OwnedStream::~OwnedStream() {
    static_cast<void>(cudaStreamDestroy(stream_));
}

void OwnedStream::wait() const {
    check(cudaStreamSynchronize(stream_), "the device");
}

void OwnedStream::drain() const noexcept {
    static_cast<void>(cudaStreamSynchronize(stream_));
}

void OwnedStream::begin_after(const Event& event) const {
    check(cudaStreamWaitEvent(stream_, event.event_, 0), "event");
}

Event::Event(Kind kind) {
    const unsigned flags = kind == Kind::timed ? cudaEventDefault : cudaEventDisableTiming;
    check(cudaEventCreateWithFlags(&event_, flags), "event");
}

Event::~Event() {
    if (event_ != nullptr) {
        static_cast<void>(cudaEventDestroy(event_)); // nobody is left to tell
    }
}

void Event::record(Stream stream) const {
    check(cudaEventRecord(event_, stream), "event");
}

void Event::wait() const {
    check(cudaEventSynchronize(event_), "the device");
}

double Event::milliseconds_since(const Event& earlier) const {
    float milliseconds = 0.0F;
    check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "time of an event");
    return static_cast<double>(milliseconds);
}

bool Event::is_done() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) {
        static_cast<void>(cudaGetLastError()); // an answer, and no error of the next launch
        return false;
    }
    check(status, "the device");
    return true;
}

Graph::~Graph() {
    if (graph_ != nullptr) {
        static_cast<void>(cudaGraphExecDestroy(graph_));
    }
}

void Graph::begin(Stream stream) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture of a graph");
}

void Graph::abandon(Stream stream) noexcept {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) {
        static_cast<void>(cudaGraphDestroy(graph));
    }
}

void Graph::end(Stream stream) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream, &graph), "capture of a graph");
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    check(status, "a captured graph");
}

void Graph::launch(Stream stream) const {
    check(cudaGraphLaunch(graph_, stream), "launch of a graph");
}

void copy_to_device(Stream stream, void* to, const void* from, size_t n_bytes) {
    copy(stream, to, from, n_bytes, cudaMemcpyHostToDevice);
}

void copy_to_host(Stream stream, void* to, const void* from, size_t n_bytes) {
    copy(stream, to, from, n_bytes, cudaMemcpyDeviceToHost);
}

void clear(Stream stream, void* memory, size_t n_bytes) {
    check(cudaMemsetAsync(memory, 0, n_bytes, stream), "clearing of the device's memory");
}

void copy_on_device(Stream stream, void* to, const void* from, size_t n_bytes) {
    copy(stream, to, from, n_bytes, cudaMemcpyDeviceToDevice);
}

} // namespace powerinfer::cuda
