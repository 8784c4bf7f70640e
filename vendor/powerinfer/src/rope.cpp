#include "rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace powerinfer {

namespace {

constexpr double kYarnBetaFast = 32.0;
constexpr double kYarnBetaSlow = 1.0;

// The frequency, as a real number, that turns r times over the original context.
double yarn_dimension(const Config& config, double r) {
    return config.head_dim * std::log(config.rope.original_context / (2.0 * std::numbers::pi * r)) /
           (2.0 * std::log(static_cast<double>(config.rope.freq_base)));
}

void rotate_head(float* head, const float* rotation, Rope rope, int head_dim) {
    const int half = head_dim / 2;
    const float* cosines = rotation;
    const float* sines = rotation + half;
    const int stride = rope == Rope::pairs ? 2 : 1;
    const int partner = rope == Rope::pairs ? 1 : half;
    for (int i = 0; i < half; ++i) {
        float& a = head[i * stride];
        float& b = head[i * stride + partner];
        const float rotated = a * cosines[i] - b * sines[i];
        b = a * sines[i] + b * cosines[i];
        a = rotated;
    }
}

} // namespace

double rope_frequency(const Config& config, int i) {
    const double base = config.rope.freq_base;
    const double extrapolated = std::pow(base, -2.0 * i / config.head_dim);
    const double interpolated = static_cast<double>(config.rope.freq_scale) * extrapolated;
    if (!config.rope.is_yarn) {
        return interpolated;
    }
    const double low = std::max(0.0, std::floor(yarn_dimension(config, kYarnBetaFast)));
    const double high =
        std::min(config.head_dim - 1.0, std::ceil(yarn_dimension(config, kYarnBetaSlow)));
    const double ramp = 1.0 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
    return interpolated * (1.0 - ramp) + extrapolated * ramp;
}

double rope_magnitude(const Config& config) {
    const double factor = 1.0 / static_cast<double>(config.rope.freq_scale);
    return config.rope.is_yarn ? 1.0 + 0.1 * std::log(factor) : 1.0;
}

void rotate_heads(const Config& config, const float* rotation, float* heads, int n_heads) {
    for (int h = 0; h < n_heads; ++h) {
        rotate_head(heads + h * config.head_dim, rotation, config.family->rope, config.head_dim);
    }
}

} // namespace powerinfer
