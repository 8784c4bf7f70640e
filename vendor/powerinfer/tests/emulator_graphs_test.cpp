// The emulator of the device: graphs and their capture, as a host program sees them.
#include "emulator_cases.h"
#include "test_device.h"

namespace {

using namespace emulator_cases;

struct Executable {
    explicit Executable(cudaGraph_t graph) { must(cudaGraphInstantiate(&handle, graph, 0)); }
    ~Executable() { cudaGraphExecDestroy(handle); }
    Executable(const Executable&) = delete;
    Executable& operator=(const Executable&) = delete;

    cudaGraphExec_t handle = nullptr;
};

void begin_capture(cudaStream_t stream) {
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}

Executable end_capture(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    must(cudaStreamEndCapture(stream, &graph));
    struct Destroy {
        ~Destroy() { cudaGraphDestroy(graph); }
        cudaGraph_t graph;
    };
    const Destroy destroy = {graph};
    return Executable(graph);
}

__global__ void own_kernel() {}

// The first launch of a kernel loads it, which a capture may not have to do.
void a_kernel_is_launched_before_it_is_captured() {
    const Stream stream;
    cudaGraph_t graph = nullptr;
    begin_capture(stream);
    PI_LAUNCH((own_kernel), 1, 1, 0, stream)();
    CHECK(has(emu::take_error(), "first launch"));
    CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    CHECK(!emu::take_error().empty());
    PI_LAUNCH((own_kernel), 1, 1, 0, stream)();
    begin_capture(stream);
    PI_LAUNCH((own_kernel), 1, 1, 0, stream)();
    end_capture(stream);
    CHECK_EQ(emu::take_error(), "");

    const Number x(1); // those of the other cases
    scale(x, 1, 0, stream);
    add(x, x, stream);
    PI_LAUNCH((stuck_kernel), 1, 1, 0, stream)();
    must(cudaStreamSynchronize(stream));
}

void a_graph_replays_what_was_captured() {
    const Stream stream;
    const Number x(1);
    float result = 0;
    begin_capture(stream);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    must(cudaStreamIsCapturing(stream, &status));
    CHECK_EQ(status, cudaStreamCaptureStatusActive);
    scale(x, 2, 1, stream);
    must(cudaMemcpyAsync(&result, x.p, kSize, kToHost, stream));
    const Executable graph = end_capture(stream);
    must(cudaStreamIsCapturing(stream, &status));
    CHECK_EQ(status, cudaStreamCaptureStatusNone);
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(x.value(), 1.0f); // captured, not run
    must(cudaGraphLaunch(graph.handle, stream));
    must(cudaGraphLaunch(graph.handle, stream));
    CHECK_EQ(result, 0.0f);
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(result, 7.0f);
}

// x = 1 -> 2x; then y += x beside x2 += x, joined where x2 += y.
float forked(bool joins) {
    const Stream stream;
    const Stream beside;
    const Event fork;
    const Event join;
    const Number x(1);
    const Number y(10);
    const Number z(100);
    begin_capture(stream);
    scale(x, 2, 0, stream);
    must(cudaEventRecord(fork, stream));
    must(cudaStreamWaitEvent(beside, fork));
    add(y, x, beside);
    must(cudaEventRecord(join, beside));
    add(z, x, stream);
    if (joins) {
        must(cudaStreamWaitEvent(stream, join));
    }
    add(z, y, stream);
    if (!joins) {
        must(cudaStreamWaitEvent(stream, join)); // too late
    }
    const Executable graph = end_capture(stream);
    must(cudaGraphLaunch(graph.handle, stream));
    must(cudaStreamSynchronize(stream));
    return z.value();
}

void a_graph_forks_and_joins() {
    bool differs = false;
    device::in_all_orders([&] {
        CHECK_EQ(forked(true), 114.0f);
        differs = differs || forked(false) != 114;
    });
    CHECK(differs);
}

void a_capture_allows_no_waiting() {
    const Stream stream;
    const Stream other;
    const Event event;
    const Event earlier;
    must(cudaEventRecord(earlier, other));
    cudaGraph_t graph = nullptr;
    float* p = nullptr;
    const auto spoils = [&](cudaError_t wanted, auto&& call) {
        must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
        must(cudaEventRecord(event, stream));
        CHECK_EQ(call(), wanted);
        CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        CHECK(graph == nullptr);
        CHECK(!emu::take_error().empty());
    };
    spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamSynchronize(stream); });
    spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaDeviceSynchronize(); });
    spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaMalloc(&p, 4); });
    spoils(cudaErrorStreamCaptureUnsupported, [&] { return cudaEventQuery(earlier); });
    spoils(cudaErrorStreamCaptureIsolation, [&] { return cudaStreamWaitEvent(stream, earlier); });

    begin_capture(stream);
    must(cudaEventRecord(event, stream));
    must(cudaStreamWaitEvent(other, event));
    PI_LAUNCH((stuck_kernel), 1, 2, 0, other)(); // which is captured too, and not run
    CHECK_EQ(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureUnmatched);
    CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
    CHECK_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
    CHECK_EQ(
        cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed),
        cudaErrorStreamCaptureUnsupported
    );
    CHECK(!emu::take_error().empty());
}

} // namespace

int main() {
    CHECK_RUN(a_kernel_is_launched_before_it_is_captured);
    CHECK_RUN(a_graph_replays_what_was_captured);
    CHECK_RUN(a_graph_forks_and_joins);
    CHECK_RUN(a_capture_allows_no_waiting);
    return check::finish();
}
