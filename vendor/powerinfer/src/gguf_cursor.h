// A position in untrusted bytes that cannot leave them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace powerinfer {

static_assert(std::endian::native == std::endian::little, "containers are read in place");

// What is being read, for messages: "the type of 'general.name'", "element 7 of 'x'".
struct Field {
    const char* what;
    std::string_view owner = {};
    std::optional<uint64_t> index = {};
};

class Cursor {
public:
    explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

    size_t n_bytes() const noexcept { return bytes_.size(); }
    uint64_t offset() const noexcept { return offset_; }
    uint64_t n_left() const noexcept { return bytes_.size() - offset_; }
    const std::byte* here() const noexcept { return bytes_.data() + offset_; }

    // Each throws Error(format) when the bytes end before the field does.
    const std::byte* take(uint64_t n_bytes, const Field& field) {
        if (n_bytes > n_left()) [[unlikely]] {
            throw_truncated(n_bytes, field);
        }
        const std::byte* taken = here();
        offset_ += static_cast<size_t>(n_bytes);
        return taken;
    }

    template <typename T>
        requires std::is_arithmetic_v<T>
    T number(const Field& field) {
        T value;
        std::memcpy(&value, take(sizeof(T), field), sizeof(T));
        return value;
    }

    // u64 length and bytes.
    std::string_view string(const Field& field) {
        const uint64_t n_bytes = number<uint64_t>(field);
        const std::byte* text = take(n_bytes, field);
        return {reinterpret_cast<const char*>(text), static_cast<size_t>(n_bytes)};
    }

    // A string of 1..max_bytes bytes without NUL, so that it is the same as a C string.
    std::string_view name(size_t max_bytes, const Field& field);

private:
    [[noreturn]] void throw_truncated(uint64_t n_bytes, const Field& field) const;

    std::span<const std::byte> bytes_;
    size_t offset_ = 0;
};

} // namespace powerinfer
