// Owners of what the CUDA runtime hands out.
#pragma once

#include "runtime.h"

#include <cstddef>
#include <utility>

namespace powerinfer::cuda {

// Memory of the device, zeroed.
class DeviceMemory {
public:
    explicit DeviceMemory(size_t n_bytes);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    std::byte* data() const noexcept { return data_; }
    size_t n_bytes() const noexcept { return n_bytes_; }

private:
    std::byte* data_ = nullptr;
    size_t n_bytes_;
};

// Memory of the host that the device reads and writes where it is, zeroed.
class PinnedMemory {
public:
    explicit PinnedMemory(size_t n_bytes);
    ~PinnedMemory();
    PinnedMemory(const PinnedMemory&) = delete;
    PinnedMemory& operator=(const PinnedMemory&) = delete;

    std::byte* data() const noexcept { return data_; }
    size_t n_bytes() const noexcept { return n_bytes_; }
    // The device's address of something in this memory.
    template <typename T>
    T* on_device(T* p) const noexcept {
        return reinterpret_cast<T*>(device_ + (reinterpret_cast<std::byte*>(p) - data_));
    }

private:
    std::byte* data_ = nullptr;
    std::byte* device_ = nullptr;
    size_t n_bytes_;
};

class Event;

class OwnedStream {
public:
    OwnedStream();
    ~OwnedStream();
    OwnedStream(const OwnedStream&) = delete;
    OwnedStream& operator=(const OwnedStream&) = delete;

    operator Stream() const noexcept { return stream_; }
    // Until all that was enqueued is done; throws what it failed with.
    void wait() const;
    // The same where an error is of no use, or would hide the first one.
    void drain() const noexcept;
    // What is enqueued from now on begins after the event; the host does not wait.
    void begin_after(const Event& event) const;

private:
    Stream stream_ = nullptr;
};

// A point in a stream.
class Event {
public:
    enum class Kind { untimed, timed }; // a time costs the device a write

    explicit Event(Kind kind = Kind::untimed);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
    Event& operator=(Event&&) = delete;

    void record(Stream stream) const;
    void wait() const;
    bool is_done() const;
    // Of two that are timed and that the device has passed.
    double milliseconds_since(const Event& earlier) const;

private:
    friend class OwnedStream;
    cudaEvent_t event_ = nullptr;
};

// Work that was captured once and is launched as a whole.
class Graph {
public:
    // `body` enqueues to the stream, and allocates and waits for nothing.
    template <typename Body>
    Graph(Stream stream, Body&& body) {
        begin(stream);
        try {
            body();
        } catch (...) {
            abandon(stream);
            throw;
        }
        end(stream);
    }
    ~Graph();
    Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
    Graph& operator=(Graph&&) = delete;

    void launch(Stream stream) const;

private:
    static void begin(Stream stream);
    static void abandon(Stream stream) noexcept;
    void end(Stream stream);

    cudaGraphExec_t graph_ = nullptr;
};

void copy_to_device(Stream stream, void* to, const void* from, size_t n_bytes);
void copy_to_host(Stream stream, void* to, const void* from, size_t n_bytes);
void copy_on_device(Stream stream, void* to, const void* from, size_t n_bytes);
void clear(Stream stream, void* memory, size_t n_bytes);

} // namespace powerinfer::cuda
