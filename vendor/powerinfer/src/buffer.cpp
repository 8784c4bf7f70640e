#include "buffer.h"

#include "error.h"

#include <cstdint>
#include <new>
#include <utility>

#ifndef _WIN32
#include <sys/mman.h>
#endif

namespace powerinfer {

namespace {

// Pointer differences must fit, and rounding up must not wrap.
constexpr size_t kMaxBytes = static_cast<size_t>(PTRDIFF_MAX) - Buffer::kAlignment;

} // namespace

Buffer Buffer::allocate(size_t n_bytes) {
    return allocate_aligned(n_bytes, kAlignment);
}

Buffer Buffer::allocate_large(size_t n_bytes) {
    Buffer buffer = allocate_aligned(n_bytes, kLargePage);
#ifdef MADV_HUGEPAGE
    // Whole pages only: what lies behind the end belongs to somebody else.
    const size_t whole = n_bytes / kLargePage * kLargePage;
    if (whole > 0) {
        ::madvise(buffer.data(), whole, MADV_HUGEPAGE);
    }
#endif
    return buffer;
}

Buffer Buffer::allocate_aligned(size_t n_bytes, size_t alignment) {
    Buffer buffer;
    if (n_bytes == 0) {
        return buffer;
    }
    PI_CHECK(
        n_bytes <= kMaxBytes,
        out_of_memory,
        "want %zu bytes of memory, more than an object can have (%zu)",
        n_bytes,
        kMaxBytes
    );
    const size_t rounded = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = ::operator new(rounded, std::align_val_t{alignment}, std::nothrow);
    buffer.data_ = {static_cast<std::byte*>(memory), Release{alignment}};
    PI_CHECK(
        buffer.data_ != nullptr,
        out_of_memory,
        "want %zu bytes (%.2f GiB) of memory, the system refuses",
        n_bytes,
        static_cast<double>(n_bytes) / (1024.0 * 1024.0 * 1024.0)
    );
    buffer.n_bytes_ = n_bytes;
    return buffer;
}

Buffer Buffer::allocate(size_t n, size_t element_bytes) {
    PI_CHECK(
        element_bytes == 0 || n <= SIZE_MAX / element_bytes,
        out_of_memory,
        "want memory for %zu elements of %zu bytes, more than an object can have (%zu bytes)",
        n,
        element_bytes,
        kMaxBytes
    );
    return allocate(n * element_bytes);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::move(other.data_)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    data_ = std::move(other.data_);
    n_bytes_ = std::exchange(other.n_bytes_, 0);
    return *this;
}

void Buffer::Release::operator()(std::byte* data) const noexcept {
    ::operator delete(data, std::align_val_t{alignment});
}

} // namespace powerinfer
