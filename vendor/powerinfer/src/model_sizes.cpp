#include "model_sizes.h"

#include "kv_cache.h"

#include <algorithm>

namespace powerinfer {

namespace {

constexpr uint64_t kMiB = 1U << 20;

// The context of a device: the driver's own structures, and the code of the kernels and its stacks.
// No call tells it in advance: an estimate, to be replaced by the largest that is measured.
constexpr uint64_t kDeviceContext = 512 * kMiB;
// Likewise, for the workspace of cuBLAS and the captured graphs of a step.
constexpr uint64_t kWorkspace = 64 * kMiB;
// Dequantised weights, of which prompts are multiplied one tile after the other.
constexpr uint64_t kTile = 64 * kMiB;
constexpr uint64_t kMaxVectors = 8; // tokens that are multiplied without tiles
// Everything lies in one allocation, which is rounded up to large pages, each tensor at a multiple
// of this.
constexpr uint64_t kAlignment = 256;
constexpr uint64_t kPage = 2 * kMiB;
constexpr uint64_t kMaxTensors = 24; // of a layer, its KV cache included
// Parts that a sequence is cut into, so that few heads fill a device.
constexpr uint64_t kAttentionParts = 64;

uint64_t vector_bytes(const float* data, int n) noexcept {
    return data == nullptr ? 0 : static_cast<uint64_t>(n) * sizeof(float);
}

uint64_t norm_bytes(const NormWeights& norm, int dim) noexcept {
    return vector_bytes(norm.weight, dim) + vector_bytes(norm.bias, dim);
}

LayerSizes layer_sizes(const Layer& layer, const Config& config) {
    const int dim = config.dim;
    LayerSizes sizes;
    sizes.attention = norm_bytes(layer.attn_norm, dim) + norm_bytes(layer.attn_norm_2, dim) +
                      layer.q.n_bytes() + layer.k.n_bytes() + layer.v.n_bytes() +
                      layer.o.n_bytes() + vector_bytes(layer.q_bias, dim) +
                      vector_bytes(layer.k_bias, config.kv_dim) +
                      vector_bytes(layer.v_bias, config.kv_dim) + vector_bytes(layer.o_bias, dim);
    sizes.ffn_norm = norm_bytes(layer.ffn_norm, dim) + vector_bytes(layer.down_bias, dim);
    sizes.predictor = layer.fc1.n_bytes() + layer.fc2.n_bytes();
    const uint64_t up = layer.up.n_bytes() + vector_bytes(layer.up_bias, config.hidden_dim);
    const uint64_t down = layer.down.n_bytes() + layer.down_t.n_bytes();
    sizes.tested = config.family->is_gated ? layer.gate.n_bytes() : up;
    sizes.rest = config.family->is_gated ? up + down : down;
    return sizes;
}

// What a device computes in: the same arrays as Scratch has on the host, and what only devices
// need.
uint64_t scratch_bytes(const Model& model, const ContextShape& context) {
    const Config& config = model.config();
    const auto dim = static_cast<uint64_t>(config.dim);
    const auto kv_dim = static_cast<uint64_t>(config.kv_dim);
    const auto hidden_dim = static_cast<uint64_t>(config.hidden_dim);
    const auto rank = static_cast<uint64_t>(model.max_predictor_rank());
    const auto n_layers = static_cast<uint64_t>(config.n_layers);
    const auto n_heads = static_cast<uint64_t>(config.n_heads);
    const auto head_dim = static_cast<uint64_t>(config.head_dim);
    const auto tokens = static_cast<uint64_t>(context.n_batch);
    const uint64_t widest = std::max({dim, hidden_dim, rank});

    // Residuals, normed, queries, attended and sums of both blocks; keys and values; predictor,
    // scores and both products.
    const uint64_t floats = tokens * (8 * dim + 2 * kv_dim + rank + 3 * hidden_dim + head_dim);
    const uint64_t packed = tokens * (2 * widest + 4 * ((widest + 31) / 32)); // 16 bits and a scale
    const uint64_t logits =
        static_cast<uint64_t>(context.n_sequences) * static_cast<uint64_t>(model.vocab_size());
    // Of each part of a sequence a sum of values, a maximum and a sum of exponentials.
    const uint64_t attention =
        std::min(tokens, kMaxVectors) * n_heads * kAttentionParts * (head_dim + 2);
    // Which neurons a layer has on the device; the active ones and the host's.
    const uint64_t lists = (n_layers + 2) * hidden_dim * sizeof(int32_t);
    const uint64_t tile = tokens > kMaxVectors ? kTile : 0;
    return (floats + logits + attention) * sizeof(float) + packed + lists + tile;
}

} // namespace

ModelSizes model_sizes(const Model& model, const ContextShape& context) {
    const Config& config = model.config();
    const Matrix& output = model.output();
    const Matrix& embedding = model.token_embd();
    const Matrix& positions = model.position_embd();
    const uint64_t kv_cache =
        KvCache::layer_bytes(context.kv_type, config.kv_dim, context.n_ctx, context.n_sequences);
    const uint64_t slack =
        (static_cast<uint64_t>(config.n_layers) + 1) * kMaxTensors * kAlignment + kPage;

    ModelSizes sizes;
    sizes.hidden_dim = config.hidden_dim;
    sizes.has_neuron_rows = config.is_sparse;
    sizes.has_predictor = model.has_predictor();
    sizes.has_zeros = config.has_zeros();
    sizes.embedding = embedding.n_bytes() + positions.n_bytes();
    sizes.embedding_row = embedding.n_row_bytes();
    sizes.embedding_row += positions.data == nullptr ? 0 : positions.n_row_bytes();
    sizes.output = norm_bytes(model.output_norm(), config.dim) + output.n_bytes();
    sizes.reserve = kDeviceContext + kWorkspace + slack + scratch_bytes(model, context);
    for (int i = 0; i < config.n_layers; ++i) {
        LayerSizes layer = layer_sizes(model.layer(i), config);
        layer.kv_cache = kv_cache;
        sizes.layers.push_back(layer);
    }
    return sizes;
}

} // namespace powerinfer
