#include "step_clock.h"

#include <cmath>

namespace powerinfer::cuda {

namespace {

constexpr double kNanoseconds = 1e6; // of a millisecond

uint64_t rounded(double nanoseconds) noexcept {
    return static_cast<uint64_t>(std::llround(nanoseconds));
}

} // namespace

double StepClock::now() const noexcept {
    return std::chrono::duration<double, std::nano>(Clock::now() - start_).count();
}

void StepClock::begin() {
    start_ = Clock::now();
    n_device_ = 0;
    host_spans_.clear();
}

void StepClock::start_device(Stream stream) {
    if (!is_on_) {
        return;
    }
    if (n_device_ == device_.size()) {
        device_.emplace_back();
    }
    device_[n_device_].begin.record(stream);
    device_[n_device_].seen = 0.0;
}

size_t StepClock::stop_device(Stream stream, bool is_share) {
    if (!is_on_) {
        return 0;
    }
    device_[n_device_].end.record(stream);
    device_[n_device_].is_share = is_share;
    return n_device_++;
}

void StepClock::see_device(size_t number) {
    if (is_on_) {
        device_[number].seen = now();
    }
}

void StepClock::start_host() {
    if (is_on_) {
        host_spans_.push_back({now(), 0.0});
    }
}

void StepClock::stop_host() {
    if (is_on_) {
        host_spans_.back().end = now();
    }
}

// The device's clock begins with its first span.
void StepClock::add_to(Stats& stats) {
    if (!is_on_) {
        return;
    }
    device_shares_.clear();
    sightings_.clear();
    double all = 0.0;
    double shares = 0.0;
    for (size_t i = 0; i < n_device_; ++i) {
        const DeviceSpan& device = device_[i];
        const Event& first = device_.front().begin;
        const WorkSpan span{
            kNanoseconds * device.begin.milliseconds_since(first),
            kNanoseconds * device.end.milliseconds_since(first)
        };
        all += span.length();
        if (device.is_share) {
            shares += span.length();
            device_shares_.push_back(span);
        }
        if (device.seen > 0.0) {
            sightings_.push_back({device.seen, span.end});
        }
    }
    stats.device_ns += rounded(all);
    stats.device_share_ns += rounded(shares);
    stats.overlap_ns += rounded(overlap(host_spans_, device_shares_, clock_offset(sightings_)));
}

} // namespace powerinfer::cuda
