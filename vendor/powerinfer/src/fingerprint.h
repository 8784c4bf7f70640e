// Numbers that tell models and statistics apart, so that what was made for one is not used for
// another.
#pragma once

#include "model.h"

#include <cstdint>
#include <span>

namespace powerinfer {

// For everything that decides how fast a model is and which of its neurons fire: the tensors,
// samples of their data, the thresholds and the build of this library. Reads a page or two of each
// tensor.
uint64_t fingerprint(const Model& model) noexcept;

// For the tensors of a file and samples of their data; the same in every build.
uint64_t file_fingerprint(const GgufFile& file) noexcept;

// For how often neurons were active.
uint64_t counts_fingerprint(std::span<const double> counts) noexcept;

} // namespace powerinfer
