// The C interface to what the strategy `auto` measures.
#include "capi_auto.h"

#include "calibrate.h"
#include "fingerprint.h"
#include "processors.h"

using namespace powerinfer;
using namespace powerinfer::capi;

namespace {

template <typename T>
void check_size(const T& given, const char* name) {
    PI_CHECK(
        given.struct_size == sizeof given,
        invalid_argument,
        "%s: want struct_size %zu, got %u",
        name,
        sizeof given,
        given.struct_size
    );
}

// Both are the same fields in the same order.
template <typename To, typename From>
To stage_rates(const From& from) {
    return {
        .predict = from.predict,
        .test_all = from.test_all,
        .test_listed_low = from.test_listed_low,
        .test_listed_high = from.test_listed_high,
        .rest_all_low = from.rest_all_low,
        .rest_all_high = from.rest_all_high,
        .rest_listed_low = from.rest_listed_low,
        .rest_listed_high = from.rest_listed_high,
    };
}

const Model& automatic(const pi_model* handle) {
    require(handle, "model");
    PI_CHECK(
        handle->model->strategy() == Strategy::automatic,
        invalid_argument,
        "want a model that was loaded with the strategy auto and has something to decide"
    );
    return *handle->model;
}

} // namespace

Rates capi::read_rates(const pi_rates& given) {
    check_size(given, "rates");
    return {
        static_cast<int>(given.n_threads),
        stage_rates<StageRates>(given.one),
        stage_rates<StageRates>(given.many),
    };
}

std::vector<LayerPlan> capi::read_layer_plans(std::span<const pi_layer_plan> given) {
    std::vector<LayerPlan> plans;
    for (const pi_layer_plan& layer : given) {
        check_size(layer, "layer_plans");
        plans.push_back({layer.active_share, layer.candidate_share, layer.uses_predictor != 0});
    }
    return plans;
}

uint32_t pi_default_threads(void) {
    return static_cast<uint32_t>(physical_cores());
}

uint64_t pi_model_fingerprint(const pi_model* model) {
    return fingerprint(*model->model);
}

pi_error* pi_model_measure_rates(const pi_model* handle, uint32_t n_threads, pi_rates* out) {
    return guarded([&] {
        require(out, "out");
        const Model& model = automatic(handle);
        ThreadPool pool(thread_count(n_threads));
        const Rates rates = measure_rates(model, pool);
        pi_rates copy{};
        copy.n_threads = static_cast<uint32_t>(rates.n_threads);
        copy.one = stage_rates<pi_stage_rates>(rates.one);
        copy.many = stage_rates<pi_stage_rates>(rates.many);
        write_out(out, copy);
    });
}

pi_error* pi_model_plan_layers(const pi_model* handle, const pi_rates* given, pi_layer_plan* out) {
    return guarded([&] {
        require(given, "rates");
        require(out, "out");
        const Model& model = automatic(handle);
        const Rates rates = read_rates(*given);
        check_rates(rates, model.has_predictor());
        ThreadPool pool(thread_count(given->n_threads));
        for (const LayerPlan& plan : plan_layers(model, rates, pool)) {
            pi_layer_plan copy{};
            copy.active_share = plan.active_share;
            copy.candidate_share = plan.candidate_share;
            copy.uses_predictor = plan.uses_predictor ? 1 : 0;
            write_out(out++, copy);
        }
    });
}
