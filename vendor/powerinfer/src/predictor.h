// Which neurons will fire: scores = fc2 * relu(fc1 * u), selected where score >= threshold
// (spec 2.2). About half of relu(fc1 * u) is zero: where fc2 is stored by columns, those of zeros
// are not read.
#pragma once

#include "active_set.h"
#include "linear.h"

namespace powerinfer {

// Scores all neurons of a layer for the tokens of `input` (n_tokens, dim), into scratch.neurons,
// and returns those that some token selects.
ActiveSet predict(Compute& compute, const Layer& layer, const float* input, int n_tokens);

} // namespace powerinfer
