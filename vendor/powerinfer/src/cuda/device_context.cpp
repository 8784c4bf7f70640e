#include "device_context.h"

#include "../ffn.h"
#include "../replacement.h"

#include <algorithm>
#include <functional>

namespace powerinfer::cuda {

CudaContext::CudaContext(
    std::shared_ptr<CudaModel> device, const ContextShape& shape, int activation_bits, bool is_timed
)
    : device_(std::move(device)), model_(device_->model()), config_(model_.config()),
      layers_(device_->layers()), memory_(model_, shape, layers_.size()), scratch_(memory_.scratch),
      shared_(memory_.shared), queue_(*device_, memory_, shape, activation_bits, stream_),
      row_counts_(layers_, static_cast<size_t>(config_.hidden_dim), memory_, stream_),
      clock_(is_timed), pieces_(pieces_of(layers_)) {}

CudaContext::~CudaContext() {
    exchange_.reset();
    stream_.drain(); // nothing may be at work in memory that goes
    device_->release_context();
}

std::vector<CudaContext::Piece> CudaContext::pieces_of(const std::vector<DeviceLayer>& layers) {
    std::vector<Piece> pieces;
    std::vector<Piece::Work> works;
    const auto close = [&](int shares, int computes) {
        pieces.push_back({std::move(works), shares, computes, std::nullopt});
        works.clear();
    };
    for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
        works.push_back({i, false});
        if (layers[static_cast<size_t>(i)].has_host_share()) {
            close(i, -1);
            works.push_back({i, true});
            close(-1, i);
        } else {
            works.push_back({i, true});
        }
    }
    if (!works.empty()) {
        close(-1, -1);
    }
    return pieces;
}

// ---- the step ----
//
// It ends, in finish_on_host or write_outputs or with an error, when the device is done: the next
// one may write where this one was read.

void CudaContext::forward(
    Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
) {
    const bool is_repeated = tokens.n == n_tokens_;
    try {
        begin_step(compute, cache, tokens);
        for (Piece& piece : pieces_) {
            PI_CHECK(
                !cancelled.load(std::memory_order_relaxed),
                cancelled,
                "cancelled before layer %d of %d",
                piece.works.front().layer,
                config_.n_layers
            );
            clock_.start_device(stream_);
            launch(piece, is_repeated);
            const size_t number = clock_.stop_device(stream_, piece.computes >= 0);
            if (piece.shares >= 0) {
                share_ready_.record(stream_);
                share_number_ = number;
            }
            if (piece.computes >= 0) {
                wait_for_share(compute.stats);
                compute_share(compute, piece.computes);
            }
        }
        if (!has_output()) {
            finish_on_host(compute, cache, tokens, cancelled);
        }
    } catch (...) {
        abandon_step();
        throw;
    }
}

void CudaContext::begin_step(Compute& compute, KvCache& cache, const Tokens& tokens) {
    n_tokens_ = tokens.n;
    const auto n = static_cast<size_t>(tokens.n);
    embed(compute, tokens);
    StopWatch watch;
    const DeviceScratch::Step& staging = memory_.staging;
    std::copy_n(compute.scratch.x.data(), product(tokens.n, config_.dim), staging.x);
    if (config_.family->rope != Rope::none) {
        const size_t n_rotation = product(tokens.n, config_.head_dim);
        std::copy_n(compute.scratch.rotation.data(), n_rotation, staging.rotation);
    }
    std::copy_n(tokens.positions, n, staging.positions);
    std::copy_n(tokens.sequences, n, staging.sequences);
    for (int t = 0; t < tokens.n; ++t) {
        const std::vector<int32_t>& pages = cache.pages(tokens.sequences[t]);
        int32_t* row = staging.pages + product(tokens.sequences[t], scratch_.pages_per_sequence);
        std::copy(pages.begin(), pages.end(), row);
    }
    for (int t = 0; t < tokens.n; ++t) {
        const auto n_rows = 2 * static_cast<uint64_t>(tokens.positions[t] + 1);
        compute.stats.kv_bytes_read += n_rows * cache.token_bytes() * layers_.size();
    }
    clock_.begin();
    clock_.start_device(stream_);
    queue_.begin_step(cache);
    clock_.stop_device(stream_);
    compute.stats.bus_bytes += staging.n_bytes;
    watch.lap(compute.stats.embed_ns);
}

// A number of tokens that came twice in a row is likely to come again.
void CudaContext::launch(Piece& piece, bool is_repeated) {
    if (!is_repeated) {
        enqueue(piece);
        return;
    }
    if (piece.graph_tokens != n_tokens_) {
        piece.graph_tokens = 0;
        piece.graph.reset();
        piece.graph.emplace(stream_, [&] { enqueue(piece); });
        piece.graph_tokens = n_tokens_;
    }
    piece.graph->launch(stream_);
}

void CudaContext::enqueue(const Piece& piece) const {
    for (const Piece::Work& work : piece.works) {
        if (work.is_rest) {
            queue_.finish_layer(work.layer, n_tokens_);
        } else {
            queue_.begin_layer(work.layer, n_tokens_);
        }
    }
}

// The device is done, and the next step is like none before: what this one has not launched is not
// captured yet, as the first launch of a kernel loads it.
void CudaContext::abandon_step() noexcept {
    stream_.drain();
    n_tokens_ = 0;
}

// ---- the host's share ----

void CudaContext::wait_for_share(Stats& stats) {
    StopWatch watch;
    share_ready_.wait();
    clock_.see_device(share_number_);
    watch.lap(stats.device_wait_ns);
}

void CudaContext::compute_share(Compute& compute, int index) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    StopWatch watch;
    clock_.start_host();
    ActiveSet candidates{layer.cold.data(), static_cast<int>(layer.cold.size())};
    if (layer.has_predictor()) {
        candidates = {shared_.neurons, *shared_.n, shared_.needed};
        compute.stats.bus_bytes +=
            static_cast<uint64_t>(candidates.n) * (sizeof(int32_t) + sizeof(uint32_t));
    } else if (layer.neurons.n == 0) {
        candidates = {nullptr, config_.hidden_dim};
    }
    const bool predicts = model_.strategy() == Strategy::predictor && !layer.has_predictor();
    FfnInput input{shared_.input, shared_.residual, n_tokens_};
    input.candidates = predicts ? nullptr : &candidates;
    input.adds_bias = layer.neurons.n == 0;
    feed_forward(compute, index, input);
    const size_t n = product(n_tokens_, config_.dim);
    std::copy_n(compute.scratch.delta.data(), n, shared_.delta);
    compute.stats.bus_bytes += (predicts ? 3 : 2) * n * sizeof(float);
    clock_.stop_host();
    watch.lap(compute.stats.host_share_ns);
}

// What the device does not have: the last layers, and the outputs.
void CudaContext::finish_on_host(
    Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
) {
    const size_t n = product(n_tokens_, config_.dim);
    float* x = compute.scratch.x.data();
    StopWatch watch;
    clock_.start_device(stream_);
    copy_to_host(stream_, memory_.staging.x, scratch_.step.x, n * sizeof(float));
    end_step(compute.stats);
    watch.lap(compute.stats.device_wait_ns);
    compute.stats.bus_bytes += n * sizeof(float);
    std::copy_n(memory_.staging.x, n, x);
    if (queue_.follows_share(n_layers())) {
        std::transform(x, x + n, shared_.delta, x, std::plus<>());
    }
    forward_layers(compute, cache, n_layers(), tokens, cancelled, false);
}

// ---- outputs and counters ----

void CudaContext::enqueue_outputs(const int32_t* tokens, int n, bool is_first) {
    std::copy_n(tokens, n, shared_.rows);
    queue_.normalize_outputs(n, is_first);
}

void CudaContext::write_outputs(const OutputRows& rows, Stats& stats) {
    try {
        finish_on_device(rows, stats);
    } catch (...) {
        abandon_step();
        throw;
    }
}

void CudaContext::finish_on_device(const OutputRows& rows, Stats& stats) {
    const auto dim = static_cast<size_t>(config_.dim);
    const auto n_hidden = static_cast<size_t>(rows.n) * dim;
    clock_.start_device(stream_);
    if (rows.n > 0) {
        enqueue_outputs(rows.tokens, rows.n, true);
        copy_to_host(stream_, shared_.hidden, scratch_.attn_normed, n_hidden * sizeof(float));
    }
    if (rows.n_logits > 0 && rows.n_logits < rows.n) {
        pause_step(); // the list of rows is written again
        enqueue_outputs(rows.with_logits, rows.n_logits, false);
    }
    const std::vector<Span> spans = spans_of(rows.n_logits);
    for (const Span& span : spans) {
        queue_.multiply_outputs(span);
        stats.device_bytes_read += model_.output().n_bytes();
        stats.bus_bytes += product(span.n, model_.vocab_size()) * sizeof(float);
        if (&span != &spans.back()) {
            pause_step(); // the next ones are written there
            take_logits(rows, span);
        }
    }
    StopWatch watch;
    end_step(stats);
    watch.lap(stats.device_wait_ns);
    stats.bus_bytes += n_hidden * sizeof(float);
    std::copy_n(shared_.hidden, n_hidden, rows.hidden);
    if (!spans.empty()) {
        take_logits(rows, spans.back());
    }
}

// Waits for the device, which idles until more is enqueued.
void CudaContext::pause_step() {
    const size_t number = clock_.stop_device(stream_);
    stream_.wait();
    clock_.see_device(number);
    clock_.start_device(stream_);
}

void CudaContext::take_logits(const OutputRows& rows, const Span& span) {
    const int vocab_size = model_.vocab_size();
    std::copy_n(
        shared_.logits, product(span.n, vocab_size), rows.logits + product(span.first, vocab_size)
    );
}

// Reads what was counted, when the device is done.
void CudaContext::end_step(Stats& stats) {
    const size_t n = layers_.size() * kLayerCounters;
    copy_to_host(stream_, shared_.counters, scratch_.counters, n * sizeof(uint32_t));
    clear(stream_, scratch_.counters, n * sizeof(uint32_t));
    const size_t last = clock_.stop_device(stream_);
    stream_.wait();
    clock_.see_device(last);
    clock_.add_to(stats);
    for (size_t i = 0; i < layers_.size(); ++i) {
        const uint32_t* counters = shared_.counters + i * kLayerCounters;
        LayerStats& layer = stats.layers[i];
        layer.neurons_active += counters[kActive];
        layer.device_active += counters[kActive];
        layer.neurons_candidate += counters[kCandidate];
        stats.device_bytes_read += layers_[i].bytes_read(counters);
        if (!layers_[i].has_host_share()) { // else the host counts all
            layer.neurons_total += product(n_tokens_, config_.hidden_dim);
        }
    }
}

// ---- neurons that change sides ----

bool CudaContext::send_neurons(int index, std::span<const float> heat) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    if (layer.neurons.n == 0 || !layer.has_host_share()) {
        return true;
    }
    if (exchange_ == nullptr) {
        exchange_ = std::make_unique<NeuronExchange>(model_, scratch_.arriving);
    }
    if (!exchange_->can_send(index)) {
        return false;
    }
    const std::vector<Replacement> pairs =
        choose_replacements(heat, layer.hot(), layer.cold, NeuronStaging::kMost);
    if (!pairs.empty()) {
        exchange_->send(index, layer, pairs);
    }
    return true;
}

int CudaContext::place_neurons(Stats& stats) {
    if (exchange_ == nullptr) {
        return 0;
    }
    row_counts_.add_kept(stats.layers);
    int n = 0;
    while (NeuronExchange::Slot* slot = exchange_->arrived()) {
        row_counts_.keep(slot->layer);
        n += slot->n;
        stats.bus_bytes += slot->n_bytes;
        exchange_->place(*slot, *device_, stream_);
    }
    return n;
}

} // namespace powerinfer::cuda
