#include "buffer.h"

#include "error.h"

#include <cstdint>
#include <new>
#include <utility>

namespace powerinfer {

namespace {

constexpr std::align_val_t kAlign{Buffer::kAlignment};
// Pointer differences must fit, and rounding up must not wrap.
constexpr size_t kMaxBytes = static_cast<size_t>(PTRDIFF_MAX) - Buffer::kAlignment;

} // namespace

Buffer Buffer::allocate(size_t n_bytes) {
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
    buffer.data_.reset(static_cast<std::byte*>(::operator new(rounded, kAlign, std::nothrow)));
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
    ::operator delete(data, kAlign);
}

} // namespace powerinfer
