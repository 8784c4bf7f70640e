#include "plan.h"

#include "error.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace powerinfer {

namespace {

constexpr double kWeight = 0.125; // of a new value beside all before it

void check_layer(const LayerPlan& layer, int index, bool has_predictor) {
    for (const double share : {layer.active_share, layer.candidate_share}) {
        PI_CHECK(
            share >= 0.0 && share <= 1.0,
            invalid_argument,
            "layer_plans[%d]: want shares from 0 to 1, got %g",
            index,
            share
        );
    }
    PI_CHECK(
        has_predictor || !layer.uses_predictor,
        invalid_argument,
        "layer_plans[%d]: uses_predictor is set, but the model has none",
        index
    );
}

} // namespace

FfnPlan::FfnPlan(Strategy strategy) : fixed_(fixed_choice(strategy)) {}

FfnPlan::FfnPlan(const Model& model, const Rates& rates, const std::vector<LayerPlan>& layers)
    : rates_(rates) {
    check_rates(rates, model.has_predictor());
    for (int i = 0; i < model.config().n_layers; ++i) {
        const LayerPlan& plan = layers[static_cast<size_t>(i)];
        check_layer(plan, i, model.has_predictor());
        LayerState state;
        state.bytes = layer_bytes(model.config(), model.layer(i));
        state.candidate.token = plan.candidate_share;
        state.active.token = plan.active_share;
        state.uses_predictor = plan.uses_predictor;
        layers_.push_back(state);
    }
}

FfnChoice FfnPlan::choose(int layer, int n_tokens) const noexcept {
    if (layers_.empty()) {
        return fixed_;
    }
    const LayerState& state = layers_[static_cast<size_t>(layer)];
    const Shares shares{state.candidate.expected(n_tokens), state.active.expected(n_tokens)};
    return powerinfer::choose(rates_, state.bytes, shares, n_tokens, state.uses_predictor);
}

void FfnPlan::learn(int layer, int n_tokens, const Seen& seen) noexcept {
    if (layers_.empty()) {
        return;
    }
    LayerState& state = layers_[static_cast<size_t>(layer)];
    state.active.learn(n_tokens, seen.token.active, seen.batch.active);
    if (state.uses_predictor) {
        state.candidate.learn(n_tokens, seen.token.candidate, seen.batch.candidate);
    }
}

int FfnPlan::class_of(int n_tokens) noexcept {
    return std::min(
        kClasses - 1, static_cast<int>(std::bit_width(static_cast<unsigned>(n_tokens - 1)))
    );
}

// Tokens that fire independently are the first guess; neurons that are hot for all make it less.
double FfnPlan::Share::expected(int n_tokens) const noexcept {
    const double seen = batch[static_cast<size_t>(class_of(n_tokens))];
    return seen >= 0.0 ? seen : 1.0 - std::pow(1.0 - token, n_tokens);
}

void FfnPlan::Share::learn(int n_tokens, double token_share, double batch_share) noexcept {
    token += kWeight * (token_share - token);
    double& seen = batch[static_cast<size_t>(class_of(n_tokens))];
    seen = seen >= 0.0 ? seen + kWeight * (batch_share - seen) : batch_share;
}

} // namespace powerinfer
