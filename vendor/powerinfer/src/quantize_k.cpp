// Q6_K follows the search of spec section 5. Q4_K and Q5_K, whose encoder is free, choose scale and
// minimum of every 32 elements by least squares over a few starting steps.
#include "quantize_k.h"

#include "half.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace powerinfer {

namespace {

constexpr int kSuperBlock = 256;

float store_f16(uint8_t* out, float x) noexcept {
    const uint16_t half = f32_to_f16(x);
    std::memcpy(out, &half, sizeof half);
    return f16_to_f32(half);
}

// Round half to even into [low, high]; a NaN becomes low.
int round_clamped(float x, int low, int high) noexcept {
    const auto bottom = static_cast<float>(low);
    const float steps = x > bottom ? std::min(x, static_cast<float>(high)) : bottom;
    return static_cast<int>(std::nearbyint(steps));
}

// Q6_K

constexpr int kGroup6 = 16;

struct Fit6 {
    float scale;
    float quality; // (sum w x l)^2 / sum w l^2
};

Fit6 fit_6(const float* x, float inverse) noexcept {
    float sum_xl = 0;
    float sum_ll = 0;
    for (int j = 0; j < kGroup6; ++j) {
        const auto l = static_cast<float>(round_clamped(inverse * x[j], -32, 31));
        const float weight = x[j] * x[j];
        sum_xl += weight * x[j] * l;
        sum_ll += weight * l * l;
    }
    if (!(sum_ll > 0)) {
        return {0, 0};
    }
    return {sum_xl / sum_ll, sum_xl * sum_xl / sum_ll};
}

float group_scale_6(const float* x) noexcept {
    float max = 0;
    for (int j = 0; j < kGroup6; ++j) {
        if (std::fabs(x[j]) > std::fabs(max)) {
            max = x[j];
        }
    }
    if (max == 0.0f) {
        return 0;
    }
    Fit6 best = fit_6(x, -32.0f / max);
    for (int k = -9; k <= 9; ++k) {
        const Fit6 fit = fit_6(x, -(32.0f + 0.1f * static_cast<float>(k)) / max);
        if (k != 0 && fit.quality > best.quality) {
            best = fit;
        }
    }
    return best.scale;
}

// Packs 256 values 0..63 into the low and high bits of a Q6_K block.
void pack_6(uint8_t* out, const uint8_t* q) noexcept {
    for (int half = 0; half < 2; ++half) {
        const uint8_t* values = q + 128 * half;
        uint8_t* low = out + 64 * half;
        uint8_t* high = out + 128 + 32 * half;
        for (int l = 0; l < 32; ++l) {
            const unsigned v[4] = {values[l], values[l + 32], values[l + 64], values[l + 96]};
            low[l] = static_cast<uint8_t>((v[0] & 15) | (v[2] & 15) << 4);
            low[l + 32] = static_cast<uint8_t>((v[1] & 15) | (v[3] & 15) << 4);
            high[l] =
                static_cast<uint8_t>(v[0] >> 4 | v[1] >> 4 << 2 | v[2] >> 4 << 4 | v[3] >> 4 << 6);
        }
    }
}

// Q4_K and Q5_K: x ~ scale * q - min with q in 0..top.

struct Fit {
    float scale;
    float min;
};

constexpr int kGroup = 32;

float squared_error(const float* x, const Fit& fit, const int* q) noexcept {
    float error = 0;
    for (int j = 0; j < kGroup; ++j) {
        const float difference = fit.scale * static_cast<float>(q[j]) - fit.min - x[j];
        error += difference * difference;
    }
    return error;
}

void round_group(int* q, const float* x, const Fit& fit, int top) noexcept {
    const float inverse = fit.scale > 0 ? 1.0f / fit.scale : 0.0f;
    for (int j = 0; j < kGroup; ++j) {
        q[j] = round_clamped((x[j] + fit.min) * inverse, 0, top);
    }
}

// The best scale and min >= 0 for given steps.
Fit least_squares(const float* x, const int* q) noexcept {
    float sum_q = 0;
    float sum_qq = 0;
    float sum_x = 0;
    float sum_xq = 0;
    for (int j = 0; j < kGroup; ++j) {
        const auto step = static_cast<float>(q[j]);
        sum_q += step;
        sum_qq += step * step;
        sum_x += x[j];
        sum_xq += x[j] * step;
    }
    const float determinant = kGroup * sum_qq - sum_q * sum_q;
    if (determinant > 0) {
        const float scale = (kGroup * sum_xq - sum_x * sum_q) / determinant;
        const float min = (scale * sum_q - sum_x) / kGroup;
        if (min >= 0) {
            return {scale, min};
        }
    }
    return {sum_qq > 0 ? sum_xq / sum_qq : 0.0f, 0.0f};
}

Fit fit_group(const float* x, int top) noexcept {
    const float low = std::min(0.0f, *std::min_element(x, x + kGroup));
    const float high = std::max(0.0f, *std::max_element(x, x + kGroup));
    const float range = high - low;
    Fit best = {range / static_cast<float>(top), -low};
    int q[kGroup];
    round_group(q, x, best, top);
    float best_error = squared_error(x, best, q);
    for (int k = -8; k <= 8; ++k) { // from a finer step that clips to a coarser one
        const float steps = static_cast<float>(top) + 0.125f * static_cast<float>(k);
        round_group(q, x, {range / steps, -low}, top);
        const Fit fit = least_squares(x, q);
        if (!(fit.scale > 0)) {
            continue;
        }
        round_group(q, x, fit, top);
        const float error = squared_error(x, fit, q);
        if (error < best_error) {
            best = fit;
            best_error = error;
        }
    }
    return best;
}

// Rounds the eight scales and minima to 6 bits, writes the 16 bytes before the quants and returns
// the values that a reader will see.
void store_scales(uint8_t* out, Fit* fits) noexcept {
    float max_scale = 0;
    float max_min = 0;
    for (int i = 0; i < 8; ++i) {
        max_scale = std::max(max_scale, fits[i].scale);
        max_min = std::max(max_min, fits[i].min);
    }
    const float d = store_f16(out, max_scale / 63.0f);
    const float dmin = store_f16(out + 2, max_min / 63.0f);
    unsigned scales[8];
    unsigned mins[8];
    for (int i = 0; i < 8; ++i) {
        const int scale = d > 0 ? round_clamped(fits[i].scale / d, 0, 63) : 0;
        const int min = dmin > 0 ? round_clamped(fits[i].min / dmin, 0, 63) : 0;
        fits[i] = {d * static_cast<float>(scale), dmin * static_cast<float>(min)};
        scales[i] = static_cast<unsigned>(scale);
        mins[i] = static_cast<unsigned>(min);
    }
    for (int i = 0; i < 4; ++i) {
        out[4 + i] = static_cast<uint8_t>(scales[i] | scales[i + 4] >> 4 << 6);
        out[8 + i] = static_cast<uint8_t>(mins[i] | mins[i + 4] >> 4 << 6);
        out[12 + i] = static_cast<uint8_t>((scales[i + 4] & 15) | (mins[i + 4] & 15) << 4);
    }
}

// Fits, stores scales, and leaves the 256 steps in q.
void quantize_groups(uint8_t* out, int* q, const float* x, int top) noexcept {
    Fit fits[8];
    for (int i = 0; i < 8; ++i) {
        fits[i] = fit_group(x + i * kGroup, top);
    }
    store_scales(out, fits);
    for (int i = 0; i < 8; ++i) {
        round_group(q + i * kGroup, x + i * kGroup, fits[i], top);
    }
}

void pack_nibbles(uint8_t* out, const int* q) noexcept {
    for (int pair = 0; pair < 4; ++pair) {
        for (int j = 0; j < 32; ++j) {
            const int low = q[64 * pair + j] & 15;
            const int high = q[64 * pair + 32 + j] & 15;
            out[32 * pair + j] = static_cast<uint8_t>(low | high << 4);
        }
    }
}

} // namespace

void quantize_q4_k(uint8_t* out, const float* x) noexcept {
    int q[kSuperBlock];
    quantize_groups(out, q, x, 15);
    pack_nibbles(out + 16, q);
}

void quantize_q5_k(uint8_t* out, const float* x) noexcept {
    int q[kSuperBlock];
    quantize_groups(out, q, x, 31);
    for (int j = 0; j < 32; ++j) {
        int bits = 0;
        for (int i = 0; i < 8; ++i) {
            bits |= q[kGroup * i + j] >> 4 << i;
        }
        out[16 + j] = static_cast<uint8_t>(bits);
    }
    pack_nibbles(out + 48, q);
}

void quantize_q6_k(uint8_t* out, const float* x) noexcept {
    std::memset(out, 0, 210);
    float scales[16];
    float largest = 0;
    for (int i = 0; i < 16; ++i) {
        scales[i] = group_scale_6(x + i * kGroup6);
        if (std::fabs(scales[i]) > std::fabs(largest)) {
            largest = scales[i];
        }
    }
    if (largest == 0.0f) {
        return;
    }
    const float d = store_f16(out + 208, largest / -128.0f);
    uint8_t q[kSuperBlock];
    for (int i = 0; i < 16; ++i) {
        const int scale = round_clamped(-128.0f * scales[i] / largest, -128, 127);
        out[192 + i] = static_cast<uint8_t>(scale);
        const float step = d * static_cast<float>(scale);
        for (int j = 0; j < kGroup6; ++j) {
            const float value = x[i * kGroup6 + j];
            const int steps = step != 0.0f ? round_clamped(value / step, -32, 31) : 0;
            q[i * kGroup6 + j] = static_cast<uint8_t>(steps + 32);
        }
    }
    pack_6(out, q);
}

} // namespace powerinfer
