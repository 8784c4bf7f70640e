// The weight types once more, one element at a time in double and straight from the format's
// description, and random data: what the tests of operators and quantisers compare with.
#pragma once

#include "dtype.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace twin {

using powerinfer::DType;
using powerinfer::kWeightTypes;

// Sign, exponent and mantissa as written in IEEE 754.
inline double half(const uint8_t* p) {
    const int bits = p[0] | p[1] << 8;
    const int exponent = bits >> 10 & 31;
    const int mantissa = bits & 1023;
    double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) {
        value = mantissa == 0 ? HUGE_VAL : std::nan("");
    }
    return bits >> 15 != 0 ? -value : value;
}

// Sub-block i of the 12 packed bytes of Q4_K and Q5_K.
inline void scale_and_min(const uint8_t* s, int i, int& scale, int& min) {
    if (i < 4) {
        scale = s[i] & 63;
        min = s[i + 4] & 63;
    } else {
        scale = (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
        min = (s[i + 4] >> 4) | (s[i] >> 6) << 4;
    }
}

// A weight: scale * q - min, all exact in float.
struct Weight {
    double scale;
    double q;
    double min;

    double value() const { return scale * q - min; }
};

inline Weight weight_k(const uint8_t* b, int j, bool five) {
    const int sub = j / 32;
    const int l = j % 32;
    int scale = 0;
    int min = 0;
    scale_and_min(b + 4, sub, scale, min);
    const uint8_t* quants = b + (five ? 48 : 16);
    const int byte = quants[32 * (sub / 2) + l];
    int q = sub % 2 == 0 ? byte & 15 : byte >> 4;
    if (five) {
        q += (b[16 + l] >> sub & 1) * 16;
    }
    return {half(b) * scale, static_cast<double>(q), half(b + 2) * min};
}

inline Weight weight_6(const uint8_t* b, int j) {
    const int h = j / 128;
    const int r = j % 128 / 32;
    const int l = j % 32;
    const int byte = b[64 * h + 32 * (r % 2) + l];
    const int low = r < 2 ? byte & 15 : byte >> 4;
    const int high = b[128 + 32 * h + l] >> (2 * r) & 3;
    const auto scale = static_cast<int8_t>(b[192 + 8 * h + 2 * r + l / 16]);
    return {half(b + 208) * scale, static_cast<double>(low + 16 * high - 32), 0};
}

// Element j of the block (or of the row of floats) at b; a float is q.
inline Weight weight(DType type, const uint8_t* b, int j) {
    float value = 0;
    uint32_t word = 0;
    int q = 0;
    switch (type) {
    case DType::f32:
        std::memcpy(&value, b + 4 * j, 4);
        return {1, static_cast<double>(value), 0};
    case DType::f16:
        return {1, half(b + 2 * j), 0};
    case DType::bf16:
        word = static_cast<uint32_t>(b[2 * j] | b[2 * j + 1] << 8) << 16;
        std::memcpy(&value, &word, 4);
        return {1, static_cast<double>(value), 0};
    case DType::q4_0:
        q = (j < 16 ? b[2 + j] & 15 : b[2 + j - 16] >> 4) - 8;
        return {half(b), static_cast<double>(q), 0};
    case DType::q5_0:
        std::memcpy(&word, b + 2, 4);
        q = (j < 16 ? b[6 + j] & 15 : b[6 + j - 16] >> 4) + static_cast<int>(word >> j & 1) * 16;
        return {half(b), static_cast<double>(q - 16), 0};
    case DType::q8_0:
        return {half(b), static_cast<double>(static_cast<int8_t>(b[2 + j])), 0};
    case DType::q4_k:
        return weight_k(b, j, false);
    case DType::q5_k:
        return weight_k(b, j, true);
    case DType::q6_k:
        return weight_6(b, j);
    case DType::i32:
        break;
    }
    return {1, std::nan(""), 0};
}

inline std::vector<Weight> row_weights(DType type, const uint8_t* row, int n) {
    const powerinfer::DTypeInfo& info = powerinfer::dtype_info(type);
    std::vector<Weight> weights;
    for (int j = 0; j < n; ++j) {
        const auto block = static_cast<size_t>(j / info.block_elements);
        const uint8_t* b = row + block * static_cast<size_t>(info.block_bytes);
        weights.push_back(weight(type, b, j % info.block_elements));
    }
    return weights;
}

inline std::vector<double> row_values(DType type, const uint8_t* row, int n) {
    std::vector<double> values;
    for (const Weight& w : row_weights(type, row, n)) {
        values.push_back(w.value());
    }
    return values;
}

// Deterministic noise.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t bits() {
        state_ += 0x9e3779b97f4a7c15u;
        uint64_t z = state_;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    int below(int n) { return static_cast<int>(bits() % static_cast<uint64_t>(n)); }
    // In [-1, 1).
    float uniform() { return static_cast<float>(static_cast<int64_t>(bits()) >> 40) * 0x1p-23f; }
    // Mean 0, variance 1, tails to 6.
    float normal() {
        float sum = 0;
        for (int i = 0; i < 12; ++i) {
            sum += uniform();
        }
        return sum * 0.5f;
    }
    std::vector<float> normals(size_t n) {
        std::vector<float> values(n);
        for (float& value : values) {
            value = normal();
        }
        return values;
    }

private:
    uint64_t state_;
};

} // namespace twin
