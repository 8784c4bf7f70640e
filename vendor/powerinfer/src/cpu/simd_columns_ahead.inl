// Where the columns of a matrix lie that some token needs, and asking for them before they are
// read.
#pragma once

#include "simd_dot.inl"

namespace powerinfer::cpu {
namespace {

constexpr int kQuad = 4; // columns that are multiplied at once
constexpr int kAheadQuads = static_cast<int>(kAheadBytes / (kQuad * kColumnBytes));

// Where the columns of a block of a tile lie that are read.
struct ColumnBlock {
    const uint8_t* scales = nullptr; // f16 of row r at 2 * r
    int n_quads = 0;
    const uint8_t* column[kColumnBlock]; // rows from r, a multiple of kColumnRows, at r / 2

    void find(const Columns& w, int block) noexcept {
        const auto n_rows = static_cast<size_t>(w.n_rows);
        scales = reinterpret_cast<const uint8_t*>(w.data) +
                 static_cast<size_t>(block) * column_block_bytes(w.n_rows);
        int n = 0;
        for (int i = block == 0 ? 0 : w.ends[block - 1]; i < w.ends[block]; ++i, ++n) {
            const auto id = static_cast<size_t>(w.ids[i] % kColumnBlock);
            column[n] = scales + 2 * n_rows + id * (n_rows / 2);
        }
        for (; n % kQuad != 0; ++n) { // times zero
            column[n] = column[n - 1];
        }
        n_quads = n / kQuad;
    }
};

// Asks for columns in the order in which they are read, kAheadQuads quads before: a few at a time,
// because a processor drops requests that come in crowds.
class ColumnsAhead {
public:
    ColumnsAhead(const Columns& w, int n_blocks, int begin, int end) noexcept
        : w_(w), n_blocks_(n_blocks), begin_(begin), end_(end), row_(begin) {
        find_block();
        for (int i = 0; i < kAheadQuads; ++i) {
            next();
        }
    }
    [[gnu::always_inline]] void next() noexcept {
        if (index_ == n_blocks_) {
            return;
        }
#pragma GCC unroll 4
        for (int k = 0; k < kQuad; ++k) {
            prefetch(block_.column[kQuad * quad_ + k] + row_ / 2, kColumnBytes);
        }
        quad_ += 1;
        if (quad_ == block_.n_quads) {
            prefetch(block_.scales + 2 * row_, 2 * kColumnRows);
            quad_ = 0;
            row_ += kColumnRows;
            if (row_ == end_) {
                row_ = begin_;
                index_ += 1;
                find_block();
            }
        }
    }

private:
    // The first from index_ on that is read.
    void find_block() noexcept {
        for (; index_ < n_blocks_; ++index_) {
            block_.find(w_, index_);
            if (block_.n_quads > 0) {
                return;
            }
        }
    }

    const Columns& w_;
    int n_blocks_;
    int begin_;
    int end_;
    int64_t row_;
    int index_ = 0;
    int quad_ = 0;
    ColumnBlock block_;
};

} // namespace
} // namespace powerinfer::cpu
