// One user of a model: cache, scratch memory, threads and counters. Belongs to one caller at a
// time; cancel() alone may come from another thread.
#pragma once

#include "attention.h"
#include "device.h"
#include "kv_cache.h"
#include "linear.h"
#include "model.h"
#include "model_sizes.h"
#include "plan.h"
#include "replacement.h"
#include "scratch.h"
#include "stats.h"
#include "thread_pool.h"

#include <atomic>
#include <memory>
#include <vector>

namespace powerinfer {

struct ContextOptions {
    uint32_t n_ctx = 0; // 0: the trained length
    uint32_t n_sequences = 1;
    uint32_t n_batch = 512;
    uint32_t n_threads = 0; // 0: physical cores
    DType kv_type = DType::f16;
    uint32_t activation_bits = 16; // 16 or 8
    bool audit = false;
    bool count_neurons = false;
    uint32_t adapt_every = 0;     // tokens, with a device: see Context::adapt; 0: never
    bool time_device = false;     // likewise: see Stats::device_ns
    const Rates* rates = nullptr; // both with `automatic`, and only then
    const std::vector<LayerPlan>* layer_plans = nullptr; // (n_layers,)
    std::shared_ptr<DeviceModel> device;                 // of the same model; nullptr: host only
};

// What a context of these options computes with. Throws Error(invalid_argument) for options out of
// range.
ContextShape context_shape(const Model& model, const ContextOptions& options);

// 0: one per physical core. Throws Error(invalid_argument) for more than any machine has.
int thread_count(uint32_t n_threads);

inline constexpr uint8_t kOutputLogits = 1;
inline constexpr uint8_t kOutputHidden = 2;

struct Batch {
    Tokens tokens;
    const uint8_t* outputs; // (n,) bits, or nullptr: logits of the last token
};

class Context {
public:
    Context(std::shared_ptr<const Model> model, const ContextOptions& options);

    // All or nothing: on any error the sequences are as long as before. Wants at least one token.
    void decode(const Batch& batch);
    const float* logits(uint32_t i) const; // of token i of the last decode; throws if not asked for
    const float* hidden(uint32_t i) const;

    void cancel() const noexcept { cancelled_.store(true, std::memory_order_relaxed); }
    void clear_cancel() noexcept { cancelled_.store(false, std::memory_order_relaxed); }

    int sequence_length(uint32_t sequence) const;
    void truncate(uint32_t sequence, uint32_t n);
    void fork(uint32_t source, uint32_t target, uint32_t n);
    int room() const noexcept { return cache_.free_tokens(); }

    const Model& model() const noexcept { return *model_; }
    const Stats& stats() const noexcept { return stats_; }
    // (hidden_dim,); throws if they are not counted.
    const std::vector<uint64_t>& neuron_counts(uint32_t layer) const;
    // nullptr: host only.
    const DeviceContext* device() const noexcept { return device_.get(); }
    // How a layer would compute one token now.
    Strategy layer_strategy(int layer) const noexcept { return plan_.choose(layer, 1).strategy(); }
    void reset_stats() { stats_.reset(); }
    uint64_t kv_bytes() const noexcept { return cache_.n_bytes(); }
    uint64_t scratch_bytes() const noexcept;
    uint64_t n_replaced() const noexcept { return n_replaced_; } // neurons, on the device

private:
    Compute compute() noexcept {
        return {*model_, ops_, pool_, scratch_, stats_, plan_, activation_bits_};
    }
    void check(const Batch& batch);
    int checked_sequence(uint32_t sequence) const;
    void reserve();
    void reserve_outputs(const Batch& batch);
    void decode_chunk(const Batch& batch, int begin, int n);
    void write_outputs(int begin, int n);
    // Puts the neurons that fire most on the device: after every adapt_every tokens each layer gets
    // its turn, one before each step.
    void adapt(int n_tokens);
    void exchange_neurons();

    std::shared_ptr<const Model> model_;
    std::shared_ptr<DeviceModel> device_model_; // nullptr: host only
    std::unique_ptr<DeviceContext> device_;     // likewise
    const cpu::Ops& ops_;
    int n_batch_;
    int max_length_; // of a sequence
    bool has_audit_;
    bool counts_neurons_;
    int adapt_every_;
    int activation_bits_;
    ThreadPool pool_;
    KvCache cache_;
    Scratch scratch_;
    Stats stats_;
    FfnPlan plan_;
    std::vector<Heat> heat_; // (layers on the device,), if they adapt
    int n_unadapted_ = 0;    // tokens
    size_t n_waiting_ = 0;   // layers that are still to get their turn
    size_t next_layer_ = 0;  // the first one
    uint64_t n_replaced_ = 0;
    mutable std::atomic<bool> cancelled_{false};

    std::vector<int> lengths_;           // (n_sequences,) before the last decode
    std::vector<int> added_;             // (n_sequences,) tokens that it was given
    std::vector<uint8_t> wanted_;        // (batch,) outputs of the last decode
    std::vector<int32_t> hidden_row_;    // (batch,) row in hidden_, -1: none
    std::vector<int32_t> logits_row_;    // (batch,) row in logits_, -1: none
    std::vector<int32_t> output_tokens_; // of a step: those with outputs, then those with logits
    size_t hidden_capacity_ = 0;         // rows
    size_t logits_capacity_ = 0;
    Array<float> hidden_; // (rows, dim)
    Array<float> logits_; // (rows, vocab_size)
};

} // namespace powerinfer
