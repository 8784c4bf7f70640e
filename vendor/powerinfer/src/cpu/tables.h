// The tables of the SIMD files. They are plain data, so that naming one runs no instruction of its
// set; only dispatch.cpp reads them, after it has asked the processor.
#pragma once

#include "ops.h"

namespace powerinfer::cpu {

// nullptr when the build has no such instructions.
extern const Ops* const kAvx2Table;
extern const Ops* const kAvx512Table;
extern const Ops* const kNeonTable;
extern const Ops* const kNeonDotprodTable;

} // namespace powerinfer::cpu
