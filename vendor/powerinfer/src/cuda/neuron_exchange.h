// Neurons that change sides while steps go on. Their rows are copied over a stream of its own into
// memory that no step reads; between two steps those that have arrived take their places, by work
// that is enqueued before the next step. The host waits for none of it.
#pragma once

#include "../neuron_staging.h"
#include "../replacement.h"
#include "device_model.h"

#include <array>
#include <span>

namespace powerinfer::cuda {

class NeuronExchange {
public:
    // Neurons of one layer on their way.
    struct Slot {
        int layer = -1; // -1: empty
        int n = 0;      // pairs
        size_t n_bytes = 0;
        NeuronStaging host;   // in pinned memory
        NeuronStaging device; // the same
        Event arrived;        // in the stream of the copies
        Event placed;         // in the stream of the steps
    };

    // `memory` of the device, of NeuronStaging::kSlots slots, outlives it.
    NeuronExchange(const Model& model, std::byte* memory);
    ~NeuronExchange(); // waits for copies that are on their way

    // Whether neurons of this layer can be sent: a slot is empty, and has none of it.
    bool can_send(int layer) const noexcept;
    // At most kMost pairs.
    void send(int layer, const DeviceLayer& on_device, std::span<const Replacement> pairs);
    // A slot whose neurons are all there; nullptr: none.
    Slot* arrived();
    // Between two steps: enqueues that they take their places, and empties the slot.
    void place(Slot& slot, CudaModel& model, Stream stream);

private:
    void fill(
        const Slot& slot,
        const DeviceLayer& on_device,
        int layer,
        std::span<const Replacement> pairs
    );

    const Model& model_;
    size_t slot_bytes_;
    std::byte* memory_;
    PinnedMemory pinned_;
    OwnedStream stream_;
    std::array<Slot, NeuronStaging::kSlots> slots_;
};

} // namespace powerinfer::cuda
