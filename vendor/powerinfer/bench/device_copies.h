// Speed of copies on the device, and to and from it.
#pragma once

#include "device_timing.h"

#include <cstdio>
#include <functional>

namespace bench {

inline void print_copy(const char* what, double n_bytes, const Timing& t) {
    std::printf(
        "%-36s %10.2f GB/s (%.2f..%.2f)\n",
        what,
        n_bytes / t.median / 1e9,
        n_bytes / t.most / 1e9,
        n_bytes / t.least / 1e9
    );
}

inline Timing time_copies(Stream stream, const std::function<void()>& copy) {
    Stopwatch watch(stream);
    std::vector<double> seconds;
    for (int i = -2; i < effort().n_passes; ++i) { // two to warm up
        const double time = watch.seconds(copy);
        if (i >= 0) {
            seconds.push_back(time);
        }
    }
    return timing_of(seconds);
}

// Returns bytes read and written on the device, a second.
inline double measure_copies() {
    const size_t n = effort().copied_bytes;
    const OwnedStream stream;
    const DeviceMemory from(n);
    const DeviceMemory to(n);
    const Timing on_device =
        time_copies(stream, [&] { copy_on_device(stream, to.data(), from.data(), n); });
    const auto bytes = static_cast<double>(n);
    print_copy("copy on the device, read + written", 2 * bytes, on_device);
    const size_t n_host = n / 4;
    const PinnedMemory host(n_host);
    print_copy("host to device, pinned", bytes / 4, time_copies(stream, [&] {
                   copy_to_device(stream, to.data(), host.data(), n_host);
               }));
    print_copy("device to host, pinned", bytes / 4, time_copies(stream, [&] {
                   copy_to_host(stream, host.data(), from.data(), n_host);
               }));
    return 2 * bytes / on_device.median;
}

} // namespace bench
