#include "row_sender.h"

#include "weights.h"

#include <algorithm>
#include <cstring>

namespace powerinfer::cuda {

namespace {

constexpr size_t kPiece = size_t{256} << 10; // bytes that a thread splits at once

} // namespace

RowSender::RowSender(ThreadPool& pool, size_t n_bytes)
    : pool_(pool), n_bytes_(n_bytes), buffers_{Buffer(n_bytes), Buffer(n_bytes)} {}

RowSender::~RowSender() {
    stream_.drain(); // nothing may be copied from memory that goes
}

void RowSender::send(const DeviceMatrix& target, const Matrix& w, const int32_t* ids, int n) {
    const size_t body_row = body_bytes(w.type, 1, w.cols);
    const size_t scales_row = scales_bytes(w.type, 1, w.cols);
    const size_t fit = n_bytes_ / (body_row + scales_row);
    PI_CHECK(fit > 0, unsupported, "a row of %d weights is too long for a device", w.cols);
    const auto grain = static_cast<int64_t>(std::max<size_t>(1, kPiece / (body_row + scales_row)));
    for (int begin = 0, n_now = 0; begin < n; begin += n_now) {
        n_now = static_cast<int>(std::min(fit, static_cast<size_t>(n - begin)));
        const auto n_rows = static_cast<size_t>(n_now);
        const auto row = static_cast<size_t>(begin);
        std::byte* body = take(n_rows * (body_row + scales_row));
        std::byte* scales = body + n_rows * body_row;
        const auto split = [&](int64_t from, int64_t to, int) {
            const auto at = static_cast<size_t>(from);
            const cpu::Rows rows =
                w.part(ids, begin + static_cast<int>(from), begin + static_cast<int>(to));
            split_rows(body + at * body_row, scales + at * scales_row, w.type, rows, w.cols);
        };
        pool_.parallel_for(n_now, grain, split);
        // The matrix is const to those who compute with it.
        copy(const_cast<uint8_t*>(target.body) + row * body_row, body, n_rows * body_row);
        copy(const_cast<uint8_t*>(target.scales) + row * scales_row, scales, n_rows * scales_row);
    }
}

void RowSender::send(void* target, const void* from, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes; at += n_bytes_) {
        const size_t n = std::min(n_bytes_, n_bytes - at);
        std::byte* staged = take(n);
        std::memcpy(staged, static_cast<const std::byte*>(from) + at, n);
        copy(static_cast<std::byte*>(target) + at, staged, n);
    }
}

std::byte* RowSender::take(size_t n_bytes) {
    if (n_bytes > n_bytes_ - used_) {
        buffers_[current_].copied.record(stream_);
        current_ = 1 - current_;
        buffers_[current_].copied.wait();
        used_ = 0;
    }
    std::byte* taken = buffers_[current_].memory.data() + used_;
    used_ += n_bytes;
    return taken;
}

void RowSender::copy(void* target, const std::byte* from, size_t n_bytes) {
    copy_to_device(stream_, target, from, n_bytes);
    n_sent_ += n_bytes;
}

void RowSender::wait() {
    stream_.wait();
    used_ = 0;
}

} // namespace powerinfer::cuda
