#include "neuron_exchange.h"

#include "weights.h"

#include <algorithm>

namespace powerinfer::cuda {

namespace {

// Where the scales of n rows begin, behind their bodies.
size_t scales_begin(const Matrix& w, int n) noexcept {
    return body_bytes(w.type, n, w.cols);
}

void split_to(std::byte* to, const Matrix& w, const int32_t* neurons, int n) {
    if (to != nullptr) {
        split_rows(to, to + scales_begin(w, n), w.type, w.select(neurons, n), w.cols);
    }
}

// The lists of rows that take their places together.
class Scatters {
public:
    void add(const void* to, const void* from, const int32_t* rows, int n, size_t row_bytes) {
        if (to != nullptr && row_bytes > 0) {
            // What it points to is const to those who compute with it.
            auto* target = static_cast<uint8_t*>(const_cast<void*>(to));
            all_[n_++] = {target, static_cast<const uint8_t*>(from), rows, n, row_bytes};
        }
    }
    void add(const DeviceMatrix& to, const std::byte* from, const int32_t* rows, int n) {
        const size_t scales = body_bytes(to.type, n, to.cols);
        add(to.body, from, rows, n, body_bytes(to.type, 1, to.cols));
        add(to.scales, from + scales, rows, n, scales_bytes(to.type, 1, to.cols));
    }
    std::span<const RowScatter> all() const noexcept { return {all_.data(), n_}; }

private:
    std::array<RowScatter, kMaxScatters> all_{};
    size_t n_ = 0;
};

} // namespace

NeuronExchange::NeuronExchange(const Model& model, std::byte* memory)
    : model_(model), slot_bytes_(NeuronStaging::slot_bytes(model)), memory_(memory),
      pinned_(NeuronStaging::kSlots * slot_bytes_) {}

NeuronExchange::~NeuronExchange() {
    stream_.drain();
}

bool NeuronExchange::can_send(int layer) const noexcept {
    const auto is_empty = [](const Slot& slot) { return slot.layer < 0; };
    const auto is_same = [&](const Slot& slot) { return slot.layer == layer; };
    return std::ranges::any_of(slots_, is_empty) && std::ranges::none_of(slots_, is_same);
}

void NeuronExchange::send(
    int layer, const DeviceLayer& on_device, std::span<const Replacement> pairs
) {
    const auto found =
        std::ranges::find_if(slots_, [](const Slot& slot) { return slot.layer < 0; });
    Slot& slot = *found;
    const size_t begin = static_cast<size_t>(found - slots_.begin()) * slot_bytes_;
    const auto carve = [&](std::byte* memory) {
        Carver carver(memory + begin);
        const NeuronStaging staging = NeuronStaging::carve(
            carver, model_.layer(layer), static_cast<int>(pairs.size()), on_device.has_predictor()
        );
        slot.n_bytes = carver.used();
        return staging;
    };
    slot.n = static_cast<int>(pairs.size());
    slot.host = carve(pinned_.data());
    slot.device = carve(memory_);
    PI_CHECK(
        slot.n_bytes <= slot_bytes_,
        internal,
        "%zu bytes of neurons for a slot of %zu",
        slot.n_bytes,
        slot_bytes_
    );
    fill(slot, on_device, layer, pairs);
    try {
        stream_.begin_after(slot.placed); // those that it had before have been read
        copy_to_device(stream_, memory_ + begin, pinned_.data() + begin, slot.n_bytes);
        slot.arrived.record(stream_);
    } catch (...) {
        stream_.drain();
        throw;
    }
    slot.layer = layer;
}

void NeuronExchange::fill(
    const Slot& slot, const DeviceLayer& on_device, int index, std::span<const Replacement> pairs
) {
    const Layer& layer = model_.layer(index);
    const NeuronStaging& to = slot.host;
    const size_t n = pairs.size();
    std::vector<int32_t> row_of(on_device.rows.size());
    for (size_t row = 0; row < row_of.size(); ++row) {
        row_of[static_cast<size_t>(on_device.rows[row])] = static_cast<int32_t>(row);
    }
    for (size_t i = 0; i < n; ++i) {
        to.neurons[i] = pairs[i].in;
        to.neurons[n + i] = pairs[i].out;
        to.rows[i] = row_of[static_cast<size_t>(pairs[i].out)];
        to.rows[n + i] = row_of[static_cast<size_t>(pairs[i].in)];
        if (to.up_bias != nullptr) {
            to.up_bias[i] = layer.up_bias[pairs[i].in];
        }
    }
    split_to(to.gate, layer.gate, to.neurons, slot.n);
    split_to(to.up, layer.up, to.neurons, slot.n);
    split_to(to.down_t, layer.down_t, to.neurons, slot.n);
    split_to(to.fc2, layer.fc2, to.neurons, 2 * slot.n);
}

NeuronExchange::Slot* NeuronExchange::arrived() {
    const auto found = std::ranges::find_if(slots_, [](const Slot& slot) {
        return slot.layer >= 0 && slot.arrived.is_done();
    });
    return found == slots_.end() ? nullptr : &*found;
}

// Doing it again is doing the same: where it fails in the middle, the slot stays full.
void NeuronExchange::place(Slot& slot, CudaModel& model, Stream stream) {
    const DeviceLayer& layer = model.layers()[static_cast<size_t>(slot.layer)];
    const NeuronStaging& from = slot.device;
    Scatters scatters;
    scatters.add(layer.neurons.gate, from.gate, from.rows, slot.n);
    scatters.add(layer.neurons.up, from.up, from.rows, slot.n);
    scatters.add(layer.neurons.down_t, from.down_t, from.rows, slot.n);
    scatters.add(layer.neurons.up_bias, from.up_bias, from.rows, slot.n, sizeof(float));
    scatters.add(layer.fc2, from.fc2, from.rows, 2 * slot.n);
    scatters.add(layer.row_neurons, from.neurons, from.rows, 2 * slot.n, sizeof(int32_t));
    scatter_rows(stream, scatters.all());
    const auto n_rows = static_cast<size_t>(2 * slot.n);
    model.exchange(slot.layer, {slot.host.neurons, n_rows}, {slot.host.rows, n_rows});
    slot.placed.record(stream);
    slot.layer = -1;
}

} // namespace powerinfer::cuda
