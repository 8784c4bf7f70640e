// Readers of quantised rows on a device, straight from spec section 5: 32 elements at a time for
// dot products, or the 8 of them that one lane adds to its columns.
#pragma once

#include "kernels.h"
#include "weights.h"

#include <cstring>

namespace powerinfer::cuda {

inline constexpr int kChunk = 32;
inline constexpr int kChunksK = 8; // of a super-block

template <DType type>
inline constexpr BlockSplit kSplit = block_split(type);

struct Row {
    const uint8_t* __restrict__ body;
    const uint8_t* __restrict__ scales;
};

// Element j of a chunk has the value scale[j / 16] * (q - offset) - min, where `offset` is of the
// type.
struct ChunkScale {
    float scale[2];
    float min;
};

__device__ __forceinline__ __half load_half(const uint8_t* p) {
    return __ldg(reinterpret_cast<const __half*>(p));
}

// The lower half of a word.
__device__ __forceinline__ float half_of(uint32_t word) {
    const auto bits = static_cast<uint16_t>(word);
    __half value;
    memcpy(&value, &bits, sizeof value);
    return __half2float(value);
}

__device__ __forceinline__ uint32_t load_word(const uint8_t* p) {
    return __ldg(reinterpret_cast<const unsigned int*>(p));
}

// Four words, of an address that is a multiple of 16.
__device__ __forceinline__ void load_words(uint32_t* out, const uint8_t* p) {
    const uint4 words = __ldg(reinterpret_cast<const uint4*>(p));
    out[0] = words.x;
    out[1] = words.y;
    out[2] = words.z;
    out[3] = words.w;
}

// Eight words in two halves, half `first` before the other.
__device__ __forceinline__ void load_halves(uint32_t (&out)[8], const uint8_t* p, int first) {
    load_words(out, p + 16 * first);
    load_words(out + 4, p + 16 - 16 * first);
}

// Four bytes whose bit 0 is one of the four lowest bits of n each.
__device__ __forceinline__ uint32_t spread_bits(uint32_t n) {
    return (n & 15u) * 0x00204081u & 0x01010101u;
}

// A quantised type. Word k of chunk c has elements 4k..4k+3 of the chunk, one a byte: unsigned,
// to be lessened by kOffset; of q8_0 signed. `word` reads one. For all eight, `load` reads the
// Bytes of a chunk as they lie there, and `words` and `scale` make use of them, which may be later.
// Half `first` (0 or 1) comes before the other: words 4 * first, .., 4 * first + 3, then the other
// four.
template <DType type>
struct Chunks;

template <>
struct Chunks<DType::q4_0> {
    static constexpr int kOffset = 8;
    static constexpr bool kHasTwoScales = false;
    static constexpr bool kHasMin = false;
    struct Bytes {
        uint32_t nibbles[4];
        __half d;
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int) {
        load_words(bytes.nibbles, row.body + 16 * c);
        bytes.d = load_half(row.scales + 2 * c);
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int) {
        const float d = __half2float(bytes.d);
        return {{d, d}, 0.0f};
    }
    static __device__ __forceinline__ void words(
        uint32_t (&q)[8], const Bytes& bytes, int, int first
    ) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            q[k] = bytes.nibbles[k] >> 4 * first & 0x0f0f0f0fu;
            q[k + 4] = bytes.nibbles[k] >> (4 - 4 * first) & 0x0f0f0f0fu;
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        return load_word(row.body + 16 * c + 4 * (k & 3)) >> (k & 4) & 0x0f0f0f0fu;
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        const float d = __half2float(load_half(row.scales + 2 * c));
        return {{d, d}, 0.0f};
    }
};

template <>
struct Chunks<DType::q5_0> {
    static constexpr int kOffset = 16;
    static constexpr bool kHasTwoScales = false;
    static constexpr bool kHasMin = false;
    struct Bytes {
        uint32_t nibbles[4];
        uint32_t high;
        __half d;
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int) {
        load_words(bytes.nibbles, row.body + 16 * c);
        bytes.high = high_bits(row, c);
        bytes.d = load_half(row.scales + 6 * c);
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int) {
        const float d = __half2float(bytes.d);
        return {{d, d}, 0.0f};
    }
    static __device__ __forceinline__ void words(
        uint32_t (&q)[8], const Bytes& bytes, int, int first
    ) {
        const uint32_t high = bytes.high >> 16 * first;
        const uint32_t other = bytes.high >> (16 - 16 * first);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const uint32_t nibbles = bytes.nibbles[k];
            q[k] = (nibbles >> 4 * first & 0x0f0f0f0fu) | spread_bits(high >> 4 * k) << 4;
            q[k + 4] = (nibbles >> (4 - 4 * first) & 0x0f0f0f0fu) | spread_bits(other >> 4 * k)
                                                                        << 4;
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        const uint32_t low = load_word(row.body + 16 * c + 4 * (k & 3)) >> (k & 4) & 0x0f0f0f0fu;
        return low | spread_bits(high_bits(row, c) >> 4 * k) << 4;
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        const float d = __half2float(load_half(row.scales + 6 * c));
        return {{d, d}, 0.0f};
    }

private:
    static __device__ __forceinline__ uint32_t high_bits(const Row& row, int c) {
        const auto* halves = reinterpret_cast<const unsigned short*>(row.scales + 6 * c + 2);
        return static_cast<uint32_t>(__ldg(halves)) | static_cast<uint32_t>(__ldg(halves + 1))
                                                          << 16;
    }
};

template <>
struct Chunks<DType::q8_0> {
    static constexpr int kOffset = 0;
    static constexpr bool kHasTwoScales = false;
    static constexpr bool kHasMin = false;
    struct Bytes {
        uint32_t quants[8];
        __half d;
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int first) {
        load_halves(bytes.quants, row.body + 32 * c, first);
        bytes.d = load_half(row.scales + 2 * c);
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int) {
        const float d = __half2float(bytes.d);
        return {{d, d}, 0.0f};
    }
    static __device__ __forceinline__ void words(uint32_t (&q)[8], const Bytes& bytes, int, int) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            q[k] = bytes.quants[k];
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        return load_word(row.body + 32 * c + 4 * k);
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        const float d = __half2float(load_half(row.scales + 2 * c));
        return {{d, d}, 0.0f};
    }
};

// What q4_k and q5_k share: a header of d, dmin and eight 6-bit scales and minima in 12 bytes.
__device__ __forceinline__ ChunkScale scale_k(const uint32_t (&header)[4], int c) {
    const int shift = 8 * (c & 3);
    const uint32_t a = header[1] >> shift;
    const uint32_t b = header[2] >> shift;
    const uint32_t high = header[3] >> shift;
    const bool is_low = c < 4;
    const uint32_t scale = is_low ? a & 63u : (high & 15u) | (a >> 2 & 0x30u);
    const uint32_t min = is_low ? b & 63u : (high >> 4 & 15u) | (b >> 2 & 0x30u);
    const float d = half_of(header[0]) * static_cast<float>(scale);
    return {{d, d}, half_of(header[0] >> 16) * static_cast<float>(min)};
}

template <>
struct Chunks<DType::q4_k> {
    static constexpr int kOffset = 0;
    static constexpr bool kHasTwoScales = false;
    static constexpr bool kHasMin = true;
    struct Bytes {
        uint32_t header[4];
        uint32_t nibbles[8];
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int first) {
        load_words(bytes.header, block(row, c));
        load_halves(bytes.nibbles, nibbles(row, c), first);
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int c) {
        return scale_k(bytes.header, c % kChunksK);
    }
    static __device__ __forceinline__ void words(uint32_t (&q)[8], const Bytes& bytes, int c, int) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            q[k] = bytes.nibbles[k] >> 4 * (c & 1) & 0x0f0f0f0fu;
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        return load_word(nibbles(row, c) + 4 * k) >> 4 * (c & 1) & 0x0f0f0f0fu;
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        uint32_t header[4];
        load_words(header, block(row, c));
        return scale_k(header, c % kChunksK);
    }

private:
    static __device__ __forceinline__ const uint8_t* block(const Row& row, int c) {
        return row.body + 144 * (c / kChunksK);
    }
    static __device__ __forceinline__ const uint8_t* nibbles(const Row& row, int c) {
        return block(row, c) + 16 + 32 * (c % kChunksK / 2);
    }
};

template <>
struct Chunks<DType::q5_k> {
    static constexpr int kOffset = 0;
    static constexpr bool kHasTwoScales = false;
    static constexpr bool kHasMin = true;
    struct Bytes {
        uint32_t header[4];
        uint32_t nibbles[8];
        uint32_t high[8];
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int first) {
        load_words(bytes.header, block(row, c));
        load_halves(bytes.nibbles, nibbles(row, c), first);
        load_halves(bytes.high, block(row, c) + 16, first);
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int c) {
        return scale_k(bytes.header, c % kChunksK);
    }
    static __device__ __forceinline__ void words(uint32_t (&q)[8], const Bytes& bytes, int c, int) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            q[k] = join(bytes.nibbles[k], bytes.high[k], c);
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        return join(load_word(nibbles(row, c) + 4 * k), load_word(block(row, c) + 16 + 4 * k), c);
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        uint32_t header[4];
        load_words(header, block(row, c));
        return scale_k(header, c % kChunksK);
    }

private:
    static __device__ __forceinline__ uint32_t join(uint32_t low, uint32_t high, int c) {
        return (low >> 4 * (c & 1) & 0x0f0f0f0fu) | (high >> c % kChunksK & 0x01010101u) << 4;
    }
    static __device__ __forceinline__ const uint8_t* block(const Row& row, int c) {
        return row.body + 176 * (c / kChunksK);
    }
    static __device__ __forceinline__ const uint8_t* nibbles(const Row& row, int c) {
        return block(row, c) + 48 + 32 * (c % kChunksK / 2);
    }
};

template <>
struct Chunks<DType::q6_k> {
    static constexpr int kOffset = 32;
    static constexpr bool kHasTwoScales = true;
    static constexpr bool kHasMin = false;
    struct Bytes {
        uint32_t low[8];
        uint32_t high[8];
        uint32_t scales; // of two groups of 16, signed bytes
        __half d;
    };
    static __device__ __forceinline__ void load(Bytes& bytes, const Row& row, int c, int first) {
        load_halves(bytes.low, low_bits(row, c), first);
        load_halves(bytes.high, high_bits(row, c), first);
        bytes.scales = load_scales(row, c);
        bytes.d = load_half(row.scales + 2 * (c / kChunksK));
    }
    static __device__ __forceinline__ ChunkScale scale(const Bytes& bytes, int) {
        return scale_of(bytes.scales, bytes.d);
    }
    static __device__ __forceinline__ void words(uint32_t (&q)[8], const Bytes& bytes, int c, int) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            q[k] = join(bytes.low[k], bytes.high[k], c);
        }
    }
    static __device__ __forceinline__ uint32_t word(const Row& row, int c, int k) {
        return join(load_word(low_bits(row, c) + 4 * k), load_word(high_bits(row, c) + 4 * k), c);
    }
    static __device__ __forceinline__ ChunkScale scale(const Row& row, int c) {
        return scale_of(load_scales(row, c), load_half(row.scales + 2 * (c / kChunksK)));
    }

private:
    // A half of 128 elements has four runs of 32: runs 0 and 1 in the low nibbles of 64 bytes, runs
    // 2 and 3 in the high ones; two high bits of each run in one byte.
    static __device__ __forceinline__ uint32_t join(uint32_t low, uint32_t high, int c) {
        const int run = c % 4;
        return (low >> 4 * (run / 2) & 0x0f0f0f0fu) | (high >> 2 * run & 0x03030303u) << 4;
    }
    static __device__ __forceinline__ const uint8_t* block(const Row& row, int c) {
        return row.body + 208 * (c / kChunksK);
    }
    static __device__ __forceinline__ const uint8_t* low_bits(const Row& row, int c) {
        return block(row, c) + 64 * (c % kChunksK / 4) + 32 * (c % 2);
    }
    static __device__ __forceinline__ const uint8_t* high_bits(const Row& row, int c) {
        return block(row, c) + 128 + 32 * (c % kChunksK / 4);
    }
    static __device__ __forceinline__ uint32_t load_scales(const Row& row, int c) {
        const uint8_t* scales = block(row, c) + 192 + 2 * (c % kChunksK);
        return __ldg(reinterpret_cast<const unsigned short*>(scales));
    }
    static __device__ __forceinline__ ChunkScale scale_of(uint32_t scales, __half value) {
        const float d = __half2float(value);
        return {
            {d * static_cast<float>(static_cast<int8_t>(scales & 255u)),
             d * static_cast<float>(static_cast<int8_t>(scales >> 8))},
            0.0f
        };
    }
};

// A type of floats. `eight` wants rows at multiples of 16 bytes and j a multiple of 8.
template <DType type>
struct Floats;

template <>
struct Floats<DType::f32> {
    static constexpr int kBytes = 4;
    static __device__ __forceinline__ float get(const uint8_t* row, int j) {
        return __ldg(reinterpret_cast<const float*>(row) + j);
    }
    static __device__ __forceinline__ void eight(float (&w)[8], const uint8_t* row, int j) {
        const uint8_t* p = row + 4 * static_cast<size_t>(j);
        uint32_t words[8];
        load_words(words, p);
        load_words(words + 4, p + 16);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            w[i] = __int_as_float(static_cast<int>(words[i]));
        }
    }
};

template <>
struct Floats<DType::f16> {
    static constexpr int kBytes = 2;
    static __device__ __forceinline__ float get(const uint8_t* row, int j) {
        return __half2float(load_half(row + 2 * static_cast<size_t>(j)));
    }
    static __device__ __forceinline__ void eight(float (&w)[8], const uint8_t* row, int j) {
        uint32_t words[4];
        load_words(words, row + 2 * static_cast<size_t>(j));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            w[2 * i] = half_of(words[i]);
            w[2 * i + 1] = half_of(words[i] >> 16);
        }
    }
};

template <>
struct Floats<DType::bf16> {
    static constexpr int kBytes = 2;
    static __device__ __forceinline__ float get(const uint8_t* row, int j) {
        const auto bits = __ldg(reinterpret_cast<const unsigned short*>(row) + j);
        return __int_as_float(static_cast<int>(static_cast<uint32_t>(bits) << 16));
    }
    static __device__ __forceinline__ void eight(float (&w)[8], const uint8_t* row, int j) {
        uint32_t words[4];
        load_words(words, row + 2 * static_cast<size_t>(j));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            w[2 * i] = __int_as_float(static_cast<int>(words[i] << 16));
            w[2 * i + 1] = __int_as_float(static_cast<int>(words[i] & 0xffff0000u));
        }
    }
};

// Row i of a matrix.
template <DType type>
__device__ __forceinline__ Row row_of(const DeviceMatrix& w, int i) {
    constexpr BlockSplit split = kSplit<type>;
    const auto block = static_cast<size_t>(i) * static_cast<size_t>(w.cols / split.elements);
    return {
        w.body + block * static_cast<size_t>(split.body_bytes),
        w.scales + block * static_cast<size_t>(split.scale_bytes)
    };
}

} // namespace powerinfer::cuda
