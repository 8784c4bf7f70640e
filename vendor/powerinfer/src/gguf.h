// Reader of GGUF and PWRI containers (spec 1.1). Trusts nothing: every count, length, offset,
// alignment, type and shape is checked against the file's size before it is used.
#pragma once

#include "dtype.h"
#include "mapped_file.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace powerinfer {

// Value types of metadata; the numbers are the file's.
enum class MetaType : uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};

// One key/value pair. A scalar is an array of one element. Views point into the file's bytes.
struct MetaValue {
    std::string_view key;
    MetaType type; // of the elements; never `array`
    bool is_array;
    uint64_t n; // elements; 1 for a scalar
    const std::byte*
        data; // elements as in the file, little-endian, unaligned (numbers and booleans)
    std::vector<std::string_view> strings; // (n,) when type is string
};

struct TensorInfo {
    std::string_view name;
    DType type;
    int n_dims;
    std::array<uint64_t, 4> ne; // ne[0] = row length; unused dimensions are 1
    uint64_t offset;            // from the start of the file
    uint64_t n_bytes;           // without padding
    const std::byte* data;
};

class GgufFile {
public:
    // Maps and parses `path`. Throws Error(io | format | unsupported | out_of_memory).
    static GgufFile open(const std::string& path);
    // Parses a copy of `bytes`.
    static GgufFile from_bytes(std::span<const std::byte> bytes);

    bool is_sparse() const noexcept;   // magic is PWRI
    uint32_t version() const noexcept; // 2 or 3
    uint32_t alignment() const noexcept;
    uint64_t data_offset() const noexcept;
    uint64_t file_bytes() const noexcept;
    const std::vector<MetaValue>& metadata() const noexcept;    // in file order
    const std::vector<TensorInfo>& tensors() const noexcept;    // in file order
    const MetaValue* find(std::string_view key) const noexcept; // nullptr when absent
    const TensorInfo* find_tensor(std::string_view name) const noexcept;
    const MappedFile& file() const noexcept;

    // Typed look-ups: absent key -> nullopt; present with another type -> Error(format) that names
    // key, wanted and found type. Integers convert when the value fits.
    std::optional<uint32_t> u32(std::string_view key) const;
    std::optional<uint64_t> u64(std::string_view key) const;
    std::optional<float> f32(std::string_view key) const;
    std::optional<bool> boolean(std::string_view key) const;
    std::optional<std::string_view> string(std::string_view key) const;

    // Element j of any numeric or boolean value, widened. j < value.n.
    static double number(const MetaValue& value, uint64_t j) noexcept;
    static int64_t integer(const MetaValue& value, uint64_t j) noexcept; // u64 above 2^63-1 wraps

private:
    GgufFile() = default;
};

} // namespace powerinfer
