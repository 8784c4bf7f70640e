// Plain readers of weight rows for the scalar table: one element or 32 at a time, straight from
// spec section 5.
#pragma once

#include "../half.h"
#include "blocks.h"

#include <cstddef>
#include <cstdint>

namespace powerinfer::cpu {

// 32 decoded elements: w = scale[j / 16] * q[j] - min. Products of scale and q are exact in float,
// so w has one rounding at most, whoever computes it.
struct Chunk {
    float scale[2];
    float min;
    int8_t q[32];
};

// A weight type of blocks: `chunk` decodes elements 32c..32c+31 of the block.

struct ScalarQ4_0 {
    static constexpr int kElements = 32;
    static constexpr int kBytes = 18;
    static void chunk(Chunk& out, const uint8_t* block, int) noexcept {
        const float d = f16_to_f32(load_u16(block));
        out.scale[0] = out.scale[1] = d;
        out.min = 0.0f;
        for (int j = 0; j < 16; ++j) {
            const int byte = block[kQ4_0Quants + j];
            out.q[j] = static_cast<int8_t>((byte & 15) - 8);
            out.q[j + 16] = static_cast<int8_t>((byte >> 4) - 8);
        }
    }
};

struct ScalarQ5_0 {
    static constexpr int kElements = 32;
    static constexpr int kBytes = 22;
    static void chunk(Chunk& out, const uint8_t* block, int) noexcept {
        const float d = f16_to_f32(load_u16(block));
        const uint32_t high = load_u32(block + kQ5_0HighBits);
        out.scale[0] = out.scale[1] = d;
        out.min = 0.0f;
        for (int j = 0; j < 16; ++j) {
            const int byte = block[kQ5_0Quants + j];
            const int high_low = static_cast<int>(high >> j & 1);
            const int high_high = static_cast<int>(high >> (j + 16) & 1);
            out.q[j] = static_cast<int8_t>((byte & 15) + 16 * high_low - 16);
            out.q[j + 16] = static_cast<int8_t>((byte >> 4) + 16 * high_high - 16);
        }
    }
};

struct ScalarQ8_0 {
    static constexpr int kElements = 32;
    static constexpr int kBytes = 34;
    static void chunk(Chunk& out, const uint8_t* block, int) noexcept {
        out.scale[0] = out.scale[1] = f16_to_f32(load_u16(block));
        out.min = 0.0f;
        __builtin_memcpy(out.q, block + kQ8_0Quants, 32);
    }
};

// The part that Q4_K and Q5_K share.
inline void read_scales_k(Chunk& out, const uint8_t* block, int c) noexcept {
    uint8_t scales[8];
    uint8_t mins[8];
    unpack_scales_k(block + kScalesK, scales, mins);
    out.scale[0] = out.scale[1] = f16_to_f32(load_u16(block)) * scales[c];
    out.min = f16_to_f32(load_u16(block + 2)) * mins[c];
}

struct ScalarQ4K {
    static constexpr int kElements = 256;
    static constexpr int kBytes = 144;
    static void chunk(Chunk& out, const uint8_t* block, int c) noexcept {
        read_scales_k(out, block, c);
        for (int j = 0; j < 32; ++j) {
            const int byte = block[kQ4KQuants + 32 * (c / 2) + j];
            out.q[j] = static_cast<int8_t>(c % 2 == 0 ? byte & 15 : byte >> 4);
        }
    }
};

struct ScalarQ5K {
    static constexpr int kElements = 256;
    static constexpr int kBytes = 176;
    static void chunk(Chunk& out, const uint8_t* block, int c) noexcept {
        read_scales_k(out, block, c);
        for (int j = 0; j < 32; ++j) {
            const int byte = block[kQ5KQuants + 32 * (c / 2) + j];
            const int low = c % 2 == 0 ? byte & 15 : byte >> 4;
            const int high = block[kQ5KHighBits + j] >> c & 1;
            out.q[j] = static_cast<int8_t>(low + 16 * high);
        }
    }
};

struct ScalarQ6K {
    static constexpr int kElements = 256;
    static constexpr int kBytes = 210;
    static void chunk(Chunk& out, const uint8_t* block, int c) noexcept {
        const int half = c / 4;
        const int run = c % 4;
        const float d = f16_to_f32(load_u16(block + kQ6KScale));
        for (int group = 0; group < 2; ++group) {
            const auto scale = static_cast<int8_t>(block[kQ6KScales + 2 * c + group]);
            out.scale[group] = d * static_cast<float>(scale);
        }
        out.min = 0.0f;
        for (int j = 0; j < 32; ++j) {
            const int byte = block[64 * half + 32 * (run % 2) + j];
            const int low = run < 2 ? byte & 15 : byte >> 4;
            const int high = block[kQ6KHighBits + 32 * half + j] >> (2 * run) & 3;
            out.q[j] = static_cast<int8_t>(low + 16 * high - 32);
        }
    }
};

// A weight type of floats: `get` reads element j of a row.

struct ScalarF32 {
    static constexpr int kBytes = 4;
    static float get(const uint8_t* row, int j) noexcept {
        return bits_float(load_u32(row + size_t{4} * static_cast<size_t>(j)));
    }
};

struct ScalarF16 {
    static constexpr int kBytes = 2;
    static float get(const uint8_t* row, int j) noexcept {
        return f16_to_f32(load_u16(row + size_t{2} * static_cast<size_t>(j)));
    }
};

struct ScalarBf16 {
    static constexpr int kBytes = 2;
    static float get(const uint8_t* row, int j) noexcept {
        return bf16_to_f32(load_u16(row + size_t{2} * static_cast<size_t>(j)));
    }
};

} // namespace powerinfer::cpu
