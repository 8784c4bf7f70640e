// Times of two parties with a clock each: how long each was at work, and how long both at once.
#pragma once

#include <span>

namespace powerinfer {

// From `begin` to `end` on the clock of whoever is at work, nanoseconds.
struct WorkSpan {
    double begin;
    double end;

    double length() const noexcept { return end - begin; }
};

// The other's clock, `theirs`, when ours showed `ours`, which is when we knew: never too early.
struct Sighting {
    double ours;
    double theirs;
};

// What is to be added to their clock to get ours: the least that was seen, as what was seen at once
// was seen soonest. 0 if nothing was.
double clock_offset(std::span<const Sighting> sightings) noexcept;

// How long somebody of `a` and somebody of `b` were at work, with `offset` added to the clock of
// `b`. Both are in order, and no two of one party overlap.
double overlap(std::span<const WorkSpan> a, std::span<const WorkSpan> b, double offset) noexcept;

} // namespace powerinfer
