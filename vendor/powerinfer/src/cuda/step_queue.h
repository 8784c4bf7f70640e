// What the device computes of a step, piece by piece: each function enqueues to the stream. All of
// it depends on the number of tokens only, and is read from memory else; it allocates nothing and
// waits for nothing, so that it can be captured once and launched as a graph.
#pragma once

#include "context_memory.h"
#include "device_model.h"

#include <vector>

namespace powerinfer::cuda {

// Consecutive tokens of a step, or rows of its outputs.
struct Span {
    int first;
    int n;      // F, at most kMaxTokens, unless it is the whole step
    int number; // among those of the step
};
std::vector<Span> spans_of(int n_tokens);

class StepQueue {
public:
    // All of them outlive it.
    StepQueue(
        const CudaModel& device,
        const ContextMemory& memory,
        const ContextShape& shape,
        int activation_bits,
        Stream stream
    );

    // Sends what the host tells about the step.
    void begin_step(KvCache& cache) const;
    // A layer: up to the host's share of it, then the rest.
    void begin_layer(int index, int n_tokens) const;
    void finish_layer(int index, int n_tokens) const;
    // Norms the first n of the shared rows; `is_first` in this step.
    void normalize_outputs(int n, bool is_first) const;
    // Logits of normed rows.
    void multiply_outputs(const Span& span) const;

    // Whether what the host computed for the layer before is still to be added.
    bool follows_share(int index) const noexcept;

private:
    void copy_pages(KvCache& cache) const;
    void normalize_layer(
        int index,
        const DeviceNorm& norm,
        float* out,
        const Packed& packed,
        int n_tokens,
        bool is_first
    ) const;
    void attend_layer(int index, int n_tokens) const;
    void hand_over_share(int index, int n_tokens) const;
    void select_neurons(int index, const Span& span) const;
    void compute_neurons(int index, const Span& span) const;

    Normalize normalization(const DeviceNorm& norm, int n_tokens) const noexcept;
    static DeviceActivations activations(
        const float* x, const Packed& packed, int dim, const Span& span
    ) noexcept;
    DeviceTokens tokens_of(const Span& span) const noexcept;

    const CudaModel& device_;
    const Model& model_;
    const Config& config_;
    const std::vector<DeviceLayer>& layers_;
    const ContextMemory& memory_;
    const DeviceScratch& scratch_;
    int n_ctx_;
    int max_step_;
    Stream stream_;
};

} // namespace powerinfer::cuda
