// What the header of a GGUF or PWRI container says: metadata and tensor infos (spec 1.1).
#pragma once

#include "dtype.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
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

// "u32", "array" ...; nullptr when the id is no type of the format.
const char* meta_type_name(uint32_t id) noexcept;
// Bytes of one element in the file; 0 for string and array.
size_t meta_type_bytes(MetaType type) noexcept;

// One key/value pair. A scalar is an array of one element. Views point into the file's bytes.
struct MetaValue {
    std::string_view key; // not empty, without NUL bytes, unique in the file
    MetaType type;        // of the elements; never `array`
    bool is_array;
    uint64_t n; // elements; 1 for a scalar
    // The value as in the file, little-endian, unaligned: n * meta_type_bytes(type) bytes, booleans
    // 0 or 1. Of strings, their lengths and bytes; use `strings`.
    const std::byte* data;
    std::vector<std::string_view> strings; // (n,) when type is string, any bytes
};

struct TensorInfo {
    std::string_view name; // 1..63 bytes without NUL, unique in the file
    DType type;            // dtype_info knows it; not every such type is a weight
    int n_dims;            // 1..4
    // ne[0] = row length, a multiple of the type's block; unused dimensions are 1. A dimension may
    // be 0. The product, and so every element count and byte size made of it, is below 2^63.
    std::array<uint64_t, 4> ne;
    uint64_t offset;       // from the start of the file
    uint64_t n_bytes;      // without padding
    const std::byte* data; // n_bytes readable ones, aligned as GgufHeader::alignment says
};

struct GgufHeader {
    bool is_sparse = false; // magic is PWRI
    uint32_t version = 0;   // 2 or 3
    uint32_t alignment = 0; // of the tensors in the file: a power of two, 8..65536
    // Where tensor data begins; may lie behind the end of a file whose tensors have no bytes.
    uint64_t data_offset = 0;
    std::vector<MetaValue> metadata; // in file order
    std::vector<TensorInfo> tensors; // in file order
    std::vector<size_t> by_key;      // indices into metadata, keys ascending
    std::vector<size_t> by_name;     // indices into tensors, names ascending
};

// Parses `file`, all bytes of a container; the result points into it. Throws Error(format |
// unsupported). Needs at most a small multiple of the bytes it has read so far, whatever counts the
// file claims.
//
// What is not an error: gaps between tensors and bytes behind the last one (the offsets decide),
// and absent padding behind the last tensor, which holds no information.
GgufHeader parse_gguf_header(std::span<const std::byte> file);

} // namespace powerinfer
