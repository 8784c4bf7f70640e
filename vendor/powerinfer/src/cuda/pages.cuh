// Where the cache has a position.
#pragma once

#include "../kv_cache.h"
#include "kernels.h"

namespace powerinfer::cuda {

// First row of the cache's page that holds a position.
__device__ __forceinline__ size_t page_row(const DeviceTokens& tokens, int t, int position) {
    const size_t list =
        static_cast<size_t>(tokens.sequences[t]) * static_cast<size_t>(tokens.pages_per_sequence);
    const int page = tokens.pages[list + static_cast<size_t>(position / kPageTokens)];
    return static_cast<size_t>(page) * kPageTokens;
}

} // namespace powerinfer::cuda
