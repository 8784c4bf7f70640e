// A context's part on the device, and the step: how device and host share a batch of tokens.
//
// Residuals are on the device. Of each layer it computes attention, predictor and hot neurons; the
// host gets the normed input and the list of cold neurons that are needed, computes those while the
// device is at the hot ones, and what it adds is picked up when the next layer begins. They meet
// twice a layer: an event tells the host that its share is there, and the stream goes on with what
// the host enqueues when it is done. A layer whose neurons are all on the device does not meet the
// host, so that a model that fits is one uninterrupted piece.
//
// What is enqueued between two meetings is captured once for a number of tokens, and launched as a
// graph (step_queue.h).
#pragma once

#include "device_model.h"
#include "neuron_exchange.h"
#include "row_counts.h"
#include "step_clock.h"
#include "step_queue.h"

#include <memory>
#include <optional>
#include <vector>

namespace powerinfer::cuda {

class CudaContext final : public DeviceContext {
public:
    CudaContext(
        std::shared_ptr<CudaModel> device,
        const ContextShape& shape,
        int activation_bits,
        bool is_timed
    );
    ~CudaContext() override;

    int max_tokens() const noexcept override { return scratch_.n_tokens; }
    int n_layers() const noexcept override { return static_cast<int>(layers_.size()); }
    bool has_output() const noexcept override { return device_->has_output(); }
    uint64_t n_bytes() const noexcept override { return memory_.device.n_bytes(); }

    void forward(
        Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
    ) override;
    void write_outputs(const OutputRows& rows, Stats& stats) override;
    void count_neurons(std::vector<LayerStats>& layers) override { row_counts_.take(layers); }
    bool send_neurons(int layer, std::span<const float> heat) override;
    int place_neurons(Stats& stats) override;

private:
    // What is enqueued at once. With a share on the host a layer has two pieces: at the end of the
    // first its share is ready, and after launching the second the host computes it.
    struct Piece {
        struct Work {
            int layer;
            bool is_rest;
        };
        std::vector<Work> works;
        int shares = -1;   // layer
        int computes = -1; // layer
        std::optional<Graph> graph;
        int graph_tokens = 0; // that it is for
    };

    static std::vector<Piece> pieces_of(const std::vector<DeviceLayer>& layers);
    void begin_step(Compute& compute, KvCache& cache, const Tokens& tokens);
    void launch(Piece& piece, bool is_repeated);
    void enqueue(const Piece& piece) const;
    void wait_for_share(Stats& stats);
    void compute_share(Compute& compute, int index);
    void finish_on_host(
        Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
    );
    void finish_on_device(const OutputRows& rows, Stats& stats);
    void enqueue_outputs(const int32_t* tokens, int n, bool is_first);
    void take_logits(const OutputRows& rows, const Span& span);
    void pause_step();
    void end_step(Stats& stats);
    void abandon_step() noexcept;

    std::shared_ptr<CudaModel> device_;
    const Model& model_;
    const Config& config_;
    const std::vector<DeviceLayer>& layers_;
    ContextMemory memory_;
    const DeviceScratch& scratch_;
    const SharedArrays& shared_;
    OwnedStream stream_;
    StepQueue queue_;
    RowCounts row_counts_;
    Event share_ready_;
    StepClock clock_;

    std::vector<Piece> pieces_;
    size_t share_number_ = 0; // of the clock: the piece at whose end the host's share is ready
    int n_tokens_ = 0;        // of the step
    std::unique_ptr<NeuronExchange> exchange_; // since neurons were first sent
};

} // namespace powerinfer::cuda
