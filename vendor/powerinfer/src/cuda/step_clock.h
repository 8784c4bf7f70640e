// How long device and host compute in a step, and how long both at once at their shares of a layer.
//
// The device's times come from events in its stream, in front of and behind what is launched, never
// inside of a graph: an event that is captured has no time of its own. Events are recorded only if
// times are wanted, as each costs both sides about a microsecond, and there are four a layer.
#pragma once

#include "../overlap.h"
#include "../stats.h"
#include "handles.h"

#include <chrono>
#include <cstddef>
#include <vector>

namespace powerinfer::cuda {

class StepClock {
public:
    // One that is off does nothing.
    explicit StepClock(bool is_on) : is_on_(is_on) {}

    // A step begins; what was measured of one before that never ended is forgotten.
    void begin();

    // Around what is enqueued. With `is_share` the host has a share of the same layer. Returns a
    // number for see_device.
    void start_device(Stream stream);
    size_t stop_device(Stream stream, bool is_share = false);
    // The host knows since just now that the device came to the end of this.
    void see_device(size_t number);
    // Around what the host computes of its shares.
    void start_host();
    void stop_host();

    // Adds the times of the step, for which the device must be done.
    void add_to(Stats& stats);

private:
    using Clock = std::chrono::steady_clock;
    struct DeviceSpan {
        Event begin{Event::Kind::timed};
        Event end{Event::Kind::timed};
        bool is_share = false;
        double seen = 0.0; // 0: never
    };

    double now() const noexcept;

    bool is_on_;
    Clock::time_point start_{};
    std::vector<DeviceSpan> device_; // as many as any step had; of this one the first n_device_
    size_t n_device_ = 0;
    std::vector<WorkSpan> device_shares_; // on the device's clock
    std::vector<WorkSpan> host_spans_;
    std::vector<Sighting> sightings_;
};

} // namespace powerinfer::cuda
