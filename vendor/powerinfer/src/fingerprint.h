// A number for everything that decides how fast a model is and which of its neurons fire.
#pragma once

#include "model.h"

#include <cstdint>

namespace powerinfer {

// Of the tensors, samples of their data, the thresholds and the build of this library. Reads a page
// or two of each tensor.
uint64_t fingerprint(const Model& model) noexcept;

} // namespace powerinfer
