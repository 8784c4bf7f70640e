// Lists of the elements of a vector that reach a threshold.
#pragma once

#include "ops.h"

namespace powerinfer::cpu {
namespace {

// Writes first + l for each bit l of a vector's lanes, without a branch that would be guessed
// wrong: there is room for all lanes.
template <typename S>
[[gnu::always_inline]] inline int list_lanes(int32_t* ids, uint32_t bits, int first) noexcept {
    if constexpr (requires { S::list(ids, bits, first); }) {
        return S::list(ids, bits, first);
    } else {
        int n = 0;
        for (int l = 0; l < S::kLanes; ++l) {
            ids[n] = first + l;
            n += static_cast<int>(bits >> l & 1);
        }
        return n;
    }
}

int select(
    int32_t* ids,
    const float* values,
    size_t stride,
    int n_tokens,
    float threshold,
    int begin,
    int end
) {
    int n = 0;
    int i = begin;
    for (; i + Simd::kLanes <= end; i += Simd::kLanes) {
        uint32_t bits = 0;
        for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
            bits |= Simd::not_below(Simd::load(values + t * stride + i), threshold);
        }
        n += list_lanes<Simd>(ids + n, bits, i);
    }
    for (; i < end; ++i) {
        bool is_selected = false;
        for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
            is_selected = is_selected || values[t * stride + static_cast<size_t>(i)] >= threshold;
        }
        ids[n] = i;
        n += is_selected ? 1 : 0;
    }
    return n;
}

} // namespace
} // namespace powerinfer::cpu
