// Element types of tensors: their GGML ids, block sizes and names. Facts: spec sections 1.1 and 5.
#pragma once

#include <cstddef>
#include <cstdint>

namespace powerinfer {

// Values are the ids in the file.
enum class DType : uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q5_0 = 6,
    q8_0 = 8,
    q4_k = 12,
    q5_k = 13,
    q6_k = 14,
    i32 = 18, // index tensors of a GPU-index file, never a weight
    bf16 = 30,
};

// The types that the kernels can multiply by.
inline constexpr DType kWeightTypes[] = {
    DType::f32,
    DType::f16,
    DType::bf16,
    DType::q4_0,
    DType::q5_0,
    DType::q8_0,
    DType::q4_k,
    DType::q5_k,
    DType::q6_k,
};

struct DTypeInfo {
    const char* name;   // as in file names and on the command line: "q4_0"
    int block_elements; // consecutive elements of a row that share one block
    int block_bytes;
    bool is_weight;    // the kernels can multiply by it
    bool is_quantized; // its kernels read activations as Q16
};

// Facts of a type id found in a file, nullptr when the id is unknown. Ids that the kernels cannot
// compute with (Q4_1, Q2_K, I8 ...) are known too, so that files can be inspected.
const DTypeInfo* dtype_info(uint32_t id) noexcept;

inline const DTypeInfo& dtype_info(DType type) noexcept {
    return *dtype_info(static_cast<uint32_t>(type));
}

// Bytes of `n` consecutive elements of one row; `n` must be a multiple of block_elements.
inline size_t row_bytes(DType type, int64_t n) noexcept {
    const DTypeInfo& info = dtype_info(type);
    return static_cast<size_t>(n / info.block_elements) * static_cast<size_t>(info.block_bytes);
}

} // namespace powerinfer
