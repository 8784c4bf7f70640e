// What the emulated runtime knows: memory, errors, and work that waits in streams.
#pragma once

#include "runtime.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace emu {

using Operation = std::function<void()>;

// One recording of an event.
struct Record {
    Stream* stream; // valid until done
    bool done = false;
    uint64_t time; // operations that had begun
};

struct Node {
    Operation run;
    std::vector<size_t> after; // the nodes that it waits for
};

struct Graph {
    std::vector<Node> nodes;
};

struct GraphExec {
    std::shared_ptr<const std::vector<Node>> nodes; // outlives the launches
};

struct Capture {
    std::vector<Node> nodes;
    std::vector<Stream*> streams; // the first one began it
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    bool is_valid = true;
    bool has_ended = false;
};

struct Stream {
    std::deque<Operation> queue;
    std::shared_ptr<Capture> capture; // nullptr: none
    std::vector<size_t> tail;         // nodes of the capture that the next one comes after
};

struct Event {
    unsigned flags;
    std::shared_ptr<Record> record;   // nullptr: none
    std::shared_ptr<Capture> capture; // in which it was recorded
    std::vector<size_t> tail;         // nodes that it comes after there
};

struct State {
    std::recursive_mutex mutex; // of all that follows; held while work runs
    std::map<std::byte*, size_t> device_memory;
    std::map<std::byte*, size_t> host_memory; // pinned
    size_t in_use = 0;
    size_t peak = 0;
    int n_accesses = 0; // DeviceAccess that live

    cudaError_t error = cudaSuccess; // the last one
    cudaError_t detailed = cudaSuccess;
    std::string detail; // of the error `detailed`

    uint64_t n_operations = 0; // that began

    Stream null_stream;
    std::vector<Stream*> streams{&null_stream};
    std::map<const void*, size_t> shared_limits; // of kernels that asked for more than 48 KiB
    std::set<const void*> loaded;                // kernels that were launched
    std::minstd_rand random;

    bool failed() const { return error == cudaErrorLaunchFailure; }
};

State& state();

// Keeps the error for cudaGetLastError, and returns it. One of a kernel stays.
cudaError_t keep(cudaError_t error, std::string detail);

// Why no call can succeed, or cudaSuccess.
cudaError_t unusable();
// The same for calls that a capture in progress forbids, which it spoils.
cudaError_t unsafe(const char* call);

// While it lives, memory of the device can be read and written: under the address sanitizer no
// host code may touch it.
class DeviceAccess {
public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
    DeviceAccess& operator=(const DeviceAccess&) = delete;
};

Stream& stream_of(cudaStream_t stream);
// Adds to what the stream will do, or to the graph that it captures.
cudaError_t enqueue(Stream& stream, Operation operation);
void run_to_end(Stream& stream);
void run_all();

} // namespace emu
