#include "context_memory.h"

#include "../carver.h"

#include <algorithm>

namespace powerinfer::cuda {

namespace {

size_t cache_plane_bytes(const Config& config, const ContextShape& shape) noexcept {
    const int n_pages = KvCache::n_pages(shape.n_ctx, shape.n_sequences);
    return product(n_pages, kPageTokens) * row_bytes(shape.kv_type, config.kv_dim);
}

size_t scratch_bytes(const Model& model, const ContextShape& shape) {
    Carver carver;
    DeviceScratch::carve(carver, model, shape);
    return carver.used();
}

SharedArrays carve_shared(Carver& carver, const Model& model, int n_tokens) {
    const Config& config = model.config();
    const auto hidden_dim = static_cast<size_t>(config.hidden_dim);
    const auto n_layers = static_cast<size_t>(config.n_layers);
    SharedArrays shared;
    shared.n = carver.take<int32_t>(1);
    shared.neurons = carver.take<int32_t>(hidden_dim);
    shared.needed = carver.take<uint32_t>(hidden_dim);
    shared.input = carver.take<float>(product(n_tokens, config.dim));
    shared.residual = carver.take<float>(product(n_tokens, config.dim));
    shared.delta = carver.take<float>(product(n_tokens, config.dim));
    shared.hidden = carver.take<float>(product(n_tokens, config.dim));
    shared.logits = carver.take<float>(product(std::min(n_tokens, kMaxTokens), model.vocab_size()));
    shared.rows = carver.take<int32_t>(static_cast<size_t>(n_tokens));
    shared.counters = carver.take<uint32_t>(n_layers * kLayerCounters);
    shared.fired = carver.take<uint32_t>(n_layers * hidden_dim);
    return shared;
}

size_t pinned_bytes(const Model& model, const ContextShape& shape) {
    Carver carver;
    const DeviceScratch scratch = DeviceScratch::carve(carver, model, shape);
    Carver shared;
    carve_shared(shared, model, scratch.n_tokens);
    return scratch.step.n_bytes + shared.used();
}

} // namespace

ContextMemory::ContextMemory(const Model& model, const ContextShape& shape, size_t n_layers)
    : kv_type(shape.kv_type), cache_plane(cache_plane_bytes(model.config(), shape)),
      device(scratch_bytes(model, shape) + 2 * n_layers * cache_plane),
      pinned(pinned_bytes(model, shape)) {
    Carver carver(device.data());
    scratch = DeviceScratch::carve(carver, model, shape);
    cache = device.data() + carver.used();
    staging = DeviceScratch::carve_step(pinned.data(), model, shape);
    Carver carver_of_shared(pinned.data() + scratch.step.n_bytes);
    shared = carve_shared(carver_of_shared, model, scratch.n_tokens);
}

DeviceCache ContextMemory::cache_of(int layer) const noexcept {
    auto* keys = reinterpret_cast<uint8_t*>(cache) + 2 * static_cast<size_t>(layer) * cache_plane;
    return {keys, keys + cache_plane, kv_type};
}

} // namespace powerinfer::cuda
