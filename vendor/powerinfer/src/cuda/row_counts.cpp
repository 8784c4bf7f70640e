#include "row_counts.h"

#include <utility>

namespace powerinfer::cuda {

void RowCounts::fetch(size_t begin, size_t n) const {
    uint32_t* counts = memory_.scratch.fired + begin;
    copy_to_host(stream_, memory_.shared.fired + begin, counts, n * sizeof(uint32_t));
    clear(stream_, counts, n * sizeof(uint32_t));
}

void RowCounts::add(LayerStats& stats, int layer, std::span<const int32_t> neurons) const {
    const uint32_t* fired = memory_.shared.fired + begin_of(layer);
    for (size_t row = 0; row < neurons.size(); ++row) {
        stats.fired[static_cast<size_t>(neurons[row])] += fired[row];
    }
}

void RowCounts::take(std::vector<LayerStats>& layers) {
    add_kept(layers);
    fetch(0, layers_.size() * hidden_dim_);
    stream_.wait();
    for (size_t i = 0; i < layers_.size(); ++i) {
        add(layers[i], static_cast<int>(i), layers_[i].hot());
    }
}

void RowCounts::keep(int layer) {
    const std::span<const int32_t> hot = layers_[static_cast<size_t>(layer)].hot();
    Kept kept{layer, {hot.begin(), hot.end()}};
    kept_.reserve(kept_.size() + 1);
    fetch(begin_of(layer), hot.size());
    kept_.push_back(std::move(kept));
}

void RowCounts::add_kept(std::vector<LayerStats>& layers) {
    if (kept_.empty()) {
        return;
    }
    stream_.wait(); // a step came since then, unless it failed: there is nothing to wait for
    for (const Kept& kept : kept_) {
        add(layers[static_cast<size_t>(kept.layer)], kept.layer, kept.neurons);
    }
    kept_.clear();
}

} // namespace powerinfer::cuda
