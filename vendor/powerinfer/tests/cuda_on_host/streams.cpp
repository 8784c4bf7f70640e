// Work that waits: streams, events and graphs.
#include "state.h"

#include <algorithm>
#include <utility>

namespace emu {

namespace {

void step(Stream& stream) {
    const Operation operation = std::move(stream.queue.front());
    stream.queue.pop_front();
    State& s = state();
    s.n_operations += 1;
    operation();
    if (s.failed()) { // the device does nothing more
        for (Stream* each : s.streams) {
            each->queue.clear();
        }
    }
}

// Lets streams that nobody waits for get on, as a device may.
void run_others(Stream& stream) {
    State& s = state();
    if (config().order == Order::Forward) {
        return;
    }
    for (Stream* other : s.streams) {
        size_t n = other == &stream ? 0 : other->queue.size();
        if (n > 0 && config().order == Order::Shuffle) {
            n = s.random() % (n + 1);
        }
        for (; n > 0 && !other->queue.empty(); --n) {
            step(*other);
        }
    }
}

// Of a stream that somebody looks at: one operation, all, or some.
void run_some(Stream& stream) {
    const DeviceAccess access;
    size_t n = config().order == Order::Forward ? 1 : stream.queue.size();
    if (config().order == Order::Shuffle) {
        n = state().random() % (n + 1);
    }
    for (; n > 0 && !stream.queue.empty(); --n) {
        step(stream);
    }
}

template <typename Done>
void run_until(Stream& stream, Done&& done) {
    const DeviceAccess access;
    while (!done() && !stream.queue.empty()) {
        run_others(stream);
        if (!done() && !stream.queue.empty()) {
            step(stream);
        }
    }
}

// The stream has what comes before the recording; it does not wait for this one.
void run_until_recorded(const Record& record) {
    while (!record.done && !record.stream->queue.empty()) {
        step(*record.stream);
    }
}

size_t choose(const std::vector<size_t>& ready) {
    State& s = state();
    switch (config().order) {
    case Order::Forward:
        return static_cast<size_t>(std::ranges::min_element(ready) - ready.begin());
    case Order::Reverse:
        return static_cast<size_t>(std::ranges::max_element(ready) - ready.begin());
    case Order::Shuffle:
        break;
    }
    return s.random() % ready.size();
}

// Any order that keeps to the edges is right.
void replay(const std::vector<Node>& nodes) {
    std::vector<size_t> n_awaited(nodes.size());
    std::vector<std::vector<size_t>> followers(nodes.size());
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
        n_awaited[i] = nodes[i].after.size();
        for (const size_t before : nodes[i].after) {
            followers[before].push_back(i);
        }
        if (n_awaited[i] == 0) {
            ready.push_back(i);
        }
    }
    while (!ready.empty() && !state().failed()) {
        const size_t place = choose(ready);
        const size_t i = std::exchange(ready[place], ready.back());
        ready.pop_back();
        state().n_operations += 1;
        nodes[i].run();
        for (const size_t follower : followers[i]) {
            if (--n_awaited[follower] == 0) {
                ready.push_back(follower);
            }
        }
    }
}

void add(std::vector<size_t>& tail, const std::vector<size_t>& more) {
    for (const size_t i : more) {
        if (std::ranges::find(tail, i) == tail.end()) {
            tail.push_back(i);
        }
    }
}

// Whether the work of all streams comes before the end of the first.
bool is_joined(const Capture& capture) {
    std::vector<bool> reached(capture.nodes.size());
    std::vector<size_t> left = capture.streams.front()->tail;
    size_t n_reached = 0;
    while (!left.empty()) {
        const size_t i = left.back();
        left.pop_back();
        if (!reached[i]) {
            reached[i] = true;
            n_reached += 1;
            left.insert(left.end(), capture.nodes[i].after.begin(), capture.nodes[i].after.end());
        }
    }
    return n_reached == capture.nodes.size();
}

cudaError_t spoil(Capture& capture, cudaError_t error, std::string detail) {
    capture.is_valid = false;
    return keep(error, std::move(detail));
}

// A wait for an event that was recorded in a capture draws the stream into it.
cudaError_t wait_in_capture(Stream& stream, const Event& event) {
    if (event.capture->has_ended) {
        return keep(cudaErrorCapturedEvent, "the capture has ended");
    }
    if (stream.capture == nullptr) {
        stream.capture = event.capture;
        stream.capture->streams.push_back(&stream);
    } else if (stream.capture != event.capture) {
        return spoil(*stream.capture, cudaErrorStreamCaptureIsolation, "another capture");
    }
    add(stream.tail, event.tail);
    return cudaSuccess;
}

cudaError_t finish(Event& event) {
    if (event.capture != nullptr) {
        return spoil(*event.capture, cudaErrorCapturedEvent, "waited for by the host");
    }
    if (event.record != nullptr && !event.record->done) {
        run_until(*event.record->stream, [&] { return event.record->done; });
    }
    return unusable();
}

void detach(Stream& stream) {
    stream.capture = nullptr;
    stream.tail.clear();
}

} // namespace

Stream& stream_of(cudaStream_t stream) {
    return stream == nullptr ? state().null_stream : *stream;
}

cudaError_t enqueue(Stream& stream, Operation operation) {
    if (config().fail_in > 0 && --config().fail_in == 0) {
        return keep(cudaErrorInvalidValue, "as the test wants it");
    }
    if (Capture* capture = stream.capture.get(); capture != nullptr) {
        if (!capture->is_valid) {
            return keep(cudaErrorStreamCaptureInvalidated, "");
        }
        capture->nodes.push_back({std::move(operation), std::move(stream.tail)});
        stream.tail = {capture->nodes.size() - 1};
        return cudaSuccess;
    }
    stream.queue.push_back(std::move(operation));
    if (!config().lazy) {
        run_to_end(stream);
    }
    return unusable();
}

size_t waiting_operations() {
    const std::lock_guard lock(state().mutex);
    size_t n = 0;
    for (const Stream* stream : state().streams) {
        n += stream->queue.size();
    }
    return n;
}

void run_to_end(Stream& stream) {
    run_until(stream, [] { return false; });
}

void run_all() {
    const std::vector<Stream*>& streams = state().streams;
    for (Stream* stream : streams) {
        run_to_end(*stream);
    }
}

} // namespace emu

using namespace emu;

// ---- streams ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const cudaError_t error = unusable();
    if (error == cudaSuccess) {
        *stream = new Stream;
        s.streams.push_back(*stream);
    }
    return error;
}

// What was enqueued still runs, as on CUDA.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const auto found = std::ranges::find(s.streams, stream);
    if (stream == nullptr || found == s.streams.end()) {
        return keep(cudaErrorInvalidResourceHandle, "cudaStreamDestroy");
    }
    run_to_end(*stream);
    if (stream->capture != nullptr) {
        stream->capture->is_valid = false;
        std::erase(stream->capture->streams, stream);
    }
    s.streams.erase(found);
    delete stream;
    return unusable();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    Stream& s = stream_of(stream);
    if (s.capture != nullptr) {
        return spoil(*s.capture, cudaErrorStreamCaptureUnsupported, "cudaStreamSynchronize");
    }
    run_to_end(s);
    return unusable();
}

cudaError_t cudaDeviceSynchronize() {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    for (const Stream* stream : state().streams) {
        if (stream->capture != nullptr) {
            return spoil(
                *stream->capture, cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize"
            );
        }
    }
    run_all();
    return unusable();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    Stream& s = stream_of(stream);
    if (event->capture != nullptr) {
        return wait_in_capture(s, *event);
    }
    if (event->record == nullptr) {
        return cudaSuccess;
    }
    if (s.capture != nullptr) {
        return spoil(*s.capture, cudaErrorStreamCaptureIsolation, "cudaStreamWaitEvent");
    }
    return enqueue(s, [record = event->record] { run_until_recorded(*record); });
}

// ---- events ----

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error == cudaSuccess) {
        *event = new Event{flags, nullptr, nullptr, {}};
    }
    return error;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const std::lock_guard lock(state().mutex);
    delete event;
    return unusable();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    Stream& s = stream_of(stream);
    event->capture = s.capture;
    event->tail = s.tail;
    event->record = nullptr;
    if (s.capture != nullptr) {
        return cudaSuccess;
    }
    event->record = std::make_shared<Record>(Record{&s, false, {}});
    return enqueue(s, [record = event->record] {
        record->done = true;
        record->time = state().n_operations;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unsafe("cudaEventSynchronize");
    return error != cudaSuccess ? error : finish(*event);
}

// The stream gets on by a part of what it has: a program that asks until it is done gets there.
cudaError_t cudaEventQuery(cudaEvent_t event) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unsafe("cudaEventQuery");
    if (error != cudaSuccess) {
        return error;
    }
    if (event->capture != nullptr || event->record == nullptr || event->record->done) {
        return finish(*event);
    }
    const Record& record = *event->record;
    run_some(*record.stream);
    const cudaError_t after = unusable();
    return after == cudaSuccess && !record.done ? keep(cudaErrorNotReady, "") : after;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    if (((begin->flags | end->flags) & cudaEventDisableTiming) != 0 || begin->record == nullptr ||
        end->record == nullptr) {
        return keep(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime");
    }
    if (!begin->record->done || !end->record->done) {
        return keep(cudaErrorNotReady, "cudaEventElapsedTime");
    }
    const auto time = [](cudaEvent_t event) { return static_cast<double>(event->record->time); };
    *milliseconds = static_cast<float>(1e-3 * (time(end) - time(begin)));
    return cudaSuccess;
}

// ---- graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    if (stream == nullptr) {
        return keep(cudaErrorStreamCaptureUnsupported, "the null stream");
    }
    if (stream->capture != nullptr) {
        return spoil(*stream->capture, cudaErrorStreamCaptureUnsupported, "already capturing");
    }
    stream->capture = std::make_shared<Capture>();
    stream->capture->mode = mode;
    stream->capture->thread = std::this_thread::get_id();
    stream->capture->streams = {stream};
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const std::lock_guard lock(state().mutex);
    *graph = nullptr;
    const std::shared_ptr<Capture> capture = stream_of(stream).capture;
    if (capture == nullptr || capture->streams.front() != stream) {
        return keep(cudaErrorStreamCaptureUnmatched, "");
    }
    const bool joined = is_joined(*capture);
    for (Stream* each : capture->streams) {
        detach(*each);
    }
    capture->has_ended = true;
    if (!capture->is_valid) {
        return keep(cudaErrorStreamCaptureInvalidated, "");
    }
    if (!joined) {
        return keep(cudaErrorStreamCaptureUnjoined, "");
    }
    *graph = new Graph{std::move(capture->nodes)};
    return unusable();
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const std::lock_guard lock(state().mutex);
    const Capture* capture = stream_of(stream).capture.get();
    *status = capture == nullptr  ? cudaStreamCaptureStatusNone
              : capture->is_valid ? cudaStreamCaptureStatusActive
                                  : cudaStreamCaptureStatusInvalidated;
    return unusable();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error == cudaSuccess) {
        *exec = new GraphExec{std::make_shared<const std::vector<Node>>(graph->nodes)};
    }
    return error;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    const std::lock_guard lock(state().mutex);
    const cudaError_t error = unusable();
    if (error != cudaSuccess) {
        return error;
    }
    Stream& s = stream_of(stream);
    if (s.capture != nullptr) {
        return spoil(*s.capture, cudaErrorStreamCaptureUnsupported, "a graph is not nested here");
    }
    return enqueue(s, [nodes = exec->nodes] { replay(*nodes); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    const std::lock_guard lock(state().mutex);
    delete graph;
    return unusable();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    const std::lock_guard lock(state().mutex);
    delete exec;
    return unusable();
}
