// Norms and activation functions. Sums are in double with a fixed order.
#pragma once

#include "simd_weights.inl"

namespace powerinfer::cpu {
namespace {

using Doubles = Simd::Doubles; // kLanes of them

// n < kLanes floats and `fill` behind them.
inline F load_part(const float* p, size_t n, float fill) noexcept {
    float values[Simd::kLanes];
    Simd::store(values, Simd::set1(fill));
    __builtin_memcpy(values, p, n * sizeof(float));
    return Simd::load(values);
}

inline void store_part(float* p, size_t n, F x) noexcept {
    float values[Simd::kLanes];
    Simd::store(values, x);
    __builtin_memcpy(p, values, n * sizeof(float));
}

// Calls `visit(j, x)` for all vectors x = p[j..j + kLanes), the last one filled up with `fill`.
template <typename Visit>
inline void for_vectors(const float* p, int n, float fill, Visit visit) noexcept {
    constexpr int kLanes = Simd::kLanes;
    int j = 0;
    for (; j + kLanes <= n; j += kLanes) {
        visit(j, Simd::load(p + j));
    }
    if (j < n) {
        visit(j, load_part(p + j, static_cast<size_t>(n - j), fill));
    }
}

// out[j..) = x, cut off at n.
inline void store_upto(float* out, int n, int j, F x) noexcept {
    if (j + Simd::kLanes <= n) {
        Simd::store(out + j, x);
    } else {
        store_part(out + j, static_cast<size_t>(n - j), x);
    }
}

inline F load_upto(const float* p, int n, int j) noexcept {
    return j + Simd::kLanes <= n ? Simd::load(p + j)
                                 : load_part(p + j, static_cast<size_t>(n - j), 0.0f);
}

// e^x within 1 ulp (tested to 1.5e-7 relative): x = k ln 2 + r, |r| <= ln(2)/2, and a polynomial
// of degree 6 in r that interpolates e^r at Chebyshev nodes. 0 below -104, inf above 88.73, NaN of
// NaN.
inline F exp(F x) noexcept {
    x = Simd::max(Simd::set1(-105.0f), Simd::min(Simd::set1(89.0f), x));
    const F shift = Simd::set1(0x1.8p23f); // adding it rounds to an integer
    const F k = Simd::sub(Simd::fma(x, Simd::set1(0x1.715476p+0f), shift), shift);
    F r = Simd::fma(k, Simd::set1(-0x1.62ep-1f), x);
    r = Simd::fma(k, Simd::set1(-0x1.0bfbe8p-15f), r);
    F p = Simd::set1(0x1.6d117cp-10f);
    p = Simd::fma(p, r, Simd::set1(0x1.120be2p-7f));
    p = Simd::fma(p, r, Simd::set1(0x1.555518p-5f));
    p = Simd::fma(p, r, Simd::set1(0x1.5554dcp-3f));
    p = Simd::fma(p, r, Simd::set1(0.5f));
    p = Simd::add(Simd::fma(p, Simd::mul(r, r), r), Simd::set1(1.0f));
    return Simd::times_power_of_2(p, k);
}

void rms_norm(float* out, const float* x, const float* weight, float eps, int n) {
    Doubles squares = Simd::doubles(0.0);
    for_vectors(x, n, 0.0f, [&](int, F v) {
        const Doubles wide = Simd::widen(v);
        squares = Simd::fma(wide, wide, squares);
    });
    const double mean = Simd::sum(squares) / n;
    const Doubles factor = Simd::doubles(1.0 / __builtin_sqrt(mean + static_cast<double>(eps)));
    for_vectors(x, n, 0.0f, [&](int j, F v) {
        const Doubles scaled = Simd::mul(Simd::widen(v), factor);
        const Doubles w = Simd::widen(load_upto(weight, n, j));
        store_upto(out, n, j, Simd::narrow(Simd::mul(scaled, w)));
    });
}

// The sum of (x - mean)^2; the lanes behind the end count as zero.
double squared_offsets(const float* x, double mean, int n) noexcept {
    const Doubles center = Simd::doubles(mean);
    Doubles squares = Simd::doubles(0.0);
    const int whole = n / Simd::kLanes * Simd::kLanes;
    for_vectors(x, whole, 0.0f, [&](int, F v) {
        const Doubles offset = Simd::sub(Simd::widen(v), center);
        squares = Simd::fma(offset, offset, squares);
    });
    double sum = Simd::sum(squares);
    for (int j = whole; j < n; ++j) {
        const double offset = static_cast<double>(x[j]) - mean;
        sum += offset * offset;
    }
    return sum;
}

void layer_norm(
    float* out, const float* x, const float* weight, const float* bias, float eps, int n
) {
    Doubles sum = Simd::doubles(0.0);
    for_vectors(x, n, 0.0f, [&](int, F v) { sum = Simd::add(sum, Simd::widen(v)); });
    const double mean = Simd::sum(sum) / n;
    const double variance = squared_offsets(x, mean, n) / n;
    const Doubles center = Simd::doubles(mean);
    const Doubles factor = Simd::doubles(1.0 / __builtin_sqrt(variance + static_cast<double>(eps)));
    for_vectors(x, n, 0.0f, [&](int j, F v) {
        const Doubles scaled = Simd::mul(Simd::sub(Simd::widen(v), center), factor);
        Doubles y = Simd::mul(scaled, Simd::widen(load_upto(weight, n, j)));
        if (bias != nullptr) {
            y = Simd::add(y, Simd::widen(load_upto(bias, n, j)));
        }
        store_upto(out, n, j, Simd::narrow(y));
    });
}

void softmax(float* x, int n) {
    constexpr float kLowest = -__builtin_inff();
    F largest = Simd::set1(kLowest);
    for_vectors(x, n, kLowest, [&](int, F v) { largest = Simd::max(largest, v); });
    const F max = Simd::set1(Simd::largest(largest));
    Doubles sum = Simd::doubles(0.0);
    for_vectors(x, n, kLowest, [&](int j, F v) {
        const F e = exp(Simd::sub(v, max));
        sum = Simd::add(sum, Simd::widen(e));
        store_upto(x, n, j, e);
    });
    const F factor = Simd::set1(static_cast<float>(1.0 / Simd::sum(sum)));
    for_vectors(x, n, 0.0f, [&](int j, F v) { store_upto(x, n, j, Simd::mul(v, factor)); });
}

void silu(float* x, int n) {
    const F one = Simd::set1(1.0f);
    for_vectors(x, n, 0.0f, [&](int j, F v) {
        const F e = exp(Simd::sub(Simd::zero(), v));
        store_upto(x, n, j, Simd::div(v, Simd::add(one, e)));
    });
}

} // namespace
} // namespace powerinfer::cpu
