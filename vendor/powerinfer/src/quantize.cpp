// Float rows to weight types of one scale per block: f32, f16, bf16, Q4_0, Q5_0, Q8_0.
#include "quantize.h"

#include "half.h"
#include "quantize_k.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace powerinfer {

namespace {

constexpr int kBlock = 32;

void store_f16(uint8_t* out, float x) noexcept {
    const uint16_t half = f32_to_f16(x);
    std::memcpy(out, &half, sizeof half);
}

// The element of largest magnitude, with its sign; the first one on ties.
float signed_max(const float* x) noexcept {
    float max = 0;
    for (int j = 0; j < kBlock; ++j) {
        if (std::fabs(x[j]) > std::fabs(max)) {
            max = x[j];
        }
    }
    return max;
}

// Truncation after an offset of half a step, so `zero` counts steps below zero. x * inverse lies in
// [-zero, zero]; the clamp also turns a NaN into 0.
uint8_t truncated_step(float x, float inverse, int zero) noexcept {
    const float steps = x * inverse + (static_cast<float>(zero) + 0.5f);
    const float top = static_cast<float>(2 * zero - 1);
    return static_cast<uint8_t>(steps > 0.0f ? std::min(steps, top) : 0.0f);
}

void quantize_q4_0(uint8_t* out, const float* x) noexcept {
    const float d = signed_max(x) / -8.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_f16(out, d);
    for (int j = 0; j < 16; ++j) {
        const unsigned low = truncated_step(x[j], inverse, 8);
        const unsigned high = truncated_step(x[j + 16], inverse, 8);
        out[2 + j] = static_cast<uint8_t>(low | high << 4);
    }
}

void quantize_q5_0(uint8_t* out, const float* x) noexcept {
    const float d = signed_max(x) / -16.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_f16(out, d);
    uint32_t fifth_bits = 0;
    for (int j = 0; j < 16; ++j) {
        const uint32_t low = truncated_step(x[j], inverse, 16);
        const uint32_t high = truncated_step(x[j + 16], inverse, 16);
        fifth_bits |= (low >> 4) << j | (high >> 4) << (j + 16);
        out[6 + j] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
    }
    std::memcpy(out + 2, &fifth_bits, sizeof fifth_bits);
}

void quantize_q8_0(uint8_t* out, const float* x) noexcept {
    const float d = std::fabs(signed_max(x)) / 127.0f;
    store_f16(out, d);
    for (int j = 0; j < kBlock; ++j) {
        const float steps = d != 0.0f ? std::round(x[j] / d) : 0.0f;
        const float clamped = steps > -127.0f ? std::min(steps, 127.0f) : -127.0f;
        out[2 + j] = static_cast<uint8_t>(static_cast<int>(clamped));
    }
}

using QuantizeBlock = void (*)(uint8_t*, const float*) noexcept;

QuantizeBlock block_quantizer(DType type) noexcept {
    switch (type) {
    case DType::q4_0:
        return quantize_q4_0;
    case DType::q5_0:
        return quantize_q5_0;
    case DType::q8_0:
        return quantize_q8_0;
    case DType::q4_k:
        return quantize_q4_k;
    case DType::q5_k:
        return quantize_q5_k;
    case DType::q6_k:
        return quantize_q6_k;
    default:
        return nullptr;
    }
}

void convert_row(DType type, uint8_t* out, const float* x, int64_t n) noexcept {
    if (type == DType::f32) {
        std::memcpy(out, x, static_cast<size_t>(n) * sizeof *x);
        return;
    }
    for (int64_t j = 0; j < n; ++j) {
        const uint16_t value = type == DType::f16 ? f32_to_f16(x[j]) : f32_to_bf16(x[j]);
        std::memcpy(out + 2 * j, &value, sizeof value);
    }
}

} // namespace

void quantize_row(DType type, std::byte* out, const float* x, int64_t n) {
    auto* bytes = reinterpret_cast<uint8_t*>(out);
    const QuantizeBlock quantize = block_quantizer(type);
    if (quantize == nullptr) {
        convert_row(type, bytes, x, n);
        return;
    }
    const DTypeInfo& info = dtype_info(type);
    for (int64_t b = 0; b < n / info.block_elements; ++b) {
        quantize(bytes + b * info.block_bytes, x + b * info.block_elements);
    }
}

} // namespace powerinfer
