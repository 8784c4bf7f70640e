#include "device_context.h"

#include "../cpu/ops.h"
#include "../ffn.h"
#include "../replacement.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace powerinfer::cuda {

namespace {

size_t product(int a, int b) noexcept {
    return static_cast<size_t>(a) * static_cast<size_t>(b);
}

size_t cache_plane_bytes(const Config& config, const ContextShape& shape) noexcept {
    const int n_pages = KvCache::n_pages(shape.n_ctx, shape.n_sequences);
    return product(n_pages, kPageTokens) * row_bytes(shape.kv_type, config.kv_dim);
}

size_t scratch_bytes(const Model& model, const ContextShape& shape) {
    Carver carver;
    DeviceScratch::carve(carver, model, shape);
    return carver.used();
}

} // namespace

CudaContext::Shared CudaContext::Shared::carve(Carver& carver, const Model& model, int n_tokens) {
    const Config& config = model.config();
    const auto hidden_dim = static_cast<size_t>(config.hidden_dim);
    const auto n_layers = static_cast<size_t>(config.n_layers);
    Shared shared;
    shared.n = carver.take<int32_t>(1);
    shared.neurons = carver.take<int32_t>(hidden_dim);
    shared.needed = carver.take<uint32_t>(hidden_dim);
    shared.input = carver.take<float>(product(n_tokens, config.dim));
    shared.residual = carver.take<float>(product(n_tokens, config.dim));
    shared.delta = carver.take<float>(product(n_tokens, config.dim));
    shared.hidden = carver.take<float>(product(n_tokens, config.dim));
    shared.logits = carver.take<float>(product(std::min(n_tokens, kMaxTokens), model.vocab_size()));
    shared.rows = carver.take<int32_t>(static_cast<size_t>(n_tokens));
    shared.counters = carver.take<uint32_t>(n_layers * kLayerCounters);
    shared.fired = carver.take<uint32_t>(n_layers * hidden_dim);
    return shared;
}

CudaContext::CudaContext(
    std::shared_ptr<CudaModel> device, const ContextShape& shape, int activation_bits, bool is_timed
)
    : device_(std::move(device)), model_(device_->model()), config_(model_.config()),
      layers_(device_->layers()), shape_(shape), max_step_(cpu::max_step(activation_bits)),
      memory_(
          scratch_bytes(model_, shape) + 2 * layers_.size() * cache_plane_bytes(config_, shape)
      ),
      cache_plane_(cache_plane_bytes(config_, shape)), pinned_([&] {
          Carver carver;
          const DeviceScratch scratch = DeviceScratch::carve(carver, model_, shape);
          Carver shared;
          Shared::carve(shared, model_, scratch.n_tokens);
          return scratch.step.n_bytes + shared.used();
      }()),
      clock_(is_timed) {
    Carver carver(memory_.data());
    scratch_ = DeviceScratch::carve(carver, model_, shape);
    cache_ = memory_.data() + carver.used();
    staging_ = DeviceScratch::carve_step(pinned_.data(), model_, shape);
    Carver shared(pinned_.data() + scratch_.step.n_bytes);
    shared_ = Shared::carve(shared, model_, scratch_.n_tokens);

    std::vector<Piece::Work> works;
    const auto close = [&](int shares, int computes) {
        pieces_.push_back({std::move(works), shares, computes, std::nullopt});
        works.clear();
    };
    for (int i = 0; i < n_layers(); ++i) {
        works.push_back({i, false});
        if (layers_[static_cast<size_t>(i)].has_host_share()) {
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
}

CudaContext::~CudaContext() {
    exchange_.reset();
    stream_.drain(); // nothing may be at work in memory that goes
    device_->release_context();
}

bool CudaContext::follows_share(int index) const noexcept {
    return index > 0 && layers_[static_cast<size_t>(index) - 1].has_host_share();
}

DeviceCache CudaContext::cache_of(int index) const noexcept {
    auto* keys = reinterpret_cast<uint8_t*>(cache_) + 2 * static_cast<size_t>(index) * cache_plane_;
    return {keys, keys + cache_plane_, shape_.kv_type};
}

DeviceTokens CudaContext::step_tokens() const noexcept {
    const DeviceScratch::Step& step = scratch_.step;
    const bool has_rope = config_.family->rope != Rope::none;
    return {
        .positions = step.positions,
        .sequences = step.sequences,
        .pages = step.pages,
        .pages_per_sequence = scratch_.pages_per_sequence,
        .rotation = has_rope ? step.rotation : nullptr,
        .n = n_tokens_,
    };
}

DeviceTokens CudaContext::tokens_of(const Span& span) const noexcept {
    DeviceTokens tokens = step_tokens();
    tokens.positions += span.first;
    tokens.sequences += span.first;
    if (tokens.rotation != nullptr) {
        tokens.rotation += product(span.first, config_.head_dim);
    }
    tokens.n = span.n;
    return tokens;
}

std::vector<CudaContext::Span> CudaContext::spans_of(int n_tokens) {
    std::vector<Span> found;
    for (int first = 0; first < n_tokens; first += kMaxTokens) {
        const int n = std::min(kMaxTokens, n_tokens - first);
        found.push_back({first, n, static_cast<int>(found.size())});
    }
    return found;
}

DeviceActivations CudaContext::activations(const float* x, const Packed& packed, int dim)
    const noexcept {
    return {x, packed, n_tokens_, dim};
}

DeviceActivations CudaContext::activations(
    const float* x, const Packed& packed, int dim, const Span& span
) noexcept {
    return {x + product(span.first, dim), tokens_from(packed, span.first, dim), span.n, dim};
}

Normalize CudaContext::normalization(const DeviceNorm& norm) const noexcept {
    Normalize op{};
    op.x = scratch_.step.x;
    op.n_tokens = n_tokens_;
    op.dim = config_.dim;
    op.norm = config_.family->norm;
    op.weight = norm.weight;
    op.bias = norm.bias;
    op.eps = config_.norm_eps;
    op.max_step = max_step_;
    return op;
}

// ---- the step ----
//
// It ends, in finish_on_host or write_outputs or with an error, when the device is done: the next
// one may write where this one was read.

void CudaContext::forward(
    Compute& compute, KvCache& cache, const Tokens& tokens, const std::atomic<bool>& cancelled
) {
    const bool is_repeated = tokens.n == n_tokens_;
    begin_step(compute, cache, tokens);
    try {
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
        stream_.drain();
        throw;
    }
}

void CudaContext::begin_step(Compute& compute, KvCache& cache, const Tokens& tokens) {
    n_tokens_ = tokens.n;
    const auto n = static_cast<size_t>(tokens.n);
    embed(compute, tokens);
    StopWatch watch;
    std::copy_n(compute.scratch.x.data(), product(tokens.n, config_.dim), staging_.x);
    if (config_.family->rope != Rope::none) {
        const size_t n_rotation = product(tokens.n, config_.head_dim);
        std::copy_n(compute.scratch.rotation.data(), n_rotation, staging_.rotation);
    }
    std::copy_n(tokens.positions, n, staging_.positions);
    std::copy_n(tokens.sequences, n, staging_.sequences);
    for (int t = 0; t < tokens.n; ++t) {
        const std::vector<int32_t>& pages = cache.pages(tokens.sequences[t]);
        int32_t* row = staging_.pages + product(tokens.sequences[t], scratch_.pages_per_sequence);
        std::copy(pages.begin(), pages.end(), row);
    }
    for (int t = 0; t < tokens.n; ++t) {
        const auto n_rows = 2 * static_cast<uint64_t>(tokens.positions[t] + 1);
        compute.stats.kv_bytes_read += n_rows * cache.token_bytes() * layers_.size();
    }
    clock_.begin();
    clock_.start_device(stream_);
    copy_pages(cache);
    copy_to_device(stream_, scratch_.step.begin, staging_.begin, staging_.n_bytes);
    clock_.stop_device(stream_);
    compute.stats.bus_bytes += staging_.n_bytes;
    watch.lap(compute.stats.embed_ns);
}

void CudaContext::copy_pages(KvCache& cache) {
    const size_t page = kPageTokens * row_bytes(shape_.kv_type, config_.kv_dim);
    for (const KvCache::PageCopy& copy : cache.page_copies()) {
        const size_t from = static_cast<size_t>(copy.from) * page;
        const size_t to = static_cast<size_t>(copy.to) * page;
        for (int i = 0; i < n_layers(); ++i) {
            const DeviceCache layer = cache_of(i);
            copy_on_device(stream_, layer.keys + to, layer.keys + from, page);
            copy_on_device(stream_, layer.values + to, layer.values + from, page);
        }
    }
    cache.clear_page_copies();
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

void CudaContext::enqueue(const Piece& piece) {
    for (const Piece::Work& work : piece.works) {
        if (work.is_rest) {
            enqueue_rest(work.layer);
        } else {
            enqueue_begin(work.layer);
        }
    }
}

// ---- a layer ----

void CudaContext::normalize_layer(
    int index, const DeviceNorm& norm, float* out, const Packed& packed, bool is_first
) {
    Normalize op = normalization(norm);
    op.add = is_first && follows_share(index) ? pinned_.on_device(shared_.delta) : nullptr;
    op.out = out;
    op.packed = packed;
    const bool feeds_predictor = layers_[static_cast<size_t>(index)].has_predictor();
    op.packed_x = feeds_predictor && out == scratch_.normed ? scratch_.packed_x : Packed{};
    normalize(stream_, op);
}

// h = x + attention(norm(x)); x' = h + ffn(norm(h)), or both from the same x in parallel blocks;
// see forward.cpp.
void CudaContext::enqueue_begin(int index) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    if (config_.family->is_parallel) {
        normalize_layer(index, layer.attn_norm, scratch_.normed, scratch_.packed_normed, true);
        if (layer.attn_norm_2.weight != nullptr) {
            normalize_layer(
                index, layer.attn_norm_2, scratch_.attn_normed, scratch_.packed_attn, false
            );
        }
    } else {
        normalize_layer(index, layer.attn_norm, scratch_.attn_normed, scratch_.packed_attn, true);
        enqueue_attention(index);
        normalize_layer(index, layer.ffn_norm, scratch_.normed, scratch_.packed_normed, false);
    }
    enqueue_share(index);
}

void CudaContext::enqueue_rest(int index) {
    if (config_.family->is_parallel) {
        enqueue_attention(index);
    }
    for (const Span& span : spans_of(n_tokens_)) {
        enqueue_neurons(index, span);
    }
}

void CudaContext::enqueue_attention(int index) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const bool shares_norm = config_.family->is_parallel && layer.attn_norm_2.weight == nullptr;
    const DeviceActivations x =
        shares_norm ? activations(scratch_.normed, scratch_.packed_normed, config_.dim)
                    : activations(scratch_.attn_normed, scratch_.packed_attn, config_.dim);
    const DeviceProduct projections[] = {
        {layer.q, scratch_.q, config_.dim, layer.q_bias},
        {layer.k, scratch_.k, config_.kv_dim, layer.k_bias},
        {layer.v, scratch_.v, config_.kv_dim, layer.v_bias},
    };
    multiply(stream_, x, projections);
    const Heads heads{config_.family->rope, config_.n_heads, config_.n_kv_heads, config_.head_dim};
    rotate_and_store(
        stream_, scratch_.q, scratch_.k, scratch_.v, cache_of(index), step_tokens(), heads
    );
    for (const Span& span : spans_of(n_tokens_)) {
        const size_t begin = product(span.first, config_.dim);
        attend(
            stream_,
            scratch_.attended + begin,
            tokens_from(scratch_.packed_attn, span.first, config_.dim),
            scratch_.q + begin,
            cache_of(index),
            tokens_of(span),
            heads,
            shape_.n_ctx,
            max_step_,
            scratch_.attention_parts
        );
    }
    const DeviceProduct out[] = {
        {layer.o, scratch_.step.x, config_.dim, layer.o_bias, true},
    };
    multiply(stream_, activations(scratch_.attended, scratch_.packed_attn, config_.dim), out);
}

void CudaContext::enqueue_selection(int index, const Span& span) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const Packed packed = layer.fc2.is_quantized() ? scratch_.packed_rank : Packed{};
    predict_hidden(
        stream_,
        scratch_.rank,
        packed,
        layer.fc1,
        activations(scratch_.step.x, scratch_.packed_x, config_.dim, span),
        max_step_
    );
    select(
        stream_,
        scratch_.selections[span.number],
        layer.fc2,
        {scratch_.rank, packed, span.n, layer.fc1.rows},
        config_.sparse_threshold,
        layer.neurons.n
    );
}

// Scores all neurons, and gives the host what it needs for its own. With a share of the host a step
// is one span.
void CudaContext::enqueue_share(int index) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const auto n_input = static_cast<size_t>(n_tokens_) * static_cast<size_t>(config_.dim);
    if (layer.has_predictor()) {
        for (const Span& span : spans_of(n_tokens_)) {
            enqueue_selection(index, span);
        }
        if (layer.has_host_share()) {
            const HostShare share{
                pinned_.on_device(shared_.n),
                pinned_.on_device(shared_.neurons),
                pinned_.on_device(shared_.needed),
                pinned_.on_device(shared_.input),
            };
            hand_over(
                stream_,
                share,
                scratch_.selections[0],
                layer.row_neurons,
                layer.neurons.n,
                config_.hidden_dim,
                scratch_.normed,
                static_cast<int>(n_input)
            );
        }
    } else if (layer.has_host_share()) {
        copy_to_host(stream_, shared_.input, scratch_.normed, n_input * sizeof(float));
        if (is_predicting()) {
            copy_to_host(stream_, shared_.residual, scratch_.step.x, n_input * sizeof(float));
        }
    }
}

void CudaContext::enqueue_neurons(int index, const Span& span) {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const DeviceNeurons& neurons = layer.neurons;
    if (neurons.n == 0) {
        return;
    }
    float* x = scratch_.step.x + product(span.first, config_.dim);
    const Rule rule{
        config_.activation, config_.fatrelu_threshold, model_.strategy() == Strategy::dense
    };
    uint32_t* counters = scratch_.counters + product(index, kLayerCounters);
    const Selection* selection =
        layer.has_predictor() ? &scratch_.selections[span.number] : nullptr;
    weigh(
        stream_,
        scratch_.coef,
        neurons,
        activations(scratch_.normed, scratch_.packed_normed, config_.dim, span),
        selection,
        rule,
        {counters, scratch_.fired + product(index, config_.hidden_dim)}
    );
    if (neurons.down_t.body != nullptr) {
        project_down(
            stream_,
            x,
            neurons,
            scratch_.coef,
            selection,
            layer.down_bias,
            span.n,
            scratch_.down_parts,
            scratch_.arrived
        );
        return;
    }
    if (layer.down.is_quantized()) {
        pack(stream_, scratch_.packed_coef, scratch_.coef, span.n, neurons.n, max_step_);
    }
    const DeviceProduct down[] = {{layer.down, x, config_.dim, layer.down_bias, true}};
    multiply(stream_, {scratch_.coef, scratch_.packed_coef, span.n, neurons.n}, down);
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
    const bool predicts = is_predicting() && !layer.has_predictor();
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
    copy_to_host(stream_, staging_.x, scratch_.step.x, n * sizeof(float));
    end_step(compute.stats);
    watch.lap(compute.stats.device_wait_ns);
    compute.stats.bus_bytes += n * sizeof(float);
    std::copy_n(staging_.x, n, x);
    if (follows_share(n_layers())) {
        std::transform(x, x + n, shared_.delta, x, std::plus<>());
    }
    forward_layers(compute, cache, n_layers(), tokens, cancelled, false);
}

// ---- outputs and counters ----

void CudaContext::normalize_outputs(const int32_t* tokens, int n, bool is_first) {
    std::copy_n(tokens, n, shared_.rows);
    Normalize op = normalization(device_->output_norm());
    op.rows = pinned_.on_device(shared_.rows);
    op.n_tokens = n;
    op.add = is_first && follows_share(n_layers()) ? pinned_.on_device(shared_.delta) : nullptr;
    op.out = scratch_.attn_normed;
    op.packed = device_->output().is_quantized() ? scratch_.packed_attn : Packed{};
    normalize(stream_, op);
}

void CudaContext::write_outputs(const OutputRows& rows, Stats& stats) {
    const auto dim = static_cast<size_t>(config_.dim);
    const auto n_hidden = static_cast<size_t>(rows.n) * dim;
    clock_.start_device(stream_);
    if (rows.n > 0) {
        normalize_outputs(rows.tokens, rows.n, true);
        copy_to_host(stream_, shared_.hidden, scratch_.attn_normed, n_hidden * sizeof(float));
    }
    if (rows.n_logits > 0 && rows.n_logits < rows.n) {
        pause_step(); // the list of rows is written again
        normalize_outputs(rows.with_logits, rows.n_logits, false);
    }
    const std::vector<Span> spans = spans_of(rows.n_logits);
    for (const Span& span : spans) {
        enqueue_logits(span, stats);
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

// Of normed outputs.
void CudaContext::enqueue_logits(const Span& span, Stats& stats) {
    const size_t n_bytes = product(span.n, model_.vocab_size()) * sizeof(float);
    const DeviceProduct out[] = {{device_->output(), scratch_.logits, model_.vocab_size()}};
    multiply(
        stream_, activations(scratch_.attn_normed, scratch_.packed_attn, config_.dim, span), out
    );
    copy_to_host(stream_, shared_.logits, scratch_.logits, n_bytes);
    stats.device_bytes_read += model_.output().n_bytes();
    stats.bus_bytes += n_bytes;
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

void CudaContext::add_counts(LayerStats& layer, int index, std::span<const int32_t> neurons) const {
    const uint32_t* fired = shared_.fired + product(index, config_.hidden_dim);
    for (size_t row = 0; row < neurons.size(); ++row) {
        layer.fired[static_cast<size_t>(neurons[row])] += fired[row];
    }
}

void CudaContext::count_neurons(std::vector<LayerStats>& layers) {
    add_old_counts(layers);
    const size_t n = layers_.size() * static_cast<size_t>(config_.hidden_dim);
    copy_to_host(stream_, shared_.fired, scratch_.fired, n * sizeof(uint32_t));
    clear(stream_, scratch_.fired, n * sizeof(uint32_t));
    stream_.wait();
    for (size_t i = 0; i < layers_.size(); ++i) {
        add_counts(layers[i], static_cast<int>(i), layers_[i].hot());
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
    add_old_counts(stats.layers);
    int n = 0;
    while (NeuronExchange::Slot* slot = exchange_->arrived()) {
        keep_counts(slot->layer);
        n += slot->n;
        stats.bus_bytes += slot->n_bytes;
        exchange_->place(*slot, *device_, stream_);
    }
    return n;
}

// The device counts by row: the counts of a layer whose rows change hands are taken out before.
void CudaContext::keep_counts(int index) {
    const std::span<const int32_t> hot = layers_[static_cast<size_t>(index)].hot();
    const size_t begin = product(index, config_.hidden_dim);
    OldCounts old{index, {hot.begin(), hot.end()}};
    old_counts_.reserve(old_counts_.size() + 1);
    copy_to_host(stream_, shared_.fired + begin, scratch_.fired + begin, hot.size_bytes());
    clear(stream_, scratch_.fired + begin, hot.size_bytes());
    old_counts_.push_back(std::move(old));
}

void CudaContext::add_old_counts(std::vector<LayerStats>& layers) {
    if (old_counts_.empty()) {
        return;
    }
    stream_.wait(); // a step came since then, unless it failed: there is nothing to wait for
    for (const OldCounts& old : old_counts_) {
        add_counts(layers[static_cast<size_t>(old.layer)], old.layer, old.neurons);
    }
    old_counts_.clear();
}

} // namespace powerinfer::cuda
