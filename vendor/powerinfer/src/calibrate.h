// The start-up measurements of the strategy `auto`: how fast the stages of a feed-forward are on a
// model's own weights, and which shares of its neurons fire.
#pragma once

#include "choice.h"
#include "thread_pool.h"

#include <vector>

namespace powerinfer {

// Times the stages with the threads of `pool`; takes about a tenth of a second. The model's
// strategy must be `automatic`, as for plan_layers.
Rates measure_rates(const Model& model, ThreadPool& pool);

// Computes a few tokens of no meaning to see which neurons fire, and decides by `rates` which
// layers use their predictor. Takes about a tenth of a second: of a model so large that the time
// does not suffice for all layers, the last ones are taken to be like the mean of those before.
std::vector<LayerPlan> plan_layers(const Model& model, const Rates& rates, ThreadPool& pool);

} // namespace powerinfer
