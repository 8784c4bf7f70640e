// Rates and layer plans between the C interface and the core.
#pragma once

#include "capi.h"
#include "choice.h"

#include <optional>
#include <span>
#include <vector>

namespace powerinfer::capi {

// Throw Error(invalid_argument) for structs of an unknown size.
Rates read_rates(const pi_rates& given);
std::vector<LayerPlan> read_layer_plans(std::span<const pi_layer_plan> given);

} // namespace powerinfer::capi
