// How keys and values lie in the host's cache (a device has a layout of its own): head by head, so
// that the pages of one head, which mostly follow each other, are read as one stream. Keys of a
// page are stored by dimension, (head_dim, kPageTokens), so that its scores are sums of its rows
// and need no sums across lanes; values by position, (kPageTokens, head_dim).
#pragma once

#include "dtype.h"

#include <cstddef>
#include <cstdint>

namespace powerinfer {

inline constexpr int kPageTokens = 32;

constexpr int pages_for(int n_tokens) noexcept {
    return (n_tokens + kPageTokens - 1) / kPageTokens;
}

// One head of a sequence.
struct HeadPages {
    DType type;              // f16 or f32
    const std::byte* keys;   // of this head in page 0
    const std::byte* values; // likewise
    size_t page_bytes;       // from one page to the next
    const int32_t* pages;    // numbers of the pages of the sequence
};

} // namespace powerinfer
