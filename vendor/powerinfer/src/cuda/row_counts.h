// How often neurons of the device fired. It counts by row, and rows change hands.
#pragma once

#include "context_memory.h"
#include "device_model.h"

#include <vector>

namespace powerinfer::cuda {

class RowCounts {
public:
    // All of them outlive it; the steps are in that stream.
    RowCounts(
        const std::vector<DeviceLayer>& layers,
        size_t hidden_dim,
        const ContextMemory& memory,
        const OwnedStream& stream
    )
        : layers_(layers), hidden_dim_(hidden_dim), memory_(memory), stream_(stream) {}

    // Adds what was counted since the last call; waits for it.
    void take(std::vector<LayerStats>& layers);
    // Takes those of a layer out before its rows become other neurons'; waits for nothing.
    void keep(int layer);
    // Adds what was kept.
    void add_kept(std::vector<LayerStats>& layers);

private:
    // The counts of a layer's rows are on the host's side, for these neurons.
    struct Kept {
        int layer;
        std::vector<int32_t> neurons;
    };

    size_t begin_of(int layer) const noexcept { return static_cast<size_t>(layer) * hidden_dim_; }
    void add(LayerStats& stats, int layer, std::span<const int32_t> neurons) const;
    // Enqueues that n counts go to the host and begin anew.
    void fetch(size_t begin, size_t n) const;

    const std::vector<DeviceLayer>& layers_;
    size_t hidden_dim_;
    const ContextMemory& memory_;
    const OwnedStream& stream_;
    std::vector<Kept> kept_;
};

} // namespace powerinfer::cuda
