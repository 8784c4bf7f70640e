// A context's part on the device, and the step: how device and host share a batch of tokens.
//
// Residuals are on the device. Of each layer it computes attention, predictor and hot neurons; the
// host gets the normed input and the list of cold neurons that are needed, computes those while the
// device is at the hot ones, and what it adds is picked up when the next layer begins. They meet
// twice a layer: an event tells the host that its share is there, and the stream goes on with what
// the host enqueues when it is done. A layer whose neurons are all on the device does not meet the
// host, so that a model that fits is one uninterrupted piece.
//
// What is enqueued between two meetings depends on the number of tokens only - everything else is
// read from memory - so it is captured once and launched as a graph.
#pragma once

#include "../device_scratch.h"
#include "device_model.h"
#include "neuron_exchange.h"
#include "step_clock.h"

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
    uint64_t n_bytes() const noexcept override { return memory_.n_bytes(); }

    void forward(
        Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
    ) override;
    void write_outputs(const OutputRows& rows, Stats& stats) override;
    void count_neurons(std::vector<LayerStats>& layers) override;
    bool send_neurons(int layer, std::span<const float> heat) override;
    int place_neurons(Stats& stats) override;

private:
    // In the host's memory, of one layer; the device writes or reads it.
    struct Shared {
        int32_t* n = nullptr;         // (1,) cold neurons
        int32_t* neurons = nullptr;   // (hidden_dim,)
        uint32_t* needed = nullptr;   // (hidden_dim,)
        float* input = nullptr;       // (T, dim) of the feed-forward
        float* residual = nullptr;    // (T, dim), where the host predicts
        float* delta = nullptr;       // (T, dim) what the host's neurons add
        float* hidden = nullptr;      // (T, dim) outputs
        float* logits = nullptr;      // (F, vocab_size)
        int32_t* rows = nullptr;      // (T,) of outputs
        uint32_t* counters = nullptr; // (n_layers, kLayerCounters)
        uint32_t* fired = nullptr;    // (n_layers, hidden_dim)

        static Shared carve(Carver& carver, const Model& model, int n_tokens);
    };
    // Consecutive tokens of a step, or rows of its outputs: F, at most kMaxTokens.
    struct Span {
        int first;
        int n;
        int number; // among those of the step
    };
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

    // What the rows of a layer counted before they became those of other neurons.
    struct OldCounts {
        int layer;
        std::vector<int32_t> neurons; // of the rows, whose counts are in shared_.fired
    };

    void begin_step(Compute& compute, KvCache& cache, const Tokens& tokens);
    void wait_for_share(Stats& stats);
    void pause_step();
    void end_step(Stats& stats);
    void copy_pages(KvCache& cache);
    void launch(Piece& piece, bool is_repeated);
    void enqueue(const Piece& piece);

    // Enqueue, for n_tokens_ tokens.
    void enqueue_begin(int index); // up to the host's share
    void enqueue_rest(int index);
    void enqueue_attention(int index);
    void enqueue_share(int index);
    void enqueue_selection(int index, const Span& span);
    void enqueue_neurons(int index, const Span& span);
    void normalize_layer(
        int index, const DeviceNorm& norm, float* out, const Packed& packed, bool is_first
    );

    void compute_share(Compute& compute, int index);
    void finish_on_host(
        Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
    );
    void normalize_outputs(const int32_t* tokens, int n, bool is_first);
    void enqueue_logits(const Span& span, Stats& stats);
    void take_logits(const OutputRows& rows, const Span& span);
    void keep_counts(int index);
    void add_old_counts(std::vector<LayerStats>& layers);
    void add_counts(LayerStats& layer, int index, std::span<const int32_t> neurons) const;

    // Whether what the host computed for the layer before is still to be added.
    bool follows_share(int index) const noexcept;
    bool is_predicting() const noexcept { return model_.strategy() == Strategy::predictor; }
    Normalize normalization(const DeviceNorm& norm) const noexcept;
    // Of the whole step.
    DeviceActivations activations(const float* x, const Packed& packed, int dim) const noexcept;
    static DeviceActivations activations(
        const float* x, const Packed& packed, int dim, const Span& span
    ) noexcept;
    DeviceCache cache_of(int index) const noexcept;
    DeviceTokens step_tokens() const noexcept;
    DeviceTokens tokens_of(const Span& span) const noexcept;
    static std::vector<Span> spans_of(int n_tokens);

    std::shared_ptr<CudaModel> device_;
    const Model& model_;
    const Config& config_;
    const std::vector<DeviceLayer>& layers_;
    ContextShape shape_;
    int max_step_;
    DeviceMemory memory_; // cache, then scratch
    DeviceScratch scratch_;
    std::byte* cache_ = nullptr; // (n_layers, 2, n_pages, kPageTokens, kv_dim)
    size_t cache_plane_ = 0;     // bytes of the keys of one layer
    PinnedMemory pinned_;
    DeviceScratch::Step staging_; // in pinned memory
    Shared shared_;
    OwnedStream stream_;
    Event share_ready_;
    StepClock clock_;

    std::vector<Piece> pieces_;
    size_t share_number_ = 0; // of the clock: the piece at whose end the host's share is ready
    int n_tokens_ = 0;        // of the step
    std::unique_ptr<NeuronExchange> exchange_; // since neurons were first sent
    std::vector<OldCounts> old_counts_;
};

} // namespace powerinfer::cuda
