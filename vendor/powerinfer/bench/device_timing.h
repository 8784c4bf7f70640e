// How long the device takes: how much is measured, events around it, medians.
#pragma once

#include "cuda/handles.h"
#include "device.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace bench {

using namespace powerinfer;
using namespace powerinfer::cuda;

// How much is measured. The emulated device has no speed: there the program only has to work.
struct Effort {
    size_t copied_bytes;
    double rotated_caches; // of the size of the device's second cache
    int n_passes;
    int n_positions[2];
    size_t n_steps;
    int prompts[2]; // tokens
};

inline const Effort& effort() {
    static constexpr Effort kFull = {size_t{1} << 30, 4, 20, {256, 4096}, 64, {256, 512}};
    static constexpr Effort kLittle = {size_t{1} << 20, 0, 2, {32, 288}, 2, {40, 64}};
    static const bool is_emulated = std::string_view(device_info(0).api) == "emulated";
    return is_emulated ? kLittle : kFull;
}

struct Timing {
    double median; // seconds
    double least;
    double most;
};

inline Timing timing_of(std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

// A pair of points in a stream, for the time between them.
class Stopwatch {
public:
    explicit Stopwatch(Stream stream) : stream_(stream) {}

    template <typename F>
    double seconds(F&& enqueue) {
        begin_.record(stream_);
        enqueue();
        end_.record(stream_);
        end_.wait();
        return 1e-3 * end_.milliseconds_since(begin_);
    }

private:
    Stream stream_;
    Event begin_{Event::Kind::timed};
    Event end_{Event::Kind::timed};
};

// Elements in the device's memory.
template <typename T>
class Array {
public:
    explicit Array(const std::vector<T>& values)
        : n_(values.size()), memory_(std::max<size_t>(1, n_ * sizeof(T))) {
        const OwnedStream stream;
        copy_to_device(stream, memory_.data(), values.data(), n_ * sizeof(T));
        stream.wait();
    }
    explicit Array(size_t n) : Array(std::vector<T>(n)) {}

    size_t size() const { return n_; }
    T* data() const { return reinterpret_cast<T*>(memory_.data()); }

private:
    size_t n_;
    DeviceMemory memory_;
};

} // namespace bench
