// Quantisers of the super-blocks of 256 elements.
#pragma once

#include <cstdint>

namespace powerinfer {

// x: 256 floats; out: one block, 144, 176 and 210 bytes.
void quantize_q4_k(uint8_t* out, const float* x) noexcept;
void quantize_q5_k(uint8_t* out, const float* x) noexcept;
void quantize_q6_k(uint8_t* out, const float* x) noexcept;

} // namespace powerinfer
