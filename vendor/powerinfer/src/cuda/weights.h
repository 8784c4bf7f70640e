// How rows of weights lie in the memory of a device.
//
// A block of a quantised type is split, so that the long part of every block begins at a multiple
// of 16 bytes: `body` has the quants, `scales` what is left of the block, in the order of the file.
// Both are row-major and together as long as the rows in the file. Rows of floats are all body.
#pragma once

#include "../cpu/ops.h"
#include "../dtype.h"

#include <cstddef>
#include <cstdint>

namespace powerinfer::cuda {

// Of one block. The scales are the bytes [scale_begin, scale_begin + scale_bytes) of the block.
struct BlockSplit {
    int elements;
    int body_bytes;
    int scale_begin;
    int scale_bytes;
};

constexpr BlockSplit block_split(DType type) noexcept {
    switch (type) {
    case DType::q4_0:
        return {32, 16, 0, 2}; // d
    case DType::q5_0:
        return {32, 16, 0, 6}; // d, high bits
    case DType::q8_0:
        return {32, 32, 0, 2}; // d
    case DType::q6_k:
        return {256, 208, 208, 2}; // d; the scales of its groups stay in the body
    case DType::q4_k:
        return {256, 144, 0, 0};
    case DType::q5_k:
        return {256, 176, 0, 0};
    case DType::f32:
    case DType::i32:
        return {1, 4, 0, 0};
    case DType::f16:
    case DType::bf16:
        return {1, 2, 0, 0};
    }
    return {1, 0, 0, 0};
}

// Of n_rows rows of `cols` elements, a multiple of the type's block.
size_t body_bytes(DType type, int n_rows, int cols) noexcept;
size_t scales_bytes(DType type, int n_rows, int cols) noexcept;

// Copies rows of the file's layout to that of the device; both outputs are in host memory.
void split_rows(std::byte* body, std::byte* scales, DType type, const cpu::Rows& rows, int cols);

} // namespace powerinfer::cuda
