#include "row_sender.h"

#include "weights.h"

#include <algorithm>
#include <cstring>

namespace powerinfer::cuda {

RowSender::RowSender() : staging_(kBytes) {}

void RowSender::send(
    const DeviceMatrix& target, int first, const Matrix& w, const int32_t* ids, int n
) {
    const size_t body_row = body_bytes(w.type, 1, w.cols);
    const size_t scales_row = scales_bytes(w.type, 1, w.cols);
    const size_t fit = kBytes / (body_row + scales_row);
    PI_CHECK(fit > 0, unsupported, "a row of %d weights is too long for a device", w.cols);
    for (int begin = 0, n_now = 0; begin < n; begin += n_now) {
        n_now = static_cast<int>(std::min(fit, static_cast<size_t>(n - begin)));
        const auto n_rows = static_cast<size_t>(n_now);
        const auto row = static_cast<size_t>(first + begin);
        std::byte* body = take(n_rows * (body_row + scales_row));
        std::byte* scales = body + n_rows * body_row;
        split_rows(body, scales, w.type, w.part(ids, begin, begin + n_now), w.cols);
        // The matrix is const to those who compute with it.
        copy(const_cast<uint8_t*>(target.body) + row * body_row, body, n_rows * body_row);
        copy(const_cast<uint8_t*>(target.scales) + row * scales_row, scales, n_rows * scales_row);
    }
}

void RowSender::send(void* target, const void* from, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes; at += kBytes) {
        const size_t n = std::min(kBytes, n_bytes - at);
        std::byte* staged = take(n);
        std::memcpy(staged, static_cast<const std::byte*>(from) + at, n);
        copy(static_cast<std::byte*>(target) + at, staged, n);
    }
}

std::byte* RowSender::take(size_t n_bytes) {
    if (n_bytes > kBytes - used_) {
        wait();
    }
    std::byte* taken = staging_.data() + used_;
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
