// Float rows to weight types, after the rules of spec section 5. For generators and tests, not for
// speed records.
#pragma once

#include "dtype.h"

#include <cstddef>

namespace powerinfer {

// out: row_bytes(type, n) bytes; n is a multiple of the type's block; type must have is_weight.
void quantize_row(DType type, std::byte* out, const float* x, int64_t n);

} // namespace powerinfer
