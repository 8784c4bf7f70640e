// Sends weights from the host to their places on the device, by way of pinned memory: while one
// buffer is copied, the other is filled.
#pragma once

#include "../model.h"
#include "../thread_pool.h"
#include "handles.h"
#include "kernels.h"

#include <array>
#include <cstdint>

namespace powerinfer::cuda {

class RowSender {
public:
    // The threads of `pool`, which outlives it, read and split. Each buffer has so many bytes,
    // which no row may exceed.
    explicit RowSender(ThreadPool& pool, size_t n_bytes = size_t{16} << 20);
    ~RowSender();
    RowSender(const RowSender&) = delete;
    RowSender& operator=(const RowSender&) = delete;

    // Rows `ids` (n,) of `w`, or its first n, to the first n of `target`.
    void send(const DeviceMatrix& target, const Matrix& w, const int32_t* ids, int n);
    void send(void* target, const void* from, size_t n_bytes);
    // Until all is there.
    void wait();
    uint64_t n_sent() const noexcept { return n_sent_; } // bytes

private:
    struct Buffer {
        explicit Buffer(size_t n_bytes) : memory(n_bytes) {}

        PinnedMemory memory;
        Event copied; // all that was put in here
    };

    // Room for n bytes, at most n_bytes_, that nobody reads any more.
    std::byte* take(size_t n_bytes);
    void copy(void* target, const std::byte* from, size_t n_bytes);

    ThreadPool& pool_;
    size_t n_bytes_;
    std::array<Buffer, 2> buffers_;
    size_t current_ = 0;
    OwnedStream stream_;
    size_t used_ = 0; // of the current buffer
    uint64_t n_sent_ = 0;
};

} // namespace powerinfer::cuda
