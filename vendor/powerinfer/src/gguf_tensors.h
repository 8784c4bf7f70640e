// Reads tensor infos of a container's header and finds their bytes.
#pragma once

#include "gguf_cursor.h"
#include "gguf_header.h"

namespace powerinfer {

// The shortest info: name length, one byte of name, n_dims, one dimension, type, offset.
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

// Where tensors may lie.
struct TensorArea {
    std::span<const std::byte> file;
    uint64_t begin;     // offset in the file, a multiple of `alignment`
    uint32_t alignment; // of each tensor
};

// Info number `index`, at the cursor; `offset` is relative to the area and `data` not set yet.
TensorInfo read_tensor_info(Cursor& in, uint64_t index);

// Makes offsets absolute and sets `data`. Tensors must be aligned, inside the file and not overlap.
void place_tensors(const TensorArea& area, std::vector<TensorInfo>& tensors);

} // namespace powerinfer
