#include "device_scratch.h"

#include "neuron_staging.h"

#include <algorithm>

namespace powerinfer {

namespace {

using cuda::Packed;

Packed take_packed(Carver& carver, int n_tokens, int dim) {
    if (dim % 32 != 0) {
        return {}; // rows of floats alone can have such lengths
    }
    const size_t n = product(n_tokens, dim);
    Packed packed;
    packed.low = carver.take<int8_t>(n);
    packed.high = carver.take<int8_t>(n);
    packed.blocks = carver.take<cuda::BlockScale>(n / 32);
    return packed;
}

int tokens_of(const ContextShape& shape) noexcept {
    return std::min(shape.n_batch, shape.n_step);
}

DeviceScratch::Step take_step(Carver& carver, const Model& model, const ContextShape& shape) {
    const Config& config = model.config();
    const int n_tokens = tokens_of(shape);
    const auto tokens = static_cast<size_t>(n_tokens);
    const size_t begin = carver.used();
    DeviceScratch::Step step;
    step.x = carver.take<float>(product(n_tokens, config.dim));
    step.rotation = carver.take<float>(product(n_tokens, config.head_dim));
    step.positions = carver.take<int32_t>(tokens);
    step.sequences = carver.take<int32_t>(tokens);
    step.pages = carver.take<int32_t>(product(shape.n_sequences, KvCache::n_pages(shape.n_ctx, 1)));
    step.begin = reinterpret_cast<std::byte*>(step.x);
    step.n_bytes = carver.used() - begin;
    return step;
}

} // namespace

DeviceScratch::Step DeviceScratch::carve_step(
    std::byte* memory, const Model& model, const ContextShape& shape
) {
    Carver carver(memory);
    return take_step(carver, model, shape);
}

DeviceScratch DeviceScratch::carve(Carver& carver, const Model& model, const ContextShape& shape) {
    const Config& config = model.config();
    const int n = tokens_of(shape);
    const int n_few = std::min(n, cuda::kMaxTokens);
    const auto n_layers = static_cast<size_t>(config.n_layers);
    const int rank = model.max_predictor_rank();

    DeviceScratch s;
    s.n_tokens = n;
    s.n_pages = KvCache::n_pages(shape.n_ctx, shape.n_sequences);
    s.pages_per_sequence = KvCache::n_pages(shape.n_ctx, 1);
    s.step = take_step(carver, model, shape);

    s.attn_normed = carver.take<float>(product(n, config.dim));
    s.q = carver.take<float>(product(n, config.dim));
    s.k = carver.take<float>(product(n, config.kv_dim));
    s.v = carver.take<float>(product(n, config.kv_dim));
    s.attended = carver.take<float>(product(n, config.dim));
    s.attention_parts = carver.take<float>(
        cuda::attention_scratch(config.n_heads, config.head_dim, n_few, shape.n_ctx)
    );
    s.packed_attn = take_packed(carver, n, config.dim);

    s.normed = carver.take<float>(product(n, config.dim));
    s.rank = carver.take<float>(product(n_few, rank));
    s.coef = carver.take<float>(product(n_few, config.hidden_dim));
    s.down_parts = carver.take<float>(product(cuda::kDownParts * n_few, config.dim));
    s.arrived =
        carver.take<uint32_t>(product(n_few, cuda::ceil_div(config.dim, cuda::kDownColumns)));
    s.packed_normed = take_packed(carver, n, config.dim);
    s.packed_x = rank > 0 ? take_packed(carver, n, config.dim) : Packed{};
    s.packed_rank = take_packed(carver, n_few, rank);
    s.packed_coef = config.is_sparse ? Packed{} : take_packed(carver, n_few, config.hidden_dim);
    const int n_selections = rank > 0 ? cuda::ceil_div(n, cuda::kMaxTokens) : 0;
    for (int i = 0; i < n_selections; ++i) {
        const int segments = cuda::ceil_div(config.hidden_dim, cuda::kSegment) + 1;
        const size_t listed = product(segments, cuda::kSegment);
        cuda::Selection& selection = s.selections[i];
        selection.counts = carver.take<int32_t>(static_cast<size_t>(segments));
        selection.rows = carver.take<int32_t>(listed);
        selection.needed = carver.take<uint32_t>(listed);
    }
    s.counters = carver.take<uint32_t>(n_layers * cuda::kLayerCounters);
    s.fired = carver.take<uint32_t>(n_layers * static_cast<size_t>(config.hidden_dim));

    s.logits = carver.take<float>(product(n_few, model.vocab_size()));
    s.arriving = carver.take<std::byte>(NeuronStaging::kSlots * NeuronStaging::slot_bytes(model));
    return s;
}

} // namespace powerinfer
