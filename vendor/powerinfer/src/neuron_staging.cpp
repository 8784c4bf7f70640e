#include "neuron_staging.h"

#include <algorithm>

namespace powerinfer {

namespace {

std::byte* take_rows(Carver& carver, const Matrix& w, size_t n) {
    return w.data == nullptr ? nullptr : carver.take<std::byte>(n * w.n_row_bytes());
}

} // namespace

NeuronStaging NeuronStaging::carve(Carver& carver, const Layer& layer, int n, bool has_predictor) {
    const auto pairs = static_cast<size_t>(n);
    NeuronStaging s;
    s.neurons = carver.take<int32_t>(2 * pairs);
    s.rows = carver.take<int32_t>(2 * pairs);
    s.up_bias = layer.up_bias == nullptr ? nullptr : carver.take<float>(pairs);
    s.gate = take_rows(carver, layer.gate, pairs);
    s.up = take_rows(carver, layer.up, pairs);
    s.down_t = take_rows(carver, layer.down_t, pairs);
    s.fc2 = has_predictor ? take_rows(carver, layer.fc2, 2 * pairs) : nullptr;
    return s;
}

size_t NeuronStaging::slot_bytes(const Model& model) {
    const Config& config = model.config();
    size_t most = 0;
    for (int i = 0; config.is_sparse && i < config.n_layers; ++i) {
        Carver carver;
        carve(carver, model.layer(i), std::min(kMost, config.hidden_dim / 2), true);
        most = std::max(most, carver.used());
    }
    return most;
}

} // namespace powerinfer
