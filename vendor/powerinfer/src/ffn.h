// The feed-forward of one layer in all its strategies: dense, exact and predictor differ in which
// neurons are tested and which of those are read further, not in how a neuron is computed.
#pragma once

#include "linear.h"

namespace powerinfer {

// scratch.delta = FFN(input) for n_tokens tokens; `residual` feeds the predictor. Both (n_tokens,
// dim). For one token and for a batch each token gets the same bits.
void feed_forward(
    Compute& compute, int index, const float* input, const float* residual, int n_tokens, bool audit
);

} // namespace powerinfer
