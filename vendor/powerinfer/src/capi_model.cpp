// The C interface to models.
#include "capi.h"
#include "fingerprint.h"

#include <cmath>
#include <limits>
#include <utility>

using namespace powerinfer;
using namespace powerinfer::capi;

namespace {

ModelOptions model_options(const pi_model_options& given) {
    ModelOptions options;
    options.strategy = given_strategy(given.strategy);
    if (!std::isnan(given.sparse_threshold)) {
        options.sparse_threshold = given.sparse_threshold;
    }
    options.log = {given.log, given.log_user};
    options.placement = given.placement == nullptr ? nullptr : &given.placement->placement;
    return options;
}

WeightOptions weight_options(const pi_model_options& given) {
    PI_CHECK(
        given.repack <= PI_REPACK_NEVER,
        invalid_argument,
        "repack: want 0 to %u, got %u",
        PI_REPACK_NEVER,
        given.repack
    );
    return {
        .repack = static_cast<Repack>(given.repack),
        .prefetch = given.prefetch != 0,
        .lock = given.lock_memory != 0,
    };
}

LoadProgress load_progress(const pi_model_options& given) {
    return [progress = given.progress, user = given.progress_user](uint64_t done, uint64_t total) {
        return progress == nullptr || progress(user, done, total) != 0;
    };
}

void check_placement(const pi_placement* placement, const GgufFile& file) {
    PI_CHECK(
        placement == nullptr || placement->index.model == file_fingerprint(file),
        invalid_argument,
        "placement: it was planned for another file"
    );
}

void check_strategy(const pi_placement* placement, Strategy strategy) {
    PI_CHECK(
        placement == nullptr || placement->strategy == strategy,
        invalid_argument,
        "placement: it was planned for the strategy %s, and the model is loaded with %s; plan for "
        "that",
        strategy_name(placement->strategy),
        strategy_name(strategy)
    );
}

} // namespace

std::optional<Strategy> capi::given_strategy(pi_strategy strategy) {
    PI_CHECK(
        strategy <= PI_STRATEGY_AUTO,
        invalid_argument,
        "strategy: want 0 to %u, got %u",
        PI_STRATEGY_AUTO,
        strategy
    );
    if (strategy == PI_STRATEGY_DEFAULT) {
        return std::nullopt;
    }
    return static_cast<Strategy>(strategy);
}

void pi_model_options_init(pi_model_options* options) {
    *options = {};
    options->struct_size = sizeof *options;
    options->sparse_threshold = std::numeric_limits<float>::quiet_NaN();
}

pi_error* pi_model_load(const pi_file* file, const pi_model_options* given, pi_model** out) {
    return guarded([&] {
        require(file, "file");
        require(out, "out");
        const pi_model_options options = read_options(given, pi_model_options_init);
        const ModelOptions wanted = model_options(options);
        check_placement(options.placement, *file->gguf);
        auto weights = std::make_shared<Weights>(file->gguf, weight_options(options));
        auto model = std::make_shared<const Model>(weights, wanted);
        check_strategy(options.placement, model->strategy());
        const LoadProgress progress = load_progress(options);
        weights->make_resident(model->layout(), progress, wanted.log);
        std::shared_ptr<DeviceModel> device;
        if (const pi_placement* plan = options.placement; plan != nullptr) {
            device = load_device_model(model, plan->placement, plan->shape, progress);
        }
        *out = new pi_model{std::move(model), std::move(device)};
    });
}

void pi_model_free(pi_model* model) {
    delete model;
}

void pi_model_get_info(const pi_model* handle, pi_model_info* out) {
    const Model& model = *handle->model;
    const Config& config = model.config();
    pi_model_info info{};
    info.strategy = static_cast<pi_strategy>(model.strategy());
    info.n_layers = static_cast<uint32_t>(config.n_layers);
    info.dim = static_cast<uint32_t>(config.dim);
    info.hidden_dim = static_cast<uint32_t>(config.hidden_dim);
    info.n_heads = static_cast<uint32_t>(config.n_heads);
    info.n_kv_heads = static_cast<uint32_t>(config.n_kv_heads);
    info.head_dim = static_cast<uint32_t>(config.head_dim);
    info.vocab_size = static_cast<uint32_t>(model.vocab_size());
    info.context_length = static_cast<uint32_t>(config.context_length);
    info.is_sparse = config.is_sparse ? 1 : 0;
    info.has_predictor = model.has_predictor() ? 1 : 0;
    info.is_gated = config.family->is_gated ? 1 : 0;
    info.sparse_threshold = config.sparse_threshold;
    info.fatrelu_threshold = config.fatrelu_threshold;
    info.weight_bytes = model.weight_bytes();
    info.ffn_bytes = model.ffn_bytes();
    info.predictor_bytes = model.predictor_bytes();
    info.architecture = config.family->name;
    info.activation = activation_name(config);
    info.repacked_bytes = model.weights().copied_bytes();
    info.repack_ns = model.weights().copy_ns();
    info.repack_reason = model.weights().reason().c_str();
    info.device_name = handle->device == nullptr ? "" : handle->device->info().name.c_str();
    info.device_bytes = handle->device == nullptr ? 0 : handle->device->n_bytes();
    write_out(out, info);
}
