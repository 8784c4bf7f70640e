// Rotary positions: which angle each pair of a head turns by (spec 2.1), and the turning.
#pragma once

#include "config.h"

namespace powerinfer {

// Angle per position of frequency i = 0 .. head_dim / 2 - 1: linear scaling or YaRN.
double rope_frequency(const Config& config, int i);

// What YaRN multiplies the rotated heads by; 1 without it.
double rope_magnitude(const Config& config);

// Turns n_heads heads of head_dim floats in place. rotation (head_dim,) = cosines, then sines of
// all frequencies at the position, times the magnitude.
void rotate_heads(const Config& config, const float* rotation, float* heads, int n_heads);

} // namespace powerinfer
