// A device with memory of its own that computes what was placed there, as the engine sees it. It is
// implemented in cuda/; a build without CUDA has cuda/none.cpp in its place.
#pragma once

#include "forward.h"
#include "model_sizes.h"
#include "placement.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace powerinfer {

struct DeviceInfo {
    std::string name;
    const char* api = ""; // "cuda", "hip" or "emulated"
    uint64_t total_bytes = 0;
    uint64_t free_bytes = 0;
    std::string pci_bus_id; // "00000000:3b:00.0": domain, bus, device, function
};

// Devices of this machine, at least one. Throws Error(device) that says why there is none.
int count_devices();
// Of one of them. The others are left alone: what is asked of a device costs it memory.
DeviceInfo device_info(int index);

// The part of a context that is on the device: its share of the KV cache, and what it computes in.
// Belongs to one caller at a time.
class DeviceContext {
public:
    virtual ~DeviceContext() = default;

    // Tokens that a step may have.
    virtual int max_tokens() const noexcept = 0;
    // Layers whose attention, and so whose KV cache, is on the device: the first ones.
    virtual int n_layers() const noexcept = 0;
    // As forward(): a whole step, with the host's share. Residuals end in scratch.x, unless the
    // device computes the outputs.
    virtual void forward(
        Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
    ) = 0;
    virtual bool has_output() const noexcept = 0;
    virtual void write_outputs(const OutputRows& rows, Stats& stats) = 0;
    // Adds what the device counted since the last call. Between two steps, as the next two.
    virtual void count_neurons(std::vector<LayerStats>& layers) = 0;
    // Begins to send hot neurons of the host, by heat (hidden_dim,), for the places of cold ones of
    // one of its layers. Steps go on while they are copied. False: what was sent before is still on
    // its way; ask again.
    virtual bool send_neurons(int layer, std::span<const float> heat) = 0;
    // Gives those that have arrived their places for the steps to come; it waits for none. Results
    // change by the rounding of sums. `stats` counts neurons. Returns how many.
    virtual int place_neurons(Stats& stats) = 0;
    // Allocated on the device.
    virtual uint64_t n_bytes() const noexcept = 0;
};

// The part of a model that is on the device. It keeps the model alive.
class DeviceModel {
public:
    virtual ~DeviceModel() = default;

    virtual const DeviceInfo& info() const noexcept = 0;
    virtual const Placement& placement() const noexcept = 0;
    virtual uint64_t n_bytes() const noexcept = 0; // allocated on the device
    // One that is timed counts how long the device computes. Throws Error(invalid_argument) for a
    // shape larger than the planned one, and Error(device)
    // while another context is there: the memory of one was planned.
    virtual std::unique_ptr<DeviceContext> make_context(
        const ContextShape& shape, int activation_bits, bool is_timed
    ) = 0;
};

// Copies what `placement`, made for contexts of `shape`, puts on the device. Throws Error(device)
// without one, and Error(out_of_memory) where it has less free memory than was planned.
std::shared_ptr<DeviceModel> load_device_model(
    std::shared_ptr<const Model> model,
    const Placement& placement,
    const ContextShape& shape,
    const LoadProgress& progress
);

} // namespace powerinfer
