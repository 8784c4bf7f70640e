// The table of element types.
#include "dtype.h"

namespace powerinfer {

namespace {

struct Entry {
    uint32_t id;
    DTypeInfo info;
};

// id, {name, elements and bytes of a block, is_weight, is_quantized}
constexpr Entry kTypes[] = {
    {0, {"f32", 1, 4, true, false}},
    {1, {"f16", 1, 2, true, false}},
    {2, {"q4_0", 32, 18, true, true}},
    {3, {"q4_1", 32, 20, false, true}},
    {6, {"q5_0", 32, 22, true, true}},
    {7, {"q5_1", 32, 24, false, true}},
    {8, {"q8_0", 32, 34, true, true}},
    {9, {"q8_1", 32, 40, false, true}},
    {10, {"q2_k", 256, 84, false, true}},
    {11, {"q3_k", 256, 110, false, true}},
    {12, {"q4_k", 256, 144, true, true}},
    {13, {"q5_k", 256, 176, true, true}},
    {14, {"q6_k", 256, 210, true, true}},
    {15, {"q8_k", 256, 292, false, true}},
    {16, {"i8", 1, 1, false, false}},
    {17, {"i16", 1, 2, false, false}},
    {18, {"i32", 1, 4, false, false}},
    {30, {"bf16", 1, 2, true, false}},
};

} // namespace

const DTypeInfo* dtype_info(uint32_t id) noexcept {
    for (const Entry& entry : kTypes) {
        if (entry.id == id) {
            return &entry.info;
        }
    }
    return nullptr;
}

} // namespace powerinfer
