// The NEON table, for every 64-bit Arm.
#include "tables.h"

#if defined(__aarch64__) && defined(__ARM_NEON)

#include "simd_neon.inl"

namespace powerinfer::cpu {
namespace {

struct WideningProducts {
    static int32x4_t add(int32x4_t sums, int8x16_t a, int8x16_t b) noexcept {
        const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
        return vaddq_s32(sums, vpaddq_s32(low, high));
    }
};

struct Simd : SimdNeon<WideningProducts> {
    static constexpr const char* kName = "neon";
};

} // namespace
} // namespace powerinfer::cpu

#include "simd_table.inl"

namespace powerinfer::cpu {
const Ops* const kNeonTable = &kTable;
} // namespace powerinfer::cpu

#else

namespace powerinfer::cpu {
const Ops* const kNeonTable = nullptr;
} // namespace powerinfer::cpu

#endif
