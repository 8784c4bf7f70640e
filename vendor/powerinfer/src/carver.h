// Cuts one allocation into arrays, or finds out how long it must be: the same code plans memory and
// hands it out, so that the two cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>

namespace powerinfer {

// Elements of an array of two dimensions.
inline size_t product(int a, int b) noexcept {
    return static_cast<size_t>(a) * static_cast<size_t>(b);
}

class Carver {
public:
    static constexpr size_t kAlignment = 256; // of each array

    // Without memory it only counts, and hands out null pointers.
    explicit Carver(std::byte* base = nullptr) : base_(base) {}

    // n elements; none are no array.
    template <typename T>
    T* take(size_t n) noexcept {
        if (n == 0) {
            return nullptr;
        }
        const size_t at = used_;
        used_ += (n * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
        return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
    }
    size_t used() const noexcept { return used_; }

private:
    std::byte* base_;
    size_t used_ = 0;
};

} // namespace powerinfer
