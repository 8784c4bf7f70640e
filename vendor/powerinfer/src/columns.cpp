#include "columns.h"

#include "cpu/blocks.h"

#include <cstring>

namespace powerinfer {

namespace {

constexpr int kBlockBytes = 18; // of q4_0
constexpr int kHalf = kColumnBlock / 2;

// The nibbles of a block of 128 rows. A byte of a row holds columns j and j + 16.
void turn_nibbles(uint8_t* columns, size_t column_stride, const uint8_t* in, size_t row_stride) {
    uint8_t low[kColumnBytes][kHalf]; // of both rows of a byte: columns 0..15
    uint8_t high[kColumnBytes][kHalf];
    for (int r = 0; r < kColumnBytes; ++r) {
        const uint8_t* a = in + static_cast<size_t>(r) * row_stride + cpu::kQ4_0Quants;
        const uint8_t* b = a + kColumnBytes * row_stride;
        const int byte = column_byte(r);
        for (int j = 0; j < kHalf; ++j) {
            low[byte][j] = static_cast<uint8_t>((a[j] & 15) | b[j] << 4);
            high[byte][j] = static_cast<uint8_t>(a[j] >> 4 | (b[j] & 0xf0));
        }
    }
    for (size_t j = 0; j < kHalf; ++j) {
        uint8_t* out = columns + j * column_stride;
        for (int i = 0; i < kColumnBytes; ++i) {
            out[i] = low[i][j];
            out[kHalf * column_stride + static_cast<size_t>(i)] = high[i][j];
        }
    }
}

} // namespace

void store_by_columns(std::byte* matrix, int rows, int cols, int first, const std::byte* in) {
    const ColumnTile tile = tile_of_row(rows, cols, first);
    const auto tile_rows = static_cast<size_t>(tile.rows);
    const auto row = static_cast<size_t>(first - tile.begin);
    const size_t row_stride = row_bytes(DType::q4_0, cols);
    auto* out = reinterpret_cast<uint8_t*>(matrix) + tile.offset;
    const auto* blocks = reinterpret_cast<const uint8_t*>(in);
    for (int b = 0; b < cols; b += kColumnBlock) {
        for (size_t r = 0; r < kColumnRows; ++r) {
            std::memcpy(out + 2 * (row + r), blocks + r * row_stride, sizeof(uint16_t));
        }
        turn_nibbles(out + 2 * tile_rows + row / 2, tile_rows / 2, blocks, row_stride);
        out += column_block_bytes(tile.rows);
        blocks += kBlockBytes;
    }
}

} // namespace powerinfer
