#include "step_queue.h"

#include "../cpu/ops.h"

#include <algorithm>

namespace powerinfer::cuda {

namespace {

Span whole(int n_tokens) noexcept {
    return {0, n_tokens, 0};
}

} // namespace

std::vector<Span> spans_of(int n_tokens) {
    std::vector<Span> found;
    for (int first = 0; first < n_tokens; first += kMaxTokens) {
        const int n = std::min(kMaxTokens, n_tokens - first);
        found.push_back({first, n, static_cast<int>(found.size())});
    }
    return found;
}

StepQueue::StepQueue(
    const CudaModel& device,
    const ContextMemory& memory,
    const ContextShape& shape,
    int activation_bits,
    Stream stream
)
    : device_(device), model_(device.model()), config_(model_.config()), layers_(device.layers()),
      memory_(memory), scratch_(memory.scratch), n_ctx_(shape.n_ctx),
      max_step_(cpu::max_step(activation_bits)), stream_(stream) {}

bool StepQueue::follows_share(int index) const noexcept {
    return index > 0 && layers_[static_cast<size_t>(index) - 1].has_host_share();
}

DeviceTokens StepQueue::tokens_of(const Span& span) const noexcept {
    const DeviceScratch::Step& step = scratch_.step;
    const bool has_rope = config_.family->rope != Rope::none;
    return {
        .positions = step.positions + span.first,
        .sequences = step.sequences + span.first,
        .pages = step.pages,
        .pages_per_sequence = scratch_.pages_per_sequence,
        .rotation = has_rope ? step.rotation + product(span.first, config_.head_dim) : nullptr,
        .n = span.n,
    };
}

DeviceActivations StepQueue::activations(
    const float* x, const Packed& packed, int dim, const Span& span
) noexcept {
    return {x + product(span.first, dim), tokens_from(packed, span.first, dim), span.n, dim};
}

Normalize StepQueue::normalization(const DeviceNorm& norm, int n_tokens) const noexcept {
    Normalize op{};
    op.x = scratch_.step.x;
    op.n_tokens = n_tokens;
    op.dim = config_.dim;
    op.norm = config_.family->norm;
    op.weight = norm.weight;
    op.bias = norm.bias;
    op.eps = config_.norm_eps;
    op.max_step = max_step_;
    return op;
}

// ---- the beginning ----

void StepQueue::begin_step(KvCache& cache) const {
    copy_pages(cache);
    copy_to_device(stream_, scratch_.step.begin, memory_.staging.begin, memory_.staging.n_bytes);
}

void StepQueue::copy_pages(KvCache& cache) const {
    const size_t page = kPageTokens * row_bytes(memory_.kv_type, config_.kv_dim);
    for (const KvCache::PageCopy& copy : cache.page_copies()) {
        const size_t from = static_cast<size_t>(copy.from) * page;
        const size_t to = static_cast<size_t>(copy.to) * page;
        for (size_t i = 0; i < layers_.size(); ++i) {
            const DeviceCache layer = memory_.cache_of(static_cast<int>(i));
            copy_on_device(stream_, layer.keys + to, layer.keys + from, page);
            copy_on_device(stream_, layer.values + to, layer.values + from, page);
        }
    }
    cache.clear_page_copies();
}

// ---- a layer ----

void StepQueue::normalize_layer(
    int index, const DeviceNorm& norm, float* out, const Packed& packed, int n_tokens, bool is_first
) const {
    Normalize op = normalization(norm, n_tokens);
    op.add =
        is_first && follows_share(index) ? memory_.pinned.on_device(memory_.shared.delta) : nullptr;
    op.out = out;
    op.packed = packed;
    const bool feeds_predictor = layers_[static_cast<size_t>(index)].has_predictor();
    op.packed_x = feeds_predictor && out == scratch_.normed ? scratch_.packed_x : Packed{};
    normalize(stream_, op);
}

// h = x + attention(norm(x)); x' = h + ffn(norm(h)), or both from the same x in parallel blocks;
// see forward.cpp.
void StepQueue::begin_layer(int index, int n_tokens) const {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    if (config_.family->is_parallel) {
        normalize_layer(
            index, layer.attn_norm, scratch_.normed, scratch_.packed_normed, n_tokens, true
        );
        if (layer.attn_norm_2.weight != nullptr) {
            normalize_layer(
                index,
                layer.attn_norm_2,
                scratch_.attn_normed,
                scratch_.packed_attn,
                n_tokens,
                false
            );
        }
    } else {
        normalize_layer(
            index, layer.attn_norm, scratch_.attn_normed, scratch_.packed_attn, n_tokens, true
        );
        attend_layer(index, n_tokens);
        normalize_layer(
            index, layer.ffn_norm, scratch_.normed, scratch_.packed_normed, n_tokens, false
        );
    }
    hand_over_share(index, n_tokens);
}

void StepQueue::finish_layer(int index, int n_tokens) const {
    if (config_.family->is_parallel) {
        attend_layer(index, n_tokens);
    }
    for (const Span& span : spans_of(n_tokens)) {
        compute_neurons(index, span);
    }
}

void StepQueue::attend_layer(int index, int n_tokens) const {
    const Span step = whole(n_tokens);
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const bool shares_norm = config_.family->is_parallel && layer.attn_norm_2.weight == nullptr;
    const DeviceActivations x =
        shares_norm ? activations(scratch_.normed, scratch_.packed_normed, config_.dim, step)
                    : activations(scratch_.attn_normed, scratch_.packed_attn, config_.dim, step);
    const DeviceProduct projections[] = {
        {layer.q, scratch_.q, config_.dim, layer.q_bias},
        {layer.k, scratch_.k, config_.kv_dim, layer.k_bias},
        {layer.v, scratch_.v, config_.kv_dim, layer.v_bias},
    };
    multiply(stream_, x, projections);
    const Heads heads{config_.family->rope, config_.n_heads, config_.n_kv_heads, config_.head_dim};
    const DeviceCache cache = memory_.cache_of(index);
    rotate_and_store(stream_, scratch_.q, scratch_.k, scratch_.v, cache, tokens_of(step), heads);
    for (const Span& span : spans_of(n_tokens)) {
        const size_t begin = product(span.first, config_.dim);
        attend(
            stream_,
            scratch_.attended + begin,
            tokens_from(scratch_.packed_attn, span.first, config_.dim),
            scratch_.q + begin,
            cache,
            tokens_of(span),
            heads,
            n_ctx_,
            max_step_,
            scratch_.attention_parts
        );
    }
    const DeviceProduct out[] = {
        {layer.o, scratch_.step.x, config_.dim, layer.o_bias, true},
    };
    multiply(stream_, activations(scratch_.attended, scratch_.packed_attn, config_.dim, step), out);
}

void StepQueue::select_neurons(int index, const Span& span) const {
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
void StepQueue::hand_over_share(int index, int n_tokens) const {
    const DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    const SharedArrays& shared = memory_.shared;
    const size_t n_input = product(n_tokens, config_.dim);
    if (layer.has_predictor()) {
        for (const Span& span : spans_of(n_tokens)) {
            select_neurons(index, span);
        }
        if (layer.has_host_share()) {
            const PinnedMemory& pinned = memory_.pinned;
            const HostShare share{
                pinned.on_device(shared.n),
                pinned.on_device(shared.neurons),
                pinned.on_device(shared.needed),
                pinned.on_device(shared.input),
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
        copy_to_host(stream_, shared.input, scratch_.normed, n_input * sizeof(float));
        if (model_.strategy() == Strategy::predictor) {
            copy_to_host(stream_, shared.residual, scratch_.step.x, n_input * sizeof(float));
        }
    }
}

void StepQueue::compute_neurons(int index, const Span& span) const {
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

// ---- outputs ----

void StepQueue::normalize_outputs(int n, bool is_first) const {
    Normalize op = normalization(device_.output_norm(), n);
    op.rows = memory_.pinned.on_device(memory_.shared.rows);
    const bool adds = is_first && follows_share(static_cast<int>(layers_.size()));
    op.add = adds ? memory_.pinned.on_device(memory_.shared.delta) : nullptr;
    op.out = scratch_.attn_normed;
    op.packed = device_.output().is_quantized() ? scratch_.packed_attn : Packed{};
    normalize(stream_, op);
}

void StepQueue::multiply_outputs(const Span& span) const {
    const int vocab_size = model_.vocab_size();
    const DeviceProduct out[] = {{device_.output(), scratch_.logits, vocab_size}};
    multiply(
        stream_, activations(scratch_.attn_normed, scratch_.packed_attn, config_.dim, span), out
    );
    const size_t n_bytes = product(span.n, vocab_size) * sizeof(float);
    copy_to_host(stream_, memory_.shared.logits, scratch_.logits, n_bytes);
}

} // namespace powerinfer::cuda
