// Which neurons should change sides, as a running model shows which ones fire: a pure function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace powerinfer {

struct Replacement {
    int32_t in;  // neuron that goes to the device
    int32_t out; // and the one whose place it takes
};

// Pairs the coldest neurons of the device with the hottest of the host, at most `most`, as long as
// one of the host has more than kGain times the heat of its partner. `heat` (hidden_dim,) by
// neuron; ties by number.
inline constexpr float kGain = 1.5F;
std::vector<Replacement> choose_replacements(
    std::span<const float> heat,
    std::span<const int32_t> on_device,
    std::span<const int32_t> on_host,
    int most
);

// How often the neurons of a layer fired lately: an exponentially decayed count.
class Heat {
public:
    explicit Heat(size_t hidden_dim) : heat_(hidden_dim), seen_(hidden_dim) {}

    // `fired` (hidden_dim,) are counts that only grow, or begin again at 0.
    void update(std::span<const uint64_t> fired) noexcept;
    std::span<const float> values() const noexcept { return heat_; }

private:
    static constexpr float kKept = 0.5F; // of what was there before

    std::vector<float> heat_;
    std::vector<uint64_t> seen_;
};

} // namespace powerinfer
