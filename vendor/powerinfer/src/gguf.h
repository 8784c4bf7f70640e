// Reader of GGUF and PWRI containers (spec 1.1). Trusts nothing: every count, length, offset,
// alignment, type and shape is checked against the file's size before it is used.
#pragma once

#include "gguf_header.h"
#include "mapped_file.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace powerinfer {

// Move-only. All views stay valid when the object moves, and end with the one that holds the file.
class GgufFile {
public:
    // Maps and parses `path`. Throws Error(io | format | unsupported | out_of_memory); messages
    // name the path.
    static GgufFile open(const std::string& path);
    // Parses a copy of `bytes`.
    static GgufFile from_bytes(std::span<const std::byte> bytes);

    bool is_sparse() const noexcept { return header_.is_sparse; } // magic is PWRI
    uint32_t version() const noexcept { return header_.version; } // 2 or 3
    uint32_t alignment() const noexcept { return header_.alignment; }
    uint64_t data_offset() const noexcept { return header_.data_offset; }
    uint64_t file_bytes() const noexcept { return file_.bytes().size(); }
    // In file order.
    const std::vector<MetaValue>& metadata() const noexcept { return header_.metadata; }
    const std::vector<TensorInfo>& tensors() const noexcept { return header_.tensors; }
    const MetaValue* find(std::string_view key) const noexcept; // nullptr when absent
    const TensorInfo* find_tensor(std::string_view name) const noexcept;
    const MappedFile& file() const noexcept { return file_; }

    // Typed look-ups: absent key -> nullopt; present with another type -> Error(format) that names
    // key, wanted and found type. Integers of any width convert when the value fits, and so does
    // f64 to f32 (rounded). Booleans, numbers and strings never convert into each other.
    std::optional<uint32_t> u32(std::string_view key) const;
    std::optional<uint64_t> u64(std::string_view key) const;
    std::optional<float> f32(std::string_view key) const;
    std::optional<bool> boolean(std::string_view key) const;
    std::optional<std::string_view> string(std::string_view key) const;

    // Element j of any numeric or boolean value, widened. j < value.n; strings count as 0.
    static double number(const MetaValue& value, uint64_t j) noexcept;
    // u64 above 2^63-1 wraps; floats are cut towards zero and clamped, NaN is 0.
    static int64_t integer(const MetaValue& value, uint64_t j) noexcept;

private:
    explicit GgufFile(MappedFile file);

    MappedFile file_;
    GgufHeader header_; // points into file_
};

} // namespace powerinfer
