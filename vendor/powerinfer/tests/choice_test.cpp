// The decisions of the strategy `auto`: pure functions of rates, bytes and shares.
#include "check.h"
#include "choice.h"

#include <algorithm>
#include <cmath>
#include <vector>

using namespace powerinfer;

namespace {

constexpr double kBytes = 1e6;

// Deterministic numbers in [0, 1).
class Random {
public:
    double next() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return static_cast<double>(state_ >> 11) / 9007199254740992.0;
    }
    double between(double low, double high) { return low + (high - low) * next(); }

private:
    uint64_t state_ = 7;
};

// Rates between 0.1 and 10 GB/s in no sensible order, as noise could make them.
StageRates any_stages(Random& random) {
    StageRates rates{};
    for (double* rate :
         {&rates.predict,
          &rates.test_all,
          &rates.test_listed_low,
          &rates.test_listed_high,
          &rates.rest_all_low,
          &rates.rest_all_high,
          &rates.rest_listed_low,
          &rates.rest_listed_high}) {
        *rate = std::pow(10.0, random.between(8.0, 10.0));
    }
    return rates;
}

// A machine whose stages take 1 ns for a byte that they read.
Rates plain_rates() {
    constexpr double kRate = 1e9;
    const StageRates stages{
        .predict = kRate,
        .test_all = kRate,
        .test_listed_low = kRate / kLowShare,
        .test_listed_high = kRate / kHighShare,
        .rest_all_low = kRate,
        .rest_all_high = kRate,
        .rest_listed_low = kRate / kLowShare,
        .rest_listed_high = kRate / kHighShare,
    };
    return {1, stages, stages};
}

std::vector<FfnChoice> choices_with(bool uses_predictor) {
    if (!uses_predictor) {
        return {fixed_choice(Strategy::dense), fixed_choice(Strategy::exact)};
    }
    return {{true, false, false}, {true, false, true}, {true, true, true}};
}

void the_choice_has_the_least_expected_time() {
    Random random;
    for (int i = 0; i < 2000; ++i) {
        const Rates rates{1, any_stages(random), any_stages(random)};
        const LayerBytes bytes{kBytes * random.next(), kBytes, kBytes * random.between(1.0, 2.0)};
        const Shares shares{random.next(), random.next()};
        const int n_tokens = 1 + static_cast<int>(random.between(0.0, 40.0));
        for (const bool uses_predictor : {false, true}) {
            const FfnChoice chosen = choose(rates, bytes, shares, n_tokens, uses_predictor);
            CHECK_EQ(chosen.uses_predictor, uses_predictor);
            for (const FfnChoice& other : choices_with(uses_predictor)) {
                CHECK(
                    expected_seconds(rates, bytes, shares, n_tokens, chosen) <=
                    expected_seconds(rates, bytes, shares, n_tokens, other)
                );
            }
        }
    }
}

void more_work_is_never_expected_to_be_faster() {
    Random random;
    for (int i = 0; i < 2000; ++i) {
        const Rates rates{1, any_stages(random), any_stages(random)};
        const LayerBytes bytes{kBytes, kBytes, kBytes};
        const double low = random.next();
        const double high = random.between(low, 1.0);
        const int n_tokens = 1 + static_cast<int>(random.between(0.0, 40.0));
        for (const FfnChoice& choice : {FfnChoice{true, true, true}, FfnChoice{}}) {
            const auto seconds = [&](double candidate, double active, int n) {
                return expected_seconds(rates, bytes, {candidate, active}, n, choice);
            };
            CHECK(seconds(low, low, n_tokens) > 0.0);
            CHECK(seconds(low, low, n_tokens) <= seconds(high, low, n_tokens));
            CHECK(seconds(low, low, n_tokens) <= seconds(low, high, n_tokens));
            CHECK(seconds(low, low, n_tokens) <= seconds(low, low, n_tokens + 1));
        }
    }
}

void sparse_layers_are_exact_and_others_dense() {
    const LayerBytes bytes{0.0, kBytes, 2 * kBytes};
    Rates rates = plain_rates();
    // Rows of a list cost a tenth more than rows in order.
    rates.one.rest_listed_low /= 1.1;
    rates.one.rest_listed_high /= 1.1;
    for (const double share : {0.0, 0.05, 0.5, 0.9}) {
        CHECK(choose(rates, bytes, {0.0, share}, 1, false) == fixed_choice(Strategy::exact));
    }
    for (const double share : {0.92, 1.0}) {
        CHECK(choose(rates, bytes, {0.0, share}, 1, false) == fixed_choice(Strategy::dense));
    }
}

void a_predictor_must_save_more_than_it_costs() {
    const Rates rates = plain_rates();
    const auto pays = [&](double predict_bytes, double candidate) {
        return predictor_pays(rates, {predict_bytes, kBytes, 2 * kBytes}, {candidate, 0.1});
    };
    CHECK(pays(0.3 * kBytes, 0.2));
    CHECK(!pays(0.3 * kBytes, 0.8));
    CHECK(!pays(0.9 * kBytes, 0.2));
    CHECK(!pays(0.3 * kBytes, 0.69)); // an approximation for a hundredth of the time
    CHECK(!pays(0.0, 0.0));           // there is none
}

void masking_all_beats_a_long_list() {
    Rates rates = plain_rates();
    rates.one.test_listed_high /= 1.2;
    const LayerBytes bytes{0.3 * kBytes, kBytes, 2 * kBytes};
    CHECK(choose(rates, bytes, {0.2, 0.1}, 1, true).lists_candidates);
    CHECK(!choose(rates, bytes, {0.95, 0.1}, 1, true).lists_candidates);
}

void costs_lie_on_a_line_and_grow_with_the_tokens_beyond() {
    Random random;
    Rates rates{1, any_stages(random), any_stages(random)};
    rates.many.test_all = rates.one.test_all / 4;
    rates.many.rest_all_low = rates.one.rest_all_low / 4;
    rates.many.rest_all_high = rates.one.rest_all_high / 4;
    const LayerBytes bytes{0.0, kBytes, kBytes};
    const auto seconds = [&](int n) {
        return expected_seconds(rates, bytes, {0.0, kLowShare}, n, fixed_choice(Strategy::dense));
    };
    CHECK(std::abs(seconds(kManyTokens) - 4 * seconds(1)) < 1e-9 * seconds(1));
    const double step = (seconds(kManyTokens) - seconds(1)) / (kManyTokens - 1);
    for (const int n : {2, 7, 15}) {
        CHECK(std::abs(seconds(n) - seconds(1) - step * (n - 1)) < 1e-9 * seconds(n));
    }
    CHECK(std::abs(seconds(32 * kManyTokens) - 32 * seconds(kManyTokens)) < 1e-9 * seconds(512));
}

void impossible_rates_are_refused() {
    check_rates(plain_rates(), true);
    for (const double value : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
        Rates rates = plain_rates();
        rates.many.rest_all_high = value;
        CHECK_ERROR(invalid_argument, "above 0", check_rates(rates, true));
        rates = plain_rates();
        rates.one.predict = value;
        CHECK_ERROR(invalid_argument, "above 0", check_rates(rates, true));
        check_rates(rates, false); // nobody will ask for it
    }
}

} // namespace

int main() {
    CHECK_RUN(the_choice_has_the_least_expected_time);
    CHECK_RUN(more_work_is_never_expected_to_be_faster);
    CHECK_RUN(sparse_layers_are_exact_and_others_dense);
    CHECK_RUN(a_predictor_must_save_more_than_it_costs);
    CHECK_RUN(masking_all_beats_a_long_list);
    CHECK_RUN(costs_lie_on_a_line_and_grow_with_the_tokens_beyond);
    CHECK_RUN(impossible_rates_are_refused);
    return check::finish();
}
