#include "weights.h"

#include <cstring>

namespace powerinfer::cuda {

namespace {

size_t n_blocks(DType type, int n_rows, int cols) noexcept {
    return static_cast<size_t>(n_rows) *
           static_cast<size_t>(cols / dtype_info(type).block_elements);
}

} // namespace

size_t body_bytes(DType type, int n_rows, int cols) noexcept {
    return n_blocks(type, n_rows, cols) * static_cast<size_t>(block_split(type).body_bytes);
}

size_t scales_bytes(DType type, int n_rows, int cols) noexcept {
    return n_blocks(type, n_rows, cols) * static_cast<size_t>(block_split(type).scale_bytes);
}

void split_rows(std::byte* body, std::byte* scales, DType type, const cpu::Rows& rows, int cols) {
    const BlockSplit split = block_split(type);
    const auto n_scale = static_cast<size_t>(split.scale_bytes);
    const auto before = static_cast<size_t>(split.scale_begin);
    const size_t after = static_cast<size_t>(split.body_bytes) - before;
    const size_t n = n_blocks(type, 1, cols);
    for (int i = 0; i < rows.n; ++i) {
        const auto row = static_cast<size_t>(rows.ids == nullptr ? i : rows.ids[i]);
        const std::byte* block = rows.data + row * rows.stride_bytes;
        if (n_scale == 0) {
            const size_t n_bytes = n * static_cast<size_t>(split.body_bytes);
            std::memcpy(body, block, n_bytes);
            body += n_bytes;
            continue;
        }
        for (size_t b = 0; b < n; ++b) {
            std::memcpy(body, block, before);
            std::memcpy(scales, block + before, n_scale);
            std::memcpy(body + before, block + before + n_scale, after);
            body += before + after;
            scales += n_scale;
            block += before + after + n_scale;
        }
    }
}

} // namespace powerinfer::cuda
