// A q4_0 matrix stored by columns, for inputs many of whose elements are zero: their columns are
// not read at all. It is cut into tiles of kTileRows rows, the last one of what is left. A tile has
// for each block of 32 columns the scales of its rows (f16), then the 32 columns, half a byte a
// row: as many bytes, and in the same place, as its rows have.
//
// Of 128 rows, 64 bytes of a column hold the first 64 in their low and the others in their high
// nibbles, in the order in which the kernels find them after they have interleaved four columns.
#pragma once

#include "dtype.h"

#include <cstddef>
#include <cstdint>

namespace powerinfer {

inline constexpr int kColumnRows = 128; // rows that share the bytes of a column
inline constexpr int kColumnBytes = kColumnRows / 2;
inline constexpr int kColumnBlock = 32; // columns that share their scales: a block of q4_0

// Whether a matrix can be stored by columns.
static constexpr bool fits_columns(DType type, int rows) noexcept {
    return type == DType::q4_0 && rows % kColumnRows == 0;
}

// Long runs of a column are read fastest. An odd number of lines, because the same rows of columns
// that are a power of two apart would have to share a few places of the caches.
inline constexpr int kTileRows = 45 * kColumnRows;

// Bytes of a block of columns of a tile.
static constexpr size_t column_block_bytes(int tile_rows) noexcept {
    return static_cast<size_t>(tile_rows) * (sizeof(uint16_t) + kColumnBlock / 2);
}

struct ColumnTile {
    int begin; // first row
    int rows;
    size_t offset; // of its first byte in the matrix
};

static constexpr ColumnTile tile_of_row(int n_rows, int n_cols, int row) noexcept {
    const int begin = row / kTileRows * kTileRows;
    const int rows = n_rows - begin < kTileRows ? n_rows - begin : kTileRows;
    const auto n_blocks = static_cast<size_t>(n_cols / kColumnBlock);
    return {begin, rows, n_blocks * column_block_bytes(begin)};
}

// Bytes of `n` columns of a block and of their scales, which are not read for none.
static constexpr size_t column_bytes(int rows, int n) noexcept {
    return n == 0 ? 0
                  : static_cast<size_t>(rows) * (2 * sizeof(uint16_t) + static_cast<size_t>(n)) / 2;
}

// The byte, of kColumnBytes, that holds rows r and r + 64 of 128, r < 64.
static constexpr int column_byte(int r) noexcept {
    return r % 16 / 4 * 16 + r / 16 * 4 + r % 4;
}

// Writes kColumnRows rows as they are in the file into a matrix of `rows` x `cols` by columns, as
// its rows from `first` on, a multiple of kColumnRows.
void store_by_columns(std::byte* matrix, int rows, int cols, int first, const std::byte* in);

} // namespace powerinfer
