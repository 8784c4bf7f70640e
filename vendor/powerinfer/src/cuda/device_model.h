// The weights that a placement puts on the device.
#pragma once

#include "../carver.h"
#include "../device.h"
#include "handles.h"
#include "kernels.h"

#include <atomic>
#include <memory>
#include <span>
#include <vector>

namespace powerinfer::cuda {

struct DeviceNorm {
    const float* weight = nullptr;
    const float* bias = nullptr;
};

struct DeviceLayer {
    DeviceNorm attn_norm;
    DeviceNorm attn_norm_2;
    DeviceMatrix q;
    DeviceMatrix k;
    DeviceMatrix v;
    DeviceMatrix o;
    const float* q_bias = nullptr;
    const float* k_bias = nullptr;
    const float* v_bias = nullptr;
    const float* o_bias = nullptr;
    DeviceNorm ffn_norm;
    const float* down_bias = nullptr;

    // The predictor, its rows those of hot neurons first, then of cold ones.
    DeviceMatrix fc1;
    DeviceMatrix fc2;
    const int32_t* row_neurons = nullptr; // (hidden_dim,) numbers of the rows' neurons

    DeviceNeurons neurons;     // the hot ones
    DeviceMatrix down;         // (dim, hidden_dim) of GGUF files, in place of neurons.down_t
    std::vector<int32_t> rows; // the rows' neurons, hot ones first
    std::vector<int32_t> cold; // neurons of the host, ascending

    // Of a step that counted this.
    uint64_t bytes_read(const uint32_t* counters) const noexcept;

    bool has_predictor() const noexcept { return fc2.body != nullptr; }
    std::span<const int32_t> hot() const noexcept {
        return {rows.data(), static_cast<size_t>(neurons.n)};
    }
    bool has_host_share() const noexcept { return !cold.empty(); }
};

class CudaModel final : public DeviceModel, public std::enable_shared_from_this<CudaModel> {
public:
    CudaModel(
        std::shared_ptr<const Model> model,
        const Placement& placement,
        const ContextShape& shape,
        const LoadProgress& progress
    );

    const DeviceInfo& info() const noexcept override { return info_; }
    const Placement& placement() const noexcept override { return placement_; }
    uint64_t n_bytes() const noexcept override { return memory_->n_bytes(); }
    std::unique_ptr<DeviceContext> make_context(
        const ContextShape& shape, int activation_bits, bool is_timed
    ) override;
    // The context is gone.
    void release_context() noexcept { has_context_ = false; }
    // Row rows[i] is that of neuron neurons[i] from now on, on the host's side. For the one
    // context, between two steps.
    void exchange(int layer, std::span<const int32_t> neurons, std::span<const int32_t> rows);

    const Model& model() const noexcept { return *model_; }
    // The first layers: those whose attention is on the device.
    const std::vector<DeviceLayer>& layers() const noexcept { return layers_; }
    bool has_output() const noexcept { return output_.body != nullptr; }
    const DeviceNorm& output_norm() const noexcept { return output_norm_; }
    const DeviceMatrix& output() const noexcept { return output_; }

private:
    class Upload;
    void place(Upload& upload);
    DeviceLayer place_layer(Upload& upload, int index);

    std::shared_ptr<const Model> model_;
    Placement placement_;
    ContextShape shape_; // that was planned
    DeviceInfo info_;
    std::unique_ptr<DeviceMemory> memory_;
    std::vector<DeviceLayer> layers_;
    DeviceNorm output_norm_;
    DeviceMatrix output_;
    std::atomic<bool> has_context_{false};
};

} // namespace powerinfer::cuda
