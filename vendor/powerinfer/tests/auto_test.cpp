// The strategy `auto` on whole models: whatever it decides, the bits are those of a fixed strategy.
#include "check.h"
#include "tiny_engine.h"

#include <array>

namespace {

using engine::file_of;
using engine::kTokens;
using engine::run;
using test::TinyShape;

constexpr const char* kFamilies[] = {"llama", "bamboo", "falcon", "opt"};

constexpr double kFast = 1e12;
constexpr double kSlow = 1e6;

TinyShape shape_of(const char* family, bool has_predictor) {
    TinyShape shape;
    shape.family = family;
    shape.has_predictor = has_predictor;
    shape.type = powerinfer::DType::q4_0;
    shape.hidden_dim = 256;
    shape.n_kv_heads = std::string_view(family) == "opt" ? shape.n_heads : 2;
    return shape;
}

// Rates by which one choice is always the fastest.
pi_rates rates_for(bool lists_candidates, bool lists_survivors, uint32_t n_threads = 1) {
    const double test_listed = lists_candidates ? kFast : kSlow;
    const double test_all = lists_candidates ? kSlow : kFast;
    const double rest_listed = lists_survivors ? kFast : kSlow;
    const double rest_all = lists_survivors ? kSlow : kFast;
    pi_rates rates{};
    rates.struct_size = sizeof rates;
    rates.n_threads = n_threads;
    rates.one = {
        kFast, test_all, test_listed, test_listed, rest_all, rest_all, rest_listed, rest_listed
    };
    rates.many = rates.one;
    return rates;
}

// Two layers, as the tiny models have.
std::array<pi_layer_plan, 2> plans(bool first, bool second) {
    pi_layer_plan plan{};
    plan.struct_size = sizeof plan;
    plan.active_share = 0.3;
    std::array<pi_layer_plan, 2> both{plan, plan};
    both[0].uses_predictor = first ? 1 : 0;
    both[1].uses_predictor = second ? 1 : 0;
    return both;
}

pi_strategy strategy_of(const pi_context* context, uint32_t layer) {
    pi_layer_stats stats;
    stats.struct_size = sizeof stats;
    engine::check(pi_context_get_layer_stats(context, layer, &stats));
    return stats.strategy;
}

void without_predictors_the_bits_are_those_of_dense() {
    for (const char* family : kFamilies) {
        for (const bool has_predictor : {false, true}) {
            const engine::File file = file_of(shape_of(family, has_predictor));
            const auto dense = run(engine::load(file.get(), PI_STRATEGY_DENSE).get());
            const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
            const auto layers = plans(false, false);
            for (const bool is_exact : {false, true}) {
                for (const uint32_t n_batch : {1U, 2U, 3U, 10U}) {
                    const pi_rates rates = rates_for(false, is_exact, 2);
                    const engine::Context context = engine::context(
                        model.get(),
                        {.n_threads = 2,
                         .n_batch = n_batch,
                         .rates = &rates,
                         .layer_plans = layers.data()}
                    );
                    CHECK_EQ(
                        strategy_of(context.get(), 0),
                        is_exact ? PI_STRATEGY_EXACT : PI_STRATEGY_DENSE
                    );
                    CHECK_MSG(
                        engine::batch_logits(context.get(), model.get(), kTokens) == dense,
                        "%s, %u tokens at a time",
                        family,
                        n_batch
                    );
                }
            }
        }
    }
}

void with_predictors_the_bits_are_those_of_predictor() {
    for (const char* family : kFamilies) {
        const engine::File file = file_of(shape_of(family, true));
        const auto wanted = run(engine::load(file.get(), PI_STRATEGY_PREDICTOR).get());
        const auto dense = run(engine::load(file.get(), PI_STRATEGY_DENSE).get());
        CHECK(wanted != dense);
        const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
        const auto layers = plans(true, true);
        for (const auto& [lists_candidates, lists_survivors] :
             {std::pair{false, false}, {false, true}, {true, true}}) {
            for (const uint32_t n_batch : {1U, 2U, 3U, 10U}) {
                const pi_rates rates = rates_for(lists_candidates, lists_survivors);
                const auto logits =
                    run(model.get(),
                        {.n_batch = n_batch, .rates = &rates, .layer_plans = layers.data()});
                CHECK_MSG(
                    logits == wanted,
                    "%s, lists %d %d, %u tokens at a time",
                    family,
                    lists_candidates ? 1 : 0,
                    lists_survivors ? 1 : 0,
                    n_batch
                );
            }
        }
    }
}

// Masking all rows must count the same neurons as listing them.
void counters_do_not_depend_on_lists() {
    const engine::File file = file_of(shape_of("llama", true));
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
    const auto layers = plans(true, true);
    const auto counted = [&](bool lists, uint32_t n_batch) {
        const pi_rates rates = rates_for(lists, true);
        const engine::Context context = engine::context(
            model.get(),
            {.n_batch = n_batch, .audit = 1, .rates = &rates, .layer_plans = layers.data()}
        );
        engine::batch_logits(context.get(), model.get(), kTokens);
        pi_stats stats;
        stats.struct_size = sizeof stats;
        pi_context_get_stats(context.get(), &stats);
        return stats;
    };
    for (const uint32_t n_batch : {1U, 4U}) {
        const pi_stats lists = counted(true, n_batch);
        const pi_stats masks = counted(false, n_batch);
        CHECK_EQ(lists.neurons_active, masks.neurons_active);
        CHECK_EQ(lists.neurons_candidate, masks.neurons_candidate);
        CHECK_EQ(lists.audit_missed, masks.audit_missed);
        CHECK(lists.audit_missed > 0);
        CHECK(lists.weight_bytes_read < masks.weight_bytes_read);
    }
}

void layers_may_differ_and_company_changes_no_bit() {
    const engine::File file = file_of(shape_of("llama", true));
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
    const auto layers = plans(true, false);
    const pi_rates rates = rates_for(true, true, 2);
    const engine::Options options{
        .n_threads = 2, .n_sequences = 3, .n_ctx = 64, .rates = &rates, .layer_plans = layers.data()
    };
    const auto alone = run(model.get(), options);
    const engine::Context context = engine::context(model.get(), options);
    CHECK_EQ(strategy_of(context.get(), 0), PI_STRATEGY_PREDICTOR);
    CHECK_EQ(strategy_of(context.get(), 1), PI_STRATEGY_EXACT);
    std::vector<float> logits;
    for (uint32_t i = 0; i < kTokens.size(); ++i) {
        engine::Batch batch;
        for (int32_t sequence = 0; sequence < 3; ++sequence) {
            batch.add(sequence == 1 ? kTokens[i] : (kTokens[i] + sequence) % 40, i, sequence);
        }
        batch.decode(context.get());
        engine::append_logits(logits, context.get(), 1, engine::info(model.get()).vocab_size);
    }
    CHECK(logits == alone);
}

// Costs that cross at a third: the layers fire about half of their neurons.
void decisions_follow_the_shares_that_were_seen() {
    const engine::File file = file_of(shape_of("llama", false));
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
    auto layers = plans(false, false);
    pi_rates rates = rates_for(false, true);
    rates.one = {1.0, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9 / 0.375, 1e9 / 1.875};
    rates.many = rates.one;
    for (pi_layer_plan& layer : layers) {
        layer.active_share = 0.01;
    }
    const engine::Context context =
        engine::context(model.get(), {.rates = &rates, .layer_plans = layers.data()});
    CHECK_EQ(strategy_of(context.get(), 1), PI_STRATEGY_EXACT);
    engine::decode_logits(context.get(), model.get(), kTokens);
    CHECK_EQ(strategy_of(context.get(), 1), PI_STRATEGY_DENSE);
}

void measured_plans_run_for_every_family() {
    for (const char* family : kFamilies) {
        for (const bool has_predictor : {false, true}) {
            const engine::File file = file_of(shape_of(family, has_predictor));
            const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
            const engine::Measured measured = engine::measure(model.get(), 2);
            CHECK_EQ(measured.rates.n_threads, 2U);
            for (const pi_layer_plan& layer : measured.layers) {
                CHECK(layer.active_share > 0.0 && layer.active_share < 1.0);
                CHECK_EQ(layer.candidate_share > 0.0, has_predictor);
                CHECK(has_predictor || layer.uses_predictor == 0);
            }
            const engine::Context context = engine::context(model.get(), measured.options());
            const auto one = engine::decode_logits(context.get(), model.get(), kTokens);
            const auto batch = run(model.get(), measured.options());
            CHECK_MSG(one == batch, "%s", family);
        }
    }
}

void models_without_zeros_are_dense() {
    TinyShape shape = shape_of("llama", false);
    shape.is_sparse = false; // a SiLU model
    const engine::File file = file_of(shape);
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
    CHECK_EQ(engine::info(model.get()).strategy, PI_STRATEGY_DENSE);
    pi_rates rates = rates_for(false, true);
    CHECK_ERROR(
        invalid_argument,
        "something to decide",
        engine::check(pi_model_measure_rates(model.get(), 1, &rates))
    );
    run(model.get());
}

void wrong_measurements_are_refused() {
    const engine::File file = file_of(shape_of("llama", false));
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_AUTO);
    const pi_rates rates = rates_for(false, true);
    const auto layers = plans(false, false);
    const auto open = [&](const pi_rates* given, const pi_layer_plan* plan) {
        engine::context(model.get(), {.rates = given, .layer_plans = plan});
    };
    open(&rates, layers.data());
    CHECK_ERROR(invalid_argument, "auto wants both", open(nullptr, nullptr));
    CHECK_ERROR(invalid_argument, "auto wants both", open(&rates, nullptr));
    const pi_rates of_two = rates_for(false, true, 2);
    CHECK_ERROR(invalid_argument, "with 2 threads", open(&of_two, layers.data()));
    pi_rates zero = rates;
    zero.many.test_all = 0.0;
    CHECK_ERROR(invalid_argument, "above 0", open(&zero, layers.data()));
    auto odd = layers;
    odd[1].active_share = 1.5;
    CHECK_ERROR(invalid_argument, "layer_plans[1]", open(&rates, odd.data()));
    odd = plans(true, false);
    CHECK_ERROR(invalid_argument, "the model has none", open(&rates, odd.data()));
    odd[0].struct_size = 4;
    CHECK_ERROR(invalid_argument, "struct_size", open(&rates, odd.data()));
    const engine::Model fixed = engine::load(file.get(), PI_STRATEGY_EXACT);
    CHECK_ERROR(
        invalid_argument,
        "leave both out",
        engine::context(fixed.get(), {.rates = &rates, .layer_plans = layers.data()})
    );
    CHECK_ERROR(invalid_argument, "want 0 to 4", engine::load(file.get(), PI_STRATEGY_AUTO + 1));
}

void fingerprints_tell_models_apart() {
    const auto fingerprint = [](const TinyShape& shape, float threshold = NAN) {
        const engine::File file = file_of(shape);
        pi_model_options options;
        pi_model_options_init(&options);
        options.strategy = PI_STRATEGY_AUTO;
        options.sparse_threshold = threshold;
        pi_model* model = nullptr;
        engine::check(pi_model_load(file.get(), &options, &model));
        return pi_model_fingerprint(engine::Model(model).get());
    };
    const TinyShape shape = shape_of("llama", true);
    CHECK_EQ(fingerprint(shape), fingerprint(shape));
    TinyShape other = shape;
    other.seed = 2; // the same shapes
    CHECK(fingerprint(shape) != fingerprint(other));
    CHECK(fingerprint(shape) != fingerprint(shape_of("llama", false)));
    CHECK(fingerprint(shape) != fingerprint(shape, 0.5F));
}

} // namespace

int main() {
    CHECK_RUN(without_predictors_the_bits_are_those_of_dense);
    CHECK_RUN(with_predictors_the_bits_are_those_of_predictor);
    CHECK_RUN(counters_do_not_depend_on_lists);
    CHECK_RUN(layers_may_differ_and_company_changes_no_bit);
    CHECK_RUN(decisions_follow_the_shares_that_were_seen);
    CHECK_RUN(measured_plans_run_for_every_family);
    CHECK_RUN(models_without_zeros_are_dense);
    CHECK_RUN(wrong_measurements_are_refused);
    CHECK_RUN(fingerprints_tell_models_apart);
    return check::finish();
}
