#include "forward.h"

#include "error.h"
#include "ffn.h"

#include <algorithm>
#include <functional>

namespace powerinfer {

namespace {

constexpr int kPositionOffset = 2; // rows of a position table before position 0 (spec 2.5)

void add(Compute& compute, float* x, const float* delta, int n_tokens) {
    const int dim = compute.model.config().dim;
    for_tokens(compute.pool, n_tokens, dim, [&](int t) {
        const size_t from = static_cast<size_t>(t) * static_cast<size_t>(dim);
        std::transform(x + from, x + from + dim, delta + from, x + from, std::plus<>());
    });
}

// h = x + attention(norm(x)); x' = h + ffn(norm(h)). The predictor reads h.
void sequential_block(
    Compute& compute, KvCache& cache, int index, const Tokens& tokens, bool audit
) {
    Scratch& scratch = compute.scratch;
    const Layer& layer = compute.model.layer(index);
    StopWatch watch;
    normalize(compute, scratch.attn_normed.data(), scratch.x.data(), layer.attn_norm, tokens.n);
    attend(compute, cache, index, tokens, scratch.attn_normed.data());
    add(compute, scratch.x.data(), scratch.attn_delta.data(), tokens.n);
    watch.lap(compute.stats.attention_ns);
    normalize(compute, scratch.normed.data(), scratch.x.data(), layer.ffn_norm, tokens.n);
    feed_forward(compute, index, {scratch.normed.data(), scratch.x.data(), tokens.n, audit});
    add(compute, scratch.x.data(), scratch.delta.data(), tokens.n);
}

// x' = x + attention(norm_2(x)) + ffn(norm(x)). The predictor reads x (spec 2.4).
void parallel_block(Compute& compute, KvCache& cache, int index, const Tokens& tokens, bool audit) {
    Scratch& scratch = compute.scratch;
    const Layer& layer = compute.model.layer(index);
    const bool has_own_norm = layer.attn_norm_2.weight != nullptr;
    StopWatch watch;
    normalize(compute, scratch.normed.data(), scratch.x.data(), layer.attn_norm, tokens.n);
    if (has_own_norm) {
        normalize(
            compute, scratch.attn_normed.data(), scratch.x.data(), layer.attn_norm_2, tokens.n
        );
    }
    attend(
        compute,
        cache,
        index,
        tokens,
        has_own_norm ? scratch.attn_normed.data() : scratch.normed.data()
    );
    watch.lap(compute.stats.attention_ns);
    feed_forward(compute, index, {scratch.normed.data(), scratch.x.data(), tokens.n, audit});
    add(compute, scratch.x.data(), scratch.attn_delta.data(), tokens.n);
    add(compute, scratch.x.data(), scratch.delta.data(), tokens.n);
}

} // namespace

void embed(Compute& compute, const Tokens& tokens) {
    StopWatch watch;
    const Config& config = compute.model.config();
    const Matrix& embd = compute.model.token_embd();
    const Matrix& position_embd = compute.model.position_embd();
    for_tokens(compute.pool, tokens.n, config.dim, [&](int t) {
        float* x = compute.scratch.x.row(t, config.dim);
        const int token = tokens.ids[t];
        compute.ops.of(embd.type).dequantize(x, embd.slice(token, token + 1).data, config.dim);
        if (position_embd.data != nullptr) {
            float* position = compute.scratch.delta.row(t, config.dim);
            const int row = tokens.positions[t] + kPositionOffset;
            compute.ops.of(position_embd.type)
                .dequantize(position, position_embd.slice(row, row + 1).data, config.dim);
            std::transform(x, x + config.dim, position, x, std::plus<>());
        }
    });
    compute.stats.weight_bytes_read += static_cast<uint64_t>(tokens.n) * embd.n_row_bytes();
    prepare_attention(compute, tokens);
    watch.lap(compute.stats.embed_ns);
}

void forward_layer(Compute& compute, KvCache& cache, int index, const Tokens& tokens, bool audit) {
    if (compute.model.config().family->is_parallel) {
        parallel_block(compute, cache, index, tokens, audit);
    } else {
        sequential_block(compute, cache, index, tokens, audit);
    }
}

void normalize(
    Compute& compute, float* out, const float* x, const NormWeights& weights, int n_tokens
) {
    const Config& config = compute.model.config();
    for_tokens(compute.pool, n_tokens, config.dim, [&](int t) {
        const size_t offset = static_cast<size_t>(t) * static_cast<size_t>(config.dim);
        switch (config.family->norm) {
        case Norm::rms:
            compute.ops.rms_norm(
                out + offset, x + offset, weights.weight, config.norm_eps, config.dim
            );
            break;
        case Norm::layer:
            compute.ops.layer_norm(
                out + offset, x + offset, weights.weight, weights.bias, config.norm_eps, config.dim
            );
            break;
        }
    });
}

void write_outputs(Compute& compute, const OutputRows& rows) {
    const Model& model = compute.model;
    const int dim = model.config().dim;
    const auto width = static_cast<size_t>(dim);
    int n_logits = 0;
    for (int i = 0; i < rows.n; ++i) {
        float* out = rows.hidden + static_cast<size_t>(i) * width;
        normalize(compute, out, compute.scratch.x.row(rows.tokens[i], dim), model.output_norm(), 1);
        if (n_logits < rows.n_logits && rows.with_logits[n_logits] == rows.tokens[i]) {
            std::copy(out, out + dim, compute.scratch.normed.row(n_logits++, dim));
        }
    }
    if (n_logits > 0) {
        const Matrix& w = model.output();
        const cpu::Activations x = make_activations(
            compute, compute.scratch.normed.data(), n_logits, dim, w.is_quantized()
        );
        multiply(compute, x, {Product{&w, rows.logits, static_cast<size_t>(w.rows)}});
    }
}

void forward_layers(
    Compute& compute,
    KvCache& cache,
    int first,
    const Tokens& tokens,
    const std::atomic<bool>& cancelled,
    bool audit
) {
    const int n_layers = compute.model.config().n_layers;
    for (int index = first; index < n_layers; ++index) {
        PI_CHECK(
            !cancelled.load(std::memory_order_relaxed),
            cancelled,
            "cancelled before layer %d of %d",
            index,
            n_layers
        );
        forward_layer(compute, cache, index, tokens, audit);
    }
}

void forward(
    Compute& compute,
    KvCache& cache,
    const Tokens& tokens,
    const std::atomic<bool>& cancelled,
    bool audit
) {
    embed(compute, tokens);
    forward_layers(compute, cache, 0, tokens, cancelled, audit);
}

} // namespace powerinfer
