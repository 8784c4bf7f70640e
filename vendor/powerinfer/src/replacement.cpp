#include "replacement.h"

#include <algorithm>

namespace powerinfer {

namespace {

// The first n of `neurons` by an order.
template <typename Before>
std::vector<int32_t> first(std::span<const int32_t> neurons, size_t n, Before&& before) {
    std::vector<int32_t> all(neurons.begin(), neurons.end());
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(n);
    std::partial_sort(all.begin(), middle, all.end(), before);
    all.resize(n);
    return all;
}

} // namespace

std::vector<Replacement> choose_replacements(
    std::span<const float> heat,
    std::span<const int32_t> on_device,
    std::span<const int32_t> on_host,
    int most
) {
    const auto heat_of = [&](int32_t neuron) { return heat[static_cast<size_t>(neuron)]; };
    const size_t n = std::min({on_device.size(), on_host.size(), static_cast<size_t>(most)});
    const auto coldest = first(on_device, n, [&](int32_t a, int32_t b) {
        return heat_of(a) != heat_of(b) ? heat_of(a) < heat_of(b) : a < b;
    });
    const auto hottest = first(on_host, n, [&](int32_t a, int32_t b) {
        return heat_of(a) != heat_of(b) ? heat_of(a) > heat_of(b) : a < b;
    });
    std::vector<Replacement> chosen;
    for (size_t i = 0; i < n && heat_of(hottest[i]) > kGain * heat_of(coldest[i]); ++i) {
        chosen.push_back({hottest[i], coldest[i]});
    }
    return chosen;
}

void Heat::update(std::span<const uint64_t> fired) noexcept {
    for (size_t i = 0; i < heat_.size(); ++i) {
        const uint64_t n = fired[i] >= seen_[i] ? fired[i] - seen_[i] : fired[i];
        heat_[i] = kKept * heat_[i] + static_cast<float>(n);
        seen_[i] = fired[i];
    }
}

} // namespace powerinfer
