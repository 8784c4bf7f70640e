// The C interface to placement and GPU-index files.
#include "capi.h"
#include "fingerprint.h"
#include "gpu_index.h"
#include "placement.h"

#include <algorithm>
#include <optional>

using namespace powerinfer;
using namespace powerinfer::capi;

namespace {

PlacementOptions placement_options(const pi_placement_options& given, const Config& config) {
    PI_CHECK(
        given.group <= INT32_MAX,
        invalid_argument,
        "group: want a divisor of the %d neurons of a layer, got %u",
        config.hidden_dim,
        given.group
    );
    PlacementOptions options;
    options.vram_budget = given.vram_budget;
    options.group = static_cast<int>(given.group);
    options.counted_tokens = given.counted_tokens;
    options.active_share = given.active_share;
    if (given.counts != nullptr) {
        PI_CHECK(
            given.n_count_layers == static_cast<uint32_t>(config.n_layers) &&
                given.n_count_neurons == static_cast<uint32_t>(config.hidden_dim),
            invalid_argument,
            "counts: the model has %d layers of %d neurons, got counts of %u layers of %u: they "
            "are another model's",
            config.n_layers,
            config.hidden_dim,
            given.n_count_layers,
            given.n_count_neurons
        );
        options.counts = {
            given.counts,
            static_cast<size_t>(config.n_layers) * static_cast<size_t>(config.hidden_dim)
        };
    }
    return options;
}

// Of our own files, whose neurons are those of a plan.
void check_capacity(const GpuIndex& index, const ModelSizes& sizes) {
    const uint64_t n_bytes = neuron_bytes(sizes, index.neurons);
    PI_CHECK(
        n_bytes <= index.vram_capacity,
        format,
        "GPU index: its neurons have %llu bytes, its split.vram_capacity is %llu",
        static_cast<unsigned long long>(n_bytes),
        static_cast<unsigned long long>(index.vram_capacity)
    );
}

ContextShape shape_of(const Model& model, const pi_placement_options& given) {
    ContextOptions context;
    context.n_ctx = given.n_ctx;
    context.n_sequences = given.n_sequences;
    context.n_batch = given.n_batch;
    context.kv_type = static_cast<DType>(given.kv_dtype);
    return context_shape(model, context);
}

// Of an index, unless it was made for something else.
std::optional<Neurons> usable_neurons(
    const GgufFile& file, const Config& config, const ModelSizes& sizes, pi_placement& result
) {
    if (is_stale(file, *result.index.model, result.index.statistics)) {
        result.state = PI_GPU_INDEX_STALE;
        return std::nullopt;
    }
    GpuIndex index = read_gpu_index(file, config.n_layers, config.hidden_dim);
    result.state = index.model.has_value() ? PI_GPU_INDEX_USED : PI_GPU_INDEX_FOREIGN;
    if (result.state == PI_GPU_INDEX_USED) {
        check_capacity(index, sizes);
    }
    result.index.statistics = index.statistics; // where its neurons come from
    return std::move(index.neurons);
}

std::optional<Neurons> usable_neurons(
    const char* path, const Config& config, const ModelSizes& sizes, pi_placement& result
) {
    const GgufFile file = GgufFile::open(path);
    try {
        return usable_neurons(file, config, sizes, result);
    } catch (const Error& error) {
        throw Error(error.kind(), std::string(path) + ": " + error.what());
    }
}

// With memory to spare for what they compute in, models that are whole on the device take long
// steps. Others do not: the host's share of a step is listed for a few tokens at a time.
void lengthen_steps(
    pi_placement& plan, const Model& model, const ModelSizes& sizes, const PlacementOptions& options
) {
    ContextShape shape = plan.shape;
    shape.n_step = cuda::kLongStep;
    const ModelSizes longer = model_sizes(model, shape);
    const uint64_t left = options.vram_budget - plan.placement.device_bytes;
    if (plan.placement.is_whole() && longer.reserve - sizes.reserve <= left) {
        plan.shape = shape;
        plan.placement = place(longer, options);
    }
}

const LayerPlacement& layer_at(const pi_placement* handle, uint32_t layer) {
    require(handle, "placement");
    const std::vector<LayerPlacement>& layers = handle->placement.layers;
    PI_CHECK(
        layer < layers.size(),
        invalid_argument,
        "layer: want below %zu, got %u",
        layers.size(),
        layer
    );
    return layers[layer];
}

} // namespace

uint64_t pi_default_vram_budget(uint64_t free_bytes) {
    return default_vram_budget(free_bytes);
}

void pi_placement_options_init(pi_placement_options* options) {
    *options = {};
    options->struct_size = sizeof *options;
    options->n_sequences = 1;
    options->n_batch = 512;
    options->kv_dtype = static_cast<uint32_t>(DType::f16);
    options->active_share = PlacementOptions{}.active_share;
}

pi_error* pi_file_place(
    const pi_file* file, const pi_placement_options* given, pi_placement** out
) {
    return guarded([&] {
        require(file, "file");
        require(out, "out");
        const pi_placement_options wanted = read_options(given, pi_placement_options_init);
        ModelOptions planned;
        planned.strategy = given_strategy(wanted.strategy);
        const Model model(
            std::make_shared<Weights>(file->gguf, WeightOptions{.repack = Repack::never}), planned
        );
        PlacementOptions options = placement_options(wanted, model.config());

        auto result = std::make_unique<pi_placement>();
        result->shape = shape_of(model, wanted);
        result->strategy = model.strategy();
        const ModelSizes sizes = model_sizes(model, result->shape);
        GpuIndex& made = result->index;
        made.hidden_dim = sizes.hidden_dim;
        made.model = file_fingerprint(*file->gguf);
        if (!options.counts.empty()) {
            made.statistics = counts_fingerprint(options.counts);
        }
        std::optional<Neurons> neurons;
        if (wanted.gpu_index != nullptr) {
            neurons = usable_neurons(wanted.gpu_index, model.config(), sizes, *result);
            options.neurons = neurons.has_value() ? &*neurons : nullptr;
        }
        result->placement = place(sizes, options);
        lengthen_steps(*result, model, sizes, options);
        made.vram_capacity = result->placement.neuron_budget;
        *out = result.release();
    });
}

void pi_placement_free(pi_placement* placement) {
    delete placement;
}

void pi_placement_get_info(const pi_placement* handle, pi_placement_info* out) {
    const Placement& placement = handle->placement;
    pi_placement_info info{};
    info.n_layers = static_cast<uint32_t>(placement.layers.size());
    info.hidden_dim = static_cast<uint32_t>(placement.hidden_dim);
    info.group = static_cast<uint32_t>(placement.group);
    info.has_counts = placement.has_counts ? 1 : 0;
    info.gpu_index = handle->state;
    info.vram_budget = placement.vram_budget;
    info.reserve = placement.reserve;
    info.device_bytes = placement.device_bytes;
    info.neuron_budget = placement.neuron_budget;
    info.n_neurons = placement.n_neurons;
    info.activation_share = placement.activation_share;
    info.strategy = static_cast<pi_strategy>(handle->strategy);
    write_out(out, info);
}

pi_error* pi_placement_get_part(const pi_placement* handle, pi_part part, pi_placement_part* out) {
    return guarded([&] {
        require(handle, "placement");
        require(out, "out");
        PI_CHECK(
            part < PI_N_PARTS, invalid_argument, "part: want below %u, got %u", PI_N_PARTS, part
        );
        const PartPlacement& found = handle->placement.part(static_cast<Part>(part));
        pi_placement_part copy{};
        copy.n_bytes = found.n_bytes;
        copy.device_bytes = found.device_bytes;
        copy.device_read = found.device_read;
        copy.host_read = found.host_read;
        write_out(out, copy);
    });
}

pi_error* pi_placement_get_layer(
    const pi_placement* handle, uint32_t layer, pi_placement_layer* out
) {
    return guarded([&] {
        require(out, "out");
        const LayerPlacement& found = layer_at(handle, layer);
        static_assert(PI_N_PARTS == kParts);
        pi_placement_layer copy{};
        copy.n_neurons = static_cast<uint32_t>(found.neurons.size());
        std::copy(found.device_bytes.begin(), found.device_bytes.end(), copy.device_bytes);
        copy.activation_share = found.activation_share;
        write_out(out, copy);
    });
}

pi_error* pi_placement_get_neurons(
    const pi_placement* handle, uint32_t layer, const int32_t** out, uint32_t* out_len
) {
    return guarded([&] {
        require(out, "out");
        require(out_len, "out_len");
        const std::vector<int32_t>& neurons = layer_at(handle, layer).neurons;
        *out = neurons.data();
        *out_len = static_cast<uint32_t>(neurons.size());
    });
}

pi_error* pi_placement_save_gpu_index(const pi_placement* handle, const char* path) {
    return guarded([&] {
        require(handle, "placement");
        require(path, "path");
        GpuIndex index = handle->index;
        for (const LayerPlacement& layer : handle->placement.layers) {
            index.neurons.push_back(layer.neurons);
        }
        save_gpu_index(path, index);
    });
}
