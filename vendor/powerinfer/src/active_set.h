// The one sparse data structure: which neurons of a layer a batch of tokens needs.
#pragma once

#include <cstdint>

namespace powerinfer {

// Neuron numbers, ascending: the union over the tokens of a batch.
struct ActiveSet {
    const int32_t* ids; // (n,), or nullptr for neurons 0..n-1
    int n;
    const uint32_t* tokens = nullptr; // (n,) bit t: token t selected it; nullptr: scores say that

    int32_t id(int i) const noexcept { return ids == nullptr ? i : ids[i]; }
};

} // namespace powerinfer
