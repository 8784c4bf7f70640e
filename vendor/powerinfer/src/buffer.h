// Heap memory with one owner, aligned for the widest vector loads and for cache lines.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace powerinfer {

// Move-only. A moved-from buffer is empty.
class Buffer {
public:
    static constexpr size_t kAlignment = 64;
    static constexpr size_t kLargePage = size_t{2} << 20;

    // Memory of `n_bytes`, uninitialised; none for 0. The allocation is rounded up to a multiple of
    // kAlignment, so a vector load that begins inside stays inside the allocation's last line.
    // Throws Error(out_of_memory) that names the size wanted.
    static Buffer allocate(size_t n_bytes);
    // The same, aligned to kLargePage, and the system is asked for pages of that size: a walk of
    // the page table then finds 2 MiB instead of 4 KiB. It is a wish; where the system has no such
    // pages or none left, the memory has small ones. Resident as a page is first touched, as
    // always.
    static Buffer allocate_large(size_t n_bytes);
    // Memory for n elements; a product that overflows is Error(out_of_memory) too.
    static Buffer allocate(size_t n, size_t element_bytes);

    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() = default;

    std::byte* data() noexcept { return data_.get(); }
    const std::byte* data() const noexcept { return data_.get(); }
    size_t n_bytes() const noexcept { return n_bytes_; }
    std::span<std::byte> bytes() noexcept { return {data_.get(), n_bytes_}; }
    std::span<const std::byte> bytes() const noexcept { return {data_.get(), n_bytes_}; }

    // The memory as whole elements of T.
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    std::span<T> as() noexcept {
        static_assert(alignof(T) <= kAlignment);
        return {reinterpret_cast<T*>(data_.get()), n_bytes_ / sizeof(T)};
    }

private:
    struct Release {
        size_t alignment; // that it was allocated with
        void operator()(std::byte* data) const noexcept;
    };

    static Buffer allocate_aligned(size_t n_bytes, size_t alignment);

    std::unique_ptr<std::byte, Release> data_;
    size_t n_bytes_ = 0;
};

} // namespace powerinfer
