#include "overlap.h"

#include <algorithm>

namespace powerinfer {

double clock_offset(std::span<const Sighting> sightings) noexcept {
    if (sightings.empty()) {
        return 0.0;
    }
    double least = sightings.front().ours - sightings.front().theirs;
    for (const Sighting& seen : sightings) {
        least = std::min(least, seen.ours - seen.theirs);
    }
    return least;
}

double overlap(std::span<const WorkSpan> a, std::span<const WorkSpan> b, double offset) noexcept {
    double both = 0.0;
    size_t i = 0;
    size_t j = 0;
    while (i < a.size() && j < b.size()) {
        const WorkSpan other{b[j].begin + offset, b[j].end + offset};
        const double begin = std::max(a[i].begin, other.begin);
        const double end = std::min(a[i].end, other.end);
        both += std::max(0.0, end - begin);
        if (a[i].end < other.end) {
            i += 1;
        } else {
            j += 1;
        }
    }
    return both;
}

} // namespace powerinfer
