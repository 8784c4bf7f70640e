// Which neurons change sides: pairs that gain, at most so many, and heat that decays.
#include "check.h"
#include "replacement.h"
#include "twin.h"

#include <algorithm>
#include <set>

using namespace powerinfer;

namespace {

void the_hottest_take_the_places_of_the_coldest() {
    const std::vector<float> heat = {0, 9, 4, 1, 8, 2};
    const std::vector<int32_t> on_device = {0, 2, 4};
    const std::vector<int32_t> on_host = {1, 3, 5};
    const auto chosen = choose_replacements(heat, on_device, on_host, 8);
    CHECK_EQ(chosen.size(), size_t{1}); // 5 is not hotter than 2
    CHECK_EQ(chosen[0].in, 1);
    CHECK_EQ(chosen[0].out, 0);
    CHECK(choose_replacements(heat, on_device, on_host, 0).empty());
    CHECK(choose_replacements(heat, {}, on_host, 8).empty());
    CHECK(choose_replacements(heat, on_device, {}, 8).empty());
}

void a_small_gain_is_no_reason() {
    const std::vector<int32_t> on_device = {0};
    const std::vector<int32_t> on_host = {1};
    CHECK(choose_replacements(std::vector<float>{2, 3}, on_device, on_host, 1).empty());
    CHECK_EQ(
        choose_replacements(std::vector<float>{2, 3.1F}, on_device, on_host, 1).size(), size_t{1}
    );
    CHECK(choose_replacements(std::vector<float>{0, 0}, on_device, on_host, 1).empty());
}

void replacements_are_disjoint_and_raise_the_heat() {
    twin::Random random(1);
    for (int round = 0; round < 200; ++round) {
        const int n = 2 + random.below(60);
        std::vector<float> heat;
        std::vector<int32_t> on_device;
        std::vector<int32_t> on_host;
        for (int i = 0; i < n; ++i) {
            heat.push_back(static_cast<float>(random.below(10)));
            (random.below(3) == 0 ? on_device : on_host).push_back(i);
        }
        const int most = random.below(12);
        const auto chosen = choose_replacements(heat, on_device, on_host, most);
        CHECK(chosen.size() <= static_cast<size_t>(most));
        std::set<int32_t> seen;
        for (const Replacement& pair : chosen) {
            CHECK(seen.insert(pair.in).second && seen.insert(pair.out).second);
            CHECK(std::find(on_host.begin(), on_host.end(), pair.in) != on_host.end());
            CHECK(std::find(on_device.begin(), on_device.end(), pair.out) != on_device.end());
            CHECK(heat[static_cast<size_t>(pair.in)] > heat[static_cast<size_t>(pair.out)]);
        }
        // What stays on the host is not hotter than what left for it, but for the limit.
        if (chosen.size() < static_cast<size_t>(most)) {
            for (const int32_t host : on_host) {
                for (const int32_t device : on_device) {
                    const bool moved = seen.contains(host) || seen.contains(device);
                    const float limit = kGain * heat[static_cast<size_t>(device)];
                    CHECK(moved || heat[static_cast<size_t>(host)] <= limit);
                }
            }
        }
    }
}

void heat_decays_and_counts_begin_again() {
    Heat heat(2);
    heat.update(std::vector<uint64_t>{8, 1});
    CHECK_EQ(heat.values()[0], 8.0F);
    heat.update(std::vector<uint64_t>{8, 5});
    CHECK_EQ(heat.values()[0], 4.0F);
    CHECK_EQ(heat.values()[1], 4.5F);
    heat.update(std::vector<uint64_t>{2, 0}); // the counters were reset
    CHECK_EQ(heat.values()[0], 4.0F);
    CHECK_EQ(heat.values()[1], 2.25F);
}

} // namespace

int main() {
    CHECK_RUN(the_hottest_take_the_places_of_the_coldest);
    CHECK_RUN(a_small_gain_is_no_reason);
    CHECK_RUN(replacements_are_disjoint_and_raise_the_heat);
    CHECK_RUN(heat_decays_and_counts_begin_again);
    return check::finish();
}
