// Sends weights from the host to their places on the device, by way of pinned memory.
#pragma once

#include "../model.h"
#include "handles.h"
#include "kernels.h"

#include <cstdint>

namespace powerinfer::cuda {

class RowSender {
public:
    RowSender();

    // Rows `ids` (n,) of `w`, or its first n, to rows [first, first + n) of `target`.
    void send(const DeviceMatrix& target, int first, const Matrix& w, const int32_t* ids, int n);
    void send(void* target, const void* from, size_t n_bytes);
    // Until all is there.
    void wait();
    uint64_t n_sent() const noexcept { return n_sent_; } // bytes

private:
    static constexpr size_t kBytes = size_t{16} << 20;

    // Room for n bytes, at most kBytes, that nobody reads any more.
    std::byte* take(size_t n_bytes);
    void copy(void* target, const std::byte* from, size_t n_bytes);

    PinnedMemory staging_;
    OwnedStream stream_;
    size_t used_ = 0;
    uint64_t n_sent_ = 0;
};

} // namespace powerinfer::cuda
