// The functions of CUDA that a single thread of a kernel calls; those that threads call together
// are in block.h.
#pragma once

#include "vectors.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <thread>
#include <type_traits>

using std::max;
using std::min;

// ---- bits ----

inline int __float_as_int(float x) {
    return std::bit_cast<int>(x);
}
inline unsigned __float_as_uint(float x) {
    return std::bit_cast<unsigned>(x);
}
inline float __int_as_float(int x) {
    return std::bit_cast<float>(x);
}
inline float __uint_as_float(unsigned x) {
    return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
    return std::popcount(x);
}
inline int __clz(int x) {
    return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
    return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; ++i) {
        reversed |= (x >> i & 1) << (31 - i);
    }
    return reversed;
}
// The low word of high:low >> (shift mod 32).
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
    return static_cast<unsigned>(both >> (shift & 31));
}
// The high word of high:low << (shift mod 32).
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
    return static_cast<unsigned>(both << (shift & 31) >> 32);
}
// Each digit of the selector chooses one of the eight bytes of y:x; its top bit spreads the sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned chosen = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned digit = selector >> (4 * i) & 15;
        unsigned byte = static_cast<unsigned>(both >> (8 * (digit & 7))) & 255;
        if (digit >= 8) {
            byte = byte >= 128 ? 255 : 0;
        }
        chosen |= byte << (8 * i);
    }
    return chosen;
}

// ---- arithmetic ----

inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; ++i) {
        sum += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    }
    return sum;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
    for (int i = 0; i < 4; ++i) {
        sum += (a >> (8 * i) & 255) * (b >> (8 * i) & 255);
    }
    return sum;
}
inline float __fadd_rn(float x, float y) {
    return x + y;
}
inline float __fsub_rn(float x, float y) {
    return x - y;
}
inline float __fmul_rn(float x, float y) {
    return x * y;
}
inline float __fdiv_rn(float x, float y) {
    return x / y;
}
inline float __fsqrt_rn(float x) {
    return std::sqrt(x);
}
inline float __frcp_rn(float x) {
    return 1.0f / x;
}
inline float __fmaf_rn(float x, float y, float z) {
    return std::fma(x, y, z);
}
inline float __fdividef(float x, float y) {
    return x / y;
}
inline float __expf(float x) {
    return std::exp(x);
}
inline float __logf(float x) {
    return std::log(x);
}
inline float rsqrtf(float x) {
    return 1.0f / std::sqrt(x);
}
inline int __float2int_rn(float x) {
    return static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) {
    return static_cast<int>(x);
}
inline int __float2int_rd(float x) {
    return static_cast<int>(std::floor(x));
}
inline int __float2int_ru(float x) {
    return static_cast<int>(std::ceil(x));
}
inline float __int2float_rn(int x) {
    return static_cast<float>(x);
}

// ---- memory ----

template <typename T>
T __ldg(const T* p) {
    return *p;
}
template <typename T>
T __ldcg(const T* p) {
    return *p;
}
template <typename T>
T __ldcs(const T* p) {
    return *p;
}
template <typename T>
void __stcg(T* p, std::type_identity_t<T> value) {
    *p = value;
}
template <typename T>
void __stcs(T* p, std::type_identity_t<T> value) {
    *p = value;
}
namespace emu {

inline std::atomic<unsigned> n_fences{0};

// Fences are ordered among each other by what all of them change: the thread sanitizer follows
// that, and no std::atomic_thread_fence.
inline void fence() {
    n_fences.fetch_add(1, std::memory_order_seq_cst);
}

} // namespace emu

inline void __threadfence_block() {
    emu::fence();
}
inline void __threadfence() {
    emu::fence();
}
inline void __threadfence_system() {
    emu::fence();
}
inline void __nanosleep(unsigned) {
    std::this_thread::yield();
}

// Relaxed, as CUDA's are. All return what was there.
template <typename T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
}
template <typename T>
T atomicSub(T* p, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*p).fetch_sub(value, std::memory_order_relaxed);
}
template <typename T>
T atomicOr(T* p, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*p).fetch_or(value, std::memory_order_relaxed);
}
template <typename T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*p).fetch_and(value, std::memory_order_relaxed);
}
template <typename T>
T atomicExch(T* p, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*p).exchange(value, std::memory_order_relaxed);
}
template <typename T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    std::atomic_ref<T>(*p).compare_exchange_strong(expected, value, std::memory_order_relaxed);
    return expected;
}
template <typename T>
T atomicMax(T* p, std::type_identity_t<T> value) {
    std::atomic_ref<T> place(*p);
    T old = place.load(std::memory_order_relaxed);
    while (old < value && !place.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
    }
    return old;
}
template <typename T>
T atomicMin(T* p, std::type_identity_t<T> value) {
    std::atomic_ref<T> place(*p);
    T old = place.load(std::memory_order_relaxed);
    while (value < old && !place.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
    }
    return old;
}
