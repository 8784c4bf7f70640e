#include "model_sizes.h"

#include "device_scratch.h"
#include "kv_cache.h"

namespace powerinfer {

namespace {

constexpr uint64_t kMiB = 1U << 20;

// The context of a device: the driver's own structures, and the code of the kernels and its stacks.
// No call tells it in advance: an estimate, to be replaced by the largest that is measured.
constexpr uint64_t kDeviceContext = 512 * kMiB;
// Likewise, for the captured graphs of a step.
constexpr uint64_t kGraphs = 64 * kMiB;
// Weights lie in one allocation, cache and scratch in another; each is rounded up to large pages.
constexpr uint64_t kPages = 2 * (2 * kMiB);
// Arrays of a layer, each at a multiple of the carver's alignment: 9 matrices in two parts, norms,
// biases, lists and the cache.
constexpr uint64_t kMaxArrays = 36;

uint64_t vector_bytes(const float* data, int n) noexcept {
    return data == nullptr ? 0 : static_cast<uint64_t>(n) * sizeof(float);
}

uint64_t norm_bytes(const NormWeights& norm, int dim) noexcept {
    return vector_bytes(norm.weight, dim) + vector_bytes(norm.bias, dim);
}

LayerSizes layer_sizes(const Model& model, int index) {
    const Layer& layer = model.layer(index);
    const Config& config = model.config();
    const int dim = config.dim;
    LayerSizes sizes;
    sizes.attention = norm_bytes(layer.attn_norm, dim) + norm_bytes(layer.attn_norm_2, dim) +
                      layer.q.n_bytes() + layer.k.n_bytes() + layer.v.n_bytes() +
                      layer.o.n_bytes() + vector_bytes(layer.q_bias, dim) +
                      vector_bytes(layer.k_bias, config.kv_dim) +
                      vector_bytes(layer.v_bias, config.kv_dim) + vector_bytes(layer.o_bias, dim);
    sizes.ffn_norm = norm_bytes(layer.ffn_norm, dim) + vector_bytes(layer.down_bias, dim);
    sizes.predictor = model.may_predict() ? layer.fc1.n_bytes() + layer.fc2.n_bytes() : 0;
    const uint64_t up = layer.up.n_bytes() + vector_bytes(layer.up_bias, config.hidden_dim);
    const uint64_t down = layer.down.n_bytes() + layer.down_t.n_bytes();
    sizes.tested = config.family->is_gated ? layer.gate.n_bytes() : up;
    sizes.rest = config.family->is_gated ? up + down : down;
    return sizes;
}

} // namespace

uint64_t device_overhead() noexcept {
    return kDeviceContext + kGraphs;
}

ModelSizes model_sizes(const Model& model, const ContextShape& context) {
    const Config& config = model.config();
    const Matrix& output = model.output();
    const Matrix& embedding = model.token_embd();
    const Matrix& positions = model.position_embd();
    const uint64_t kv_cache =
        KvCache::layer_bytes(context.kv_type, config.kv_dim, context.n_ctx, context.n_sequences);
    const auto n_layers = static_cast<uint64_t>(config.n_layers);
    const uint64_t slack = (n_layers + 1) * kMaxArrays * Carver::kAlignment + kPages;
    // The number of the neuron of each of a predictor's rows.
    const uint64_t lists =
        model.may_predict() ? n_layers * static_cast<uint64_t>(config.hidden_dim) * sizeof(int32_t)
                            : 0;
    Carver scratch;
    DeviceScratch::carve(scratch, model, context);

    ModelSizes sizes;
    sizes.hidden_dim = config.hidden_dim;
    sizes.has_neuron_rows = config.is_sparse;
    sizes.has_predictor = model.may_predict();
    sizes.has_zeros = config.has_zeros() && model.strategy() != Strategy::dense;
    sizes.embedding = embedding.n_bytes() + positions.n_bytes();
    sizes.embedding_row = embedding.n_row_bytes();
    sizes.embedding_row += positions.data == nullptr ? 0 : positions.n_row_bytes();
    sizes.output = norm_bytes(model.output_norm(), config.dim) + output.n_bytes();
    sizes.reserve = device_overhead() + slack + lists + scratch.used();
    for (int i = 0; i < config.n_layers; ++i) {
        LayerSizes layer = layer_sizes(model, i);
        layer.kv_cache = kv_cache;
        sizes.layers.push_back(layer);
    }
    return sizes;
}

} // namespace powerinfer
