// Times of two parties on two clocks: what both did at once, found again after the clocks were set
// apart.
#include "check.h"
#include "mutate.h"
#include "overlap.h"

#include <algorithm>
#include <cstddef>
#include <vector>

using namespace powerinfer;
using test::Random;

namespace {

using Spans = std::vector<WorkSpan>;

void only_what_both_did_counts() {
    const Spans a = {{0, 10}, {20, 30}};
    CHECK_EQ(overlap(a, Spans{{0, 10}, {20, 30}}, 0.0), 20.0);
    CHECK_EQ(overlap(a, Spans{{5, 25}}, 0.0), 10.0);    // one over two
    CHECK_EQ(overlap(a, Spans{{10, 20}}, 0.0), 0.0);    // just between
    CHECK_EQ(overlap(a, Spans{{40, 50}}, 0.0), 0.0);    // after all
    CHECK_EQ(overlap(a, Spans{{40, 50}}, -20.0), 10.0); // on another clock
    CHECK_EQ(overlap(a, Spans{{2, 3}, {4, 6}, {29, 99}}, 0.0), 4.0);
    CHECK_EQ(overlap(a, {}, 0.0), 0.0);
    CHECK_EQ(overlap({}, a, 0.0), 0.0);
}

// Against time cut into units, each at work or not.
void random_spans_overlap_as_their_units_do() {
    Random random(1);
    for (int round = 0; round < 500; ++round) {
        const auto draw = [&](std::vector<bool>& works) {
            Spans spans;
            for (size_t at = random.below(5); at < works.size();) {
                const size_t end = std::min(works.size(), at + 1 + random.below(6));
                spans.push_back({static_cast<double>(at), static_cast<double>(end)});
                std::fill(
                    works.begin() + static_cast<std::ptrdiff_t>(at),
                    works.begin() + static_cast<std::ptrdiff_t>(end),
                    true
                );
                at = end + random.below(4);
            }
            return spans;
        };
        std::vector<bool> a(60);
        std::vector<bool> b(60);
        const Spans of_a = draw(a);
        Spans of_b = draw(b);
        double both = 0.0;
        for (size_t i = 0; i < a.size(); ++i) {
            both += a[i] && b[i] ? 1.0 : 0.0;
        }
        CHECK_EQ(overlap(of_a, of_b, 0.0), both);
        for (WorkSpan& span : of_b) {
            span = {span.begin - 1000.0, span.end - 1000.0};
        }
        CHECK_EQ(overlap(of_a, of_b, 1000.0), both);
    }
}

void what_was_seen_soonest_sets_the_clocks() {
    CHECK_EQ(clock_offset({}), 0.0);
    const std::vector<Sighting> seen = {{107, 0}, {115, 12}, {140, 20}};
    CHECK_EQ(clock_offset(seen), 103.0);
    const std::vector<Sighting> ahead = {{5, 100}};
    CHECK_EQ(clock_offset(ahead), -95.0);
}

} // namespace

int main() {
    CHECK_RUN(only_what_both_did_counts);
    CHECK_RUN(random_spans_overlap_as_their_units_do);
    CHECK_RUN(what_was_seen_soonest_sets_the_clocks);
    return check::finish();
}
