// The NEON table with dot products of bytes (FEAT_DotProd). Nothing here may run on a lesser
// processor, so nothing here has external linkage but the table.
#include "tables.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include "simd_neon.inl"

namespace powerinfer::cpu {
namespace {

struct DotProducts {
    static int32x4_t add(int32x4_t sums, int8x16_t a, int8x16_t b) noexcept {
        return vdotq_s32(sums, a, b);
    }
};

struct Simd : SimdNeon<DotProducts> {
    static constexpr const char* kName = "neon-dotprod";
};

} // namespace
} // namespace powerinfer::cpu

#include "simd_table.inl"

namespace powerinfer::cpu {
const Ops* const kNeonDotprodTable = &kTable;
} // namespace powerinfer::cpu

#else

namespace powerinfer::cpu {
const Ops* const kNeonDotprodTable = nullptr;
} // namespace powerinfer::cpu

#endif
