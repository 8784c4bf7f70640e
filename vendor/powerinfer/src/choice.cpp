#include "choice.h"

#include "error.h"

#include <algorithm>
#include <cmath>

namespace powerinfer {

namespace {

// A predictor that saves less of a feed-forward's time than this is left alone.
constexpr double kWorthwhile = 0.02;

// Seconds per byte at a share, from the rates at two shares. Noise must not make more work cheaper.
double seconds_at(double low_rate, double high_rate, double share) noexcept {
    const double low = 1.0 / low_rate;
    const double slope = std::max(0.0, (1.0 / high_rate - low) / (kHighShare - kLowShare));
    return std::max(0.0, low + slope * (share - kLowShare));
}

double stage_seconds(
    const StageRates& rates, const LayerBytes& bytes, const Shares& shares, FfnChoice choice
) noexcept {
    const double predict = choice.uses_predictor ? bytes.predict / rates.predict : 0.0;
    const double test =
        choice.lists_candidates
            ? seconds_at(rates.test_listed_low, rates.test_listed_high, shares.candidate)
            : 1.0 / rates.test_all;
    const double rest =
        choice.lists_survivors
            ? seconds_at(rates.rest_listed_low, rates.rest_listed_high, shares.active)
            : seconds_at(rates.rest_all_low, rates.rest_all_high, shares.active);
    return predict + bytes.test * test + bytes.rest * rest;
}

void check_stages(const StageRates& rates, bool has_predictor) {
    const double others[] = {
        rates.test_all,
        rates.test_listed_low,
        rates.test_listed_high,
        rates.rest_all_low,
        rates.rest_all_high,
        rates.rest_listed_low,
        rates.rest_listed_high,
        has_predictor ? rates.predict : 1.0,
    };
    for (const double rate : others) {
        PI_CHECK(
            std::isfinite(rate) && rate > 0.0,
            invalid_argument,
            "rates: want bytes per second above 0, got %g",
            rate
        );
    }
}

} // namespace

void check_rates(const Rates& rates, bool has_predictor) {
    check_stages(rates.one, has_predictor);
    check_stages(rates.many, has_predictor);
}

Strategy FfnChoice::strategy() const noexcept {
    if (uses_predictor) {
        return Strategy::predictor;
    }
    return lists_survivors ? Strategy::exact : Strategy::dense;
}

FfnChoice fixed_choice(Strategy strategy) {
    return {
        .uses_predictor = strategy == Strategy::predictor,
        .lists_candidates = strategy == Strategy::predictor,
        .lists_survivors = strategy != Strategy::dense,
    };
}

LayerBytes layer_bytes(const Config& config, const Layer& layer) noexcept {
    const size_t down = layer.down.n_bytes() + layer.down_t.n_bytes();
    const size_t up = layer.up.n_bytes();
    const bool is_gated = config.family->is_gated;
    return {
        .predict = static_cast<double>(layer.fc1.n_bytes() + layer.fc2.n_bytes()),
        .test = static_cast<double>(is_gated ? layer.gate.n_bytes() : up),
        .rest = static_cast<double>(is_gated ? up + down : down),
    };
}

double expected_seconds(
    const Rates& rates,
    const LayerBytes& bytes,
    const Shares& shares,
    int n_tokens,
    FfnChoice choice
) noexcept {
    const double one = stage_seconds(rates.one, bytes, shares, choice);
    const double many = std::max(one, stage_seconds(rates.many, bytes, shares, choice));
    if (n_tokens >= kManyTokens) { // bound by computing
        return many * n_tokens / kManyTokens;
    }
    return one + (many - one) * (n_tokens - 1) / (kManyTokens - 1);
}

FfnChoice choose(
    const Rates& rates,
    const LayerBytes& bytes,
    const Shares& shares,
    int n_tokens,
    bool uses_predictor
) noexcept {
    // A list of candidates is walked for the survivors anyway, so there is no fourth choice.
    const FfnChoice choices[] = {
        {.uses_predictor = uses_predictor, .lists_candidates = false, .lists_survivors = true},
        {.uses_predictor = uses_predictor, .lists_candidates = false, .lists_survivors = false},
        {.uses_predictor = true, .lists_candidates = true, .lists_survivors = true},
    };
    const auto seconds = [&](const FfnChoice& choice) {
        return expected_seconds(rates, bytes, shares, n_tokens, choice);
    };
    return *std::min_element(
        choices,
        choices + (uses_predictor ? 3 : 2),
        [&](const FfnChoice& a, const FfnChoice& b) { return seconds(a) < seconds(b); }
    );
}

bool predictor_pays(const Rates& rates, const LayerBytes& bytes, const Shares& shares) noexcept {
    const auto seconds = [&](bool uses_predictor) {
        const FfnChoice choice = choose(rates, bytes, shares, 1, uses_predictor);
        return expected_seconds(rates, bytes, shares, 1, choice);
    };
    return bytes.predict > 0.0 && seconds(true) < (1.0 - kWorthwhile) * seconds(false);
}

} // namespace powerinfer
