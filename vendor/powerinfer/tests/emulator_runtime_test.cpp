// The emulator of the device: memory, streams, events and errors, as a host program sees them.
#include "emulator_cases.h"
#include "test_device.h"

#include <cmath>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace emulator_cases;

// ---- streams ----

void work_waits_for_the_host_to_wait() {
    const Stream stream;
    const Event event;
    const Number x(3);
    float result = -1;
    const auto work = [&] {
        scale(x, 2, 1, stream);
        must(cudaMemcpyAsync(&result, x.p, kSize, kToHost, stream));
        must(cudaEventRecord(event, stream));
    };
    work();
    CHECK_EQ(result, -1.0f); // a program that does not wait sees what was there
    must(cudaStreamSynchronize(nullptr));
    CHECK_EQ(result, -1.0f); // nor does waiting for another stream help
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(result, 7.0f);
    work();
    must(cudaEventSynchronize(event));
    CHECK_EQ(result, 15.0f);
    work();
    int n_asked = 1;
    while (cudaEventQuery(event) == cudaErrorNotReady) {
        CHECK_EQ(cudaGetLastError(), cudaErrorNotReady); // as on CUDA, until it is taken
        ++n_asked;
    }
    CHECK_EQ(n_asked, 3); // a kernel, a copy, the event
    CHECK_EQ(result, 31.0f);
    work();
    must(cudaDeviceSynchronize());
    CHECK_EQ(result, 63.0f);
    emu::config().lazy = false;
    work();
    CHECK_EQ(result, 127.0f);
    emu::config() = {};
}

void a_stream_runs_only_as_far_as_is_waited_for() {
    const Stream stream;
    const Event event;
    const Number x(1);
    float results[2] = {};
    must(cudaMemcpyAsync(&results[0], x.p, kSize, kToHost, stream));
    must(cudaEventRecord(event, stream));
    must(cudaMemcpyAsync(&results[1], x.p, kSize, kToHost, stream));
    must(cudaEventSynchronize(event));
    CHECK_EQ(results[0], 1.0f);
    CHECK_EQ(results[1], 0.0f);
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(results[1], 1.0f);
}

void a_staging_buffer_that_is_used_again_too_early_is_seen() {
    const Stream stream;
    const Number x(0);
    float* staging = nullptr;
    must(cudaHostAlloc(&staging, kSize, cudaHostAllocPortable));
    CHECK(std::isnan(*staging));
    *staging = 1;
    must(cudaMemcpyAsync(x.p, staging, kSize, kToDevice, stream));
    *staging = 2;
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(x.value(), 2.0f);
    must(cudaFreeHost(staging));
}

// The one stream multiplies by 2, the other adds 3: right is "first the one, then the other".
float in_two_streams(bool waits) {
    const Stream one;
    const Stream other;
    const Event event;
    const Number x(1);
    scale(x, 2, 0, one);
    must(cudaEventRecord(event, one));
    scale(x, 5, 0, one); // after the event, so before or after what the other one does
    if (waits) {
        must(cudaStreamWaitEvent(other, event));
    }
    scale(x, 1, 3, other);
    must(cudaStreamSynchronize(other));
    must(cudaStreamSynchronize(one));
    return x.value();
}

void a_stream_waits_for_the_event_of_another() {
    bool differs = false;
    device::in_all_orders([&] {
        const float waiting = in_two_streams(true);
        CHECK_MSG(waiting == 25 || waiting == 13, "%g", static_cast<double>(waiting));
        const float running = in_two_streams(false);
        differs = differs || (running != 25 && running != 13);
    });
    CHECK(differs); // the wait that is left out shows
    // Each recording is its own: a wait is for what was recorded when it was enqueued.
    const Stream one;
    const Stream other;
    const Event event;
    const Number x(1);
    must(cudaStreamWaitEvent(other, event)); // never recorded: nothing to wait for
    must(cudaEventRecord(event, one));
    must(cudaStreamWaitEvent(other, event));
    scale(x, 2, 0, one);
    must(cudaEventRecord(event, one));
    scale(x, 1, 3, other);
    must(cudaStreamSynchronize(other));
    CHECK_EQ(x.value(), 4.0f);
}

// What one stream reads, the other one overwrites afterwards.
float read_before_overwriting(bool waits) {
    const Stream reader;
    const Stream writer;
    const Event has_read;
    const Number x(1);
    const Number sum(0);
    add(sum, x, reader);
    must(cudaEventRecord(has_read, reader));
    if (waits) {
        must(cudaStreamWaitEvent(writer, has_read));
    }
    scale(x, 0, 9, writer);
    must(cudaStreamSynchronize(reader));
    must(cudaStreamSynchronize(writer));
    return sum.value();
}

void a_stream_may_run_before_it_is_waited_for() {
    bool differs = false;
    device::in_all_orders([&] {
        CHECK_EQ(read_before_overwriting(true), 1.0f);
        differs = differs || read_before_overwriting(false) == 9;
    });
    CHECK(differs);
}

void time_passes_between_events() {
    const Stream stream;
    const Event begin(cudaEventDefault);
    const Event end(cudaEventDefault);
    const Event untimed;
    float milliseconds = -1;
    int* memory = nullptr;
    must(cudaMalloc(&memory, sizeof(int)));
    must(cudaEventRecord(begin, stream));
    for (int i = 0; i < 4; ++i) {
        must(cudaMemsetAsync(memory, i, sizeof(int), stream));
    }
    must(cudaEventRecord(end, stream));
    must(cudaEventRecord(untimed, stream));
    CHECK_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorNotReady);
    must(cudaEventSynchronize(end));
    must(cudaEventElapsedTime(&milliseconds, begin, end));
    CHECK_NEAR(milliseconds, 5e-3, 1e-9); // the end is an operation too
    must(cudaFree(memory));
    CHECK_EQ(cudaEventElapsedTime(&milliseconds, begin, untimed), cudaErrorInvalidResourceHandle);
    CHECK(!emu::take_error().empty());
}

// ---- memory ----

void memory_is_limited_and_counted() {
    emu::config().memory = 1000;
    emu::reset_memory_peak();
    CHECK_EQ(emu::memory_in_use(), size_t{0});
    size_t free = 0;
    size_t total = 0;
    float* a = nullptr;
    float* b = nullptr;
    must(cudaMalloc(&a, 600));
    CHECK_EQ(cudaMalloc(&b, 401), cudaErrorMemoryAllocation);
    CHECK(b == nullptr);
    // As on CUDA the error stays the last one until somebody takes it.
    CHECK_EQ(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
    CHECK_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
    CHECK_EQ(cudaGetLastError(), cudaSuccess);
    CHECK_ERROR(out_of_memory, "test", must(cudaMalloc(&b, 401)));
    CHECK_EQ(cudaGetLastError(), cudaSuccess); // reported once
    must(cudaMalloc(&b, 400));
    must(cudaMemGetInfo(&free, &total));
    CHECK_EQ(free, size_t{0});
    CHECK_EQ(total, size_t{1000});
    must(cudaFree(b));
    CHECK_EQ(emu::memory_in_use(), size_t{600});
    CHECK_EQ(emu::memory_peak(), size_t{1000});
    must(cudaFree(a));
    must(cudaFree(nullptr));
    CHECK_EQ(emu::memory_in_use(), size_t{0});
    CHECK_EQ(cudaFree(a), cudaErrorInvalidValue);
    CHECK(has(emu::take_error(), "cudaFree"));
    emu::config() = {};
}

void fresh_memory_is_not_a_number() {
    float* p = nullptr;
    std::vector<float> values(3);
    must(cudaMalloc(&p, 3 * kSize));
    must(cudaMemcpy(values.data(), p, 3 * kSize, kToHost));
    for (const float value : values) {
        CHECK(std::isnan(value));
    }
    must(cudaMemsetAsync(p, 0, 2 * kSize));
    must(cudaMemcpy(values.data(), p, 3 * kSize, kToHost));
    CHECK(values[0] == 0 && values[1] == 0 && std::isnan(values[2]));
    must(cudaFree(p));
}

void the_device_writes_to_memory_of_the_host() {
    const Stream stream;
    float* host = nullptr;
    float* p = nullptr;
    must(cudaHostAlloc(&host, kSize, cudaHostAllocMapped | cudaHostAllocPortable));
    must(cudaHostGetDevicePointer(&p, host, 0));
    *host = 4;
    PI_LAUNCH((scale_kernel), 1, 1, 0, stream)(p, 2.0f, 1.0f);
    CHECK_EQ(*host, 4.0f);
    must(cudaStreamSynchronize(stream));
    CHECK_EQ(*host, 9.0f);
    must(cudaFreeHost(host));
    CHECK_EQ(cudaHostGetDevicePointer(&p, host, 0), cudaErrorInvalidValue);
    CHECK(!emu::take_error().empty());
}

void copies_stay_within_what_was_allocated() {
    const Number x(1);
    float values[2] = {};
    CHECK_EQ(cudaMemcpy(x.p, values, 2 * kSize, kToDevice), cudaErrorInvalidValue);
    CHECK_EQ(cudaMemcpy(values, x.p + 1, kSize, kToHost), cudaErrorInvalidValue);
    CHECK_EQ(cudaMemcpy(values, values + 1, kSize, kToDevice), cudaErrorInvalidValue);
    CHECK_EQ(cudaMemcpy(values, values + 1, kSize, kToHost), cudaErrorInvalidValue);
    CHECK_EQ(cudaMemset(x.p, 0, 2 * kSize), cudaErrorInvalidValue);
    CHECK(has(emu::take_error(), "not within memory"));
    CHECK_EQ(x.value(), 1.0f);
}

// ---- errors and devices ----

void a_failed_kernel_fails_all_that_follows() {
    const Stream stream;
    const Number x(1);
    PI_LAUNCH((stuck_kernel), 1, 2, 0, stream)();
    cuda::check_launch("stuck"); // it has not run yet
    scale(x, 2, 0, stream);
    CHECK_ERROR(device, "waiting: unspecified launch failure: deadlock", [&] {
        cuda::check(cudaStreamSynchronize(stream), "waiting");
    }());
    CHECK_ERROR(device, "deadlock", cuda::check_launch("next"));
    CHECK_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    CHECK_EQ(cudaMemset(x.p, 0, kSize), cudaErrorLaunchFailure);
    CHECK(has(emu::take_error(), "deadlock"));
    CHECK_EQ(emu::take_error(), "");
    CHECK_EQ(x.value(), 1.0f); // what came after the failure did not run
    // One that nobody waited for.
    PI_LAUNCH((stuck_kernel), 1, 2, 0, stream)();
    CHECK(has(emu::take_error(), "deadlock"));
    CHECK_EQ(cudaGetErrorName(cudaErrorLaunchFailure), std::string("cudaErrorLaunchFailure"));
}

void a_call_fails_where_a_test_wants_it() {
    const Stream stream;
    const Number x(3);
    float results[3] = {};
    emu::config().fail_in = 2;
    must(cudaMemcpyAsync(&results[0], x.p, kSize, kToHost, stream));
    CHECK_EQ(cudaMemcpyAsync(&results[1], x.p, kSize, kToHost, stream), cudaErrorInvalidValue);
    CHECK(has(emu::take_error(), "as the test wants it"));
    must(cudaMemcpyAsync(&results[2], x.p, kSize, kToHost, stream));
    must(cudaStreamSynchronize(stream));
    CHECK(results[0] == 3.0f && results[1] == 0.0f && results[2] == 3.0f);
}

void there_may_be_no_device() {
    emu::config().n_devices = 0;
    int n = -1;
    float* p = nullptr;
    cudaStream_t stream = nullptr;
    CHECK_EQ(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    CHECK_EQ(n, 0);
    CHECK_EQ(cudaSetDevice(0), cudaErrorNoDevice);
    CHECK_EQ(cudaMalloc(&p, 4), cudaErrorNoDevice);
    CHECK_EQ(cudaStreamCreateWithFlags(&stream, 0), cudaErrorNoDevice);
    PI_LAUNCH((stuck_kernel), 1, 1, 0, nullptr)();
    CHECK_ERROR(device, "no CUDA-capable device", cuda::check_launch("stuck"));
    emu::config() = {};
    CHECK_EQ(emu::take_error(), "");
}

void the_device_says_what_it_is() {
    int n = 0;
    int device = -1;
    int version = 0;
    cudaDeviceProp properties = {};
    must(cudaGetDeviceCount(&n));
    CHECK_EQ(n, 1);
    must(cudaSetDevice(0));
    must(cudaGetDevice(&device));
    CHECK_EQ(device, 0);
    must(cudaGetDeviceProperties(&properties, 0));
    CHECK_EQ(properties.name, std::string("emulated"));
    CHECK_EQ(properties.totalGlobalMem, emu::config().memory);
    CHECK_EQ(properties.multiProcessorCount, emu::config().n_multiprocessors);
    CHECK_EQ(properties.sharedMemPerBlockOptin, emu::config().shared_memory);
    must(cudaDriverGetVersion(&version));
    CHECK(version >= 12000);
    CHECK_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
    CHECK_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
    CHECK(!emu::take_error().empty());
}

void threads_of_the_host_share_the_device() {
    const Number x(0);
    const Number y(0);
    const auto work = [](const Number& own) {
        const Stream stream;
        for (int i = 0; i < 100; ++i) {
            scale(own, 1, 1, stream);
        }
        must(cudaStreamSynchronize(stream));
    };
    std::thread helper([&] { work(y); });
    work(x);
    helper.join();
    CHECK_EQ(x.value(), 100.0f);
    CHECK_EQ(y.value(), 100.0f);
}

} // namespace

int main() {
    CHECK_RUN(work_waits_for_the_host_to_wait);
    CHECK_RUN(a_stream_runs_only_as_far_as_is_waited_for);
    CHECK_RUN(a_staging_buffer_that_is_used_again_too_early_is_seen);
    CHECK_RUN(a_stream_waits_for_the_event_of_another);
    CHECK_RUN(a_stream_may_run_before_it_is_waited_for);
    CHECK_RUN(time_passes_between_events);
    CHECK_RUN(memory_is_limited_and_counted);
    CHECK_RUN(fresh_memory_is_not_a_number);
    CHECK_RUN(the_device_writes_to_memory_of_the_host);
    CHECK_RUN(copies_stay_within_what_was_allocated);
    CHECK_RUN(a_failed_kernel_fails_all_that_follows);
    CHECK_RUN(a_call_fails_where_a_test_wants_it);
    CHECK_RUN(there_may_be_no_device);
    CHECK_RUN(the_device_says_what_it_is);
    CHECK_RUN(threads_of_the_host_share_the_device);
    return check::finish();
}
