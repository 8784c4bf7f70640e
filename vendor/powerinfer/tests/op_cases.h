// What the tests of operators share: the tables of this processor, random matrices and inputs.
#pragma once

#include "buffer.h"
#include "cpu/ops.h"
#include "cpu/rounded.h"
#include "quantize.h"
#include "twin.h"

#include <cstdio>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace op_cases {

using powerinfer::DType;
using powerinfer::DTypeInfo;
using powerinfer::cpu::Activations;
using powerinfer::cpu::Ops;
using powerinfer::cpu::RoundedBlock;
using powerinfer::cpu::Rows;
using twin::Random;

inline std::vector<const Ops*> tables() {
    std::vector<const Ops*> found;
    for (const Ops* ops :
         {&powerinfer::cpu::scalar_ops(),
          powerinfer::cpu::avx2_ops(),
          powerinfer::cpu::avx512_ops(),
          powerinfer::cpu::neon_ops(),
          powerinfer::cpu::neon_dotprod_ops()}) {
        if (ops != nullptr) {
            found.push_back(ops);
        }
    }
    return found;
}

// Names the tables under test.
inline void print_tables() {
    std::printf("tables:");
    for (const Ops* ops : tables()) {
        std::printf(" %s", ops->name);
    }
    std::printf("\n");
}

inline std::vector<int> sizes_of(DType type) {
    const int block = powerinfer::dtype_info(type).block_elements;
    if (block == 1) {
        return {1, 31, 33, 172, 256, 1000};
    }
    return {block, 3 * block, block == 32 ? 352 : 1024};
}

// A matrix of n_rows x dim, exactly as long as it must be.
struct Matrix {
    DType type;
    int n_rows;
    int dim;
    std::vector<uint8_t> bytes;

    size_t stride() const { return powerinfer::row_bytes(type, dim); }
    Rows rows(const int32_t* ids, int n) const {
        return {reinterpret_cast<const std::byte*>(bytes.data()), stride(), ids, n};
    }
    const uint8_t* row(int i) const { return bytes.data() + static_cast<size_t>(i) * stride(); }
    std::vector<double> values(int i) const { return twin::row_values(type, row(i), dim); }
    std::vector<twin::Weight> weights(int i) const { return twin::row_weights(type, row(i), dim); }
};

inline Matrix random_matrix(DType type, int n_rows, int dim, Random& random) {
    Matrix m = {type, n_rows, dim, {}};
    m.bytes.resize(m.stride() * static_cast<size_t>(n_rows));
    for (size_t i = 0; i < static_cast<size_t>(n_rows); ++i) {
        const auto row = random.normals(static_cast<size_t>(dim));
        auto* out = reinterpret_cast<std::byte*>(m.bytes.data() + i * m.stride());
        powerinfer::quantize_row(type, out, row.data(), dim);
    }
    return m;
}

// Every field at its limits: all bytes 0xff or 0x80 or random, scales the largest of half precision
// over 1024 so that sums stay finite.
inline Matrix extreme_matrix(DType type, int n_rows, int dim, Random& random) {
    Matrix m = random_matrix(type, n_rows, dim, random);
    const DTypeInfo& info = powerinfer::dtype_info(type);
    if (!info.is_quantized) {
        return m;
    }
    const auto block = static_cast<size_t>(info.block_bytes);
    const int kind = random.below(3);
    for (uint8_t& byte : m.bytes) {
        byte = kind == 0 ? 0xff : kind == 1 ? 0x80 : static_cast<uint8_t>(random.bits());
    }
    const uint8_t scale[2] = {0xff, static_cast<uint8_t>(random.below(2) == 0 ? 0x53 : 0xd3)};
    for (size_t b = 0; b < m.bytes.size(); b += block) {
        std::memcpy(m.bytes.data() + b + (type == DType::q6_k ? 208 : 0), scale, 2);
        if (type == DType::q4_k || type == DType::q5_k) {
            std::memcpy(m.bytes.data() + b + 2, scale, 2);
        }
    }
    return m;
}

// Inputs of a product; `blocks` are what the contract says that quantised weights multiply.
struct Inputs {
    int n_tokens;
    int dim;
    int bits;
    std::vector<float> f32;
    std::vector<RoundedBlock> blocks;
    powerinfer::Buffer packed; // of the table of the last view()

    Activations view(const Ops& ops, bool quantized) {
        if (!quantized) {
            return {f32.data(), nullptr, bits, n_tokens, dim};
        }
        packed = powerinfer::Buffer::allocate(
            static_cast<size_t>(n_tokens), ops.packed_bytes(dim, bits)
        );
        ops.pack(packed.data(), f32.data(), n_tokens, dim, bits);
        return {f32.data(), packed.data(), bits, n_tokens, dim};
    }
    // Element j of token t as the kernels of that kind see it.
    double value(bool quantized, size_t t, size_t j) const {
        const size_t k = t * static_cast<size_t>(dim) + j;
        if (!quantized) {
            return static_cast<double>(f32[k]);
        }
        return static_cast<double>(blocks[k / 32].scale) * blocks[k / 32].q[k % 32];
    }
};

inline Inputs make_inputs(std::vector<float> x, int n_tokens, int dim, int bits = 16) {
    Inputs in = {n_tokens, dim, bits, std::move(x), {}, {}};
    if (dim % 32 == 0) {
        for (size_t k = 0; k < in.f32.size(); k += 32) {
            in.blocks.push_back(powerinfer::cpu::round_block(in.f32.data() + k, bits));
        }
    }
    return in;
}

inline Inputs random_inputs(int n_tokens, int dim, Random& random, int bits = 16) {
    const auto n = static_cast<size_t>(n_tokens) * static_cast<size_t>(dim);
    return make_inputs(random.normals(n), n_tokens, dim, bits);
}

inline bool same_bits(float a, float b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

} // namespace op_cases
