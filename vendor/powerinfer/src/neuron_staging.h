// Neurons on their way to the other side: what the host writes, and the device has until they take
// their places. One layout for both, whose size is planned without a device.
#pragma once

#include "carver.h"
#include "model.h"

#include <cstdint>

namespace powerinfer {

// Of n pairs of neurons of one layer, one of which goes in and the other out.
struct NeuronStaging {
    static constexpr int kMost = 64; // pairs
    static constexpr int kSlots = 2; // one is filled while the other one is on its way

    int32_t* neurons = nullptr;  // (2, n) those that go in, then those that go out
    int32_t* rows = nullptr;     // (2, n) that they will have in the layer's list
    float* up_bias = nullptr;    // (n,) of those that go in, as the next three; nullptr: has none
    std::byte* gate = nullptr;   // (n rows)
    std::byte* up = nullptr;     // (n rows)
    std::byte* down_t = nullptr; // (n rows)
    std::byte* fc2 = nullptr;    // (2n rows) of all, where the device predicts

    static NeuronStaging carve(Carver& carver, const Layer& layer, int n, bool has_predictor);
    // Bytes of a slot, that has room for kMost pairs of any layer; 0 where a model's neurons stay.
    static size_t slot_bytes(const Model& model);
};

} // namespace powerinfer
