// What the strategy `auto` chooses between, what it knows, and the choice: pure functions of the
// speeds of the stages on this machine and of the shares of the neurons that fire.
#pragma once

#include "model.h"

namespace powerinfer {

// How one layer is computed for one batch. `dense` and `exact` give the same bits, and so do the
// choices that use the predictor.
struct FfnChoice {
    bool uses_predictor;
    bool lists_candidates; // tests the candidates' rows only; else all, and masks the others
    bool lists_survivors;  // reads further only what is not zero; else all that was tested

    Strategy strategy() const noexcept;
    bool operator==(const FfnChoice&) const = default;
};

// The choice of a fixed strategy; not for `automatic`.
FfnChoice fixed_choice(Strategy strategy);

// Shares of the neurons at which stages are measured; costs lie on the line through both.
inline constexpr double kLowShare = 0.125;
inline constexpr double kHighShare = 0.625;
// Numbers of tokens at which stages are measured: 1 and this many. Costs lie on the line between
// them, and grow with the tokens beyond.
inline constexpr int kManyTokens = 16;

// Bytes per second, counted as if the stage had read its matrices whole. "Test" has the gate
// matrix (ungated: up), "rest" the others, "predict" fc1 and fc2. Same fields as pi_stage_rates.
struct StageRates {
    double predict; // 0 without a predictor
    double test_all;
    double test_listed_low; // kLowShare of the rows are listed
    double test_listed_high;
    double rest_all_low; // kLowShare of the neurons are not zero
    double rest_all_high;
    double rest_listed_low;
    double rest_listed_high;
};

struct Rates {
    int n_threads = 0;
    StageRates one{};  // for one token
    StageRates many{}; // for kManyTokens
};

// Throws Error(invalid_argument) for rates that cannot have been measured.
void check_rates(const Rates& rates, bool has_predictor);

// What is known of a layer before anything was computed. Same fields as pi_layer_plan.
struct LayerPlan {
    double active_share = 0.0;    // of a token
    double candidate_share = 0.0; // of a token; 0 without a predictor
    bool uses_predictor = false;
};

struct LayerBytes {
    double predict = 0.0;
    double test = 0.0;
    double rest = 0.0;
};
LayerBytes layer_bytes(const Config& config, const Layer& layer) noexcept;

// Shares of the neurons that at least one token of a batch needs.
struct Shares {
    double candidate;
    double active;
};

// Expected seconds of a layer's feed-forward. Grows with the shares and the tokens.
double expected_seconds(
    const Rates& rates,
    const LayerBytes& bytes,
    const Shares& shares,
    int n_tokens,
    FfnChoice choice
) noexcept;

// The fastest choice of those that give the same bits.
FfnChoice choose(
    const Rates& rates,
    const LayerBytes& bytes,
    const Shares& shares,
    int n_tokens,
    bool uses_predictor
) noexcept;

// Whether the predictor makes decoding faster by so much that an approximation is worth it.
bool predictor_pays(const Rates& rates, const LayerBytes& bytes, const Shares& shares) noexcept;

} // namespace powerinfer
