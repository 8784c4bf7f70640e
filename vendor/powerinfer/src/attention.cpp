#include "attention.h"

#include "rope.h"

#include <algorithm>
#include <cmath>

namespace powerinfer {

namespace {

void project(Compute& compute, const Layer& layer, const Tokens& tokens, const float* input) {
    Scratch& scratch = compute.scratch;
    const Config& config = compute.model.config();
    const bool is_quantized =
        layer.q.is_quantized() || layer.k.is_quantized() || layer.v.is_quantized();
    const cpu::Activations x = make_activations(compute, input, tokens.n, config.dim, is_quantized);
    const size_t dim = static_cast<size_t>(config.dim);
    const size_t kv_dim = static_cast<size_t>(config.kv_dim);
    multiply(
        compute,
        x,
        {Product{&layer.q, scratch.q.data(), dim, layer.q_bias},
         Product{&layer.k, scratch.k.data(), kv_dim, layer.k_bias},
         Product{&layer.v, scratch.v.data(), kv_dim, layer.v_bias}}
    );
}

// Head by head: what threads store beside each other in a page is in different cache lines then.
void rotate_and_store(Compute& compute, KvCache& cache, int index, const Tokens& tokens) {
    Scratch& scratch = compute.scratch;
    const Config& config = compute.model.config();
    const int head_dim = config.head_dim;
    const int width = (config.group() + 2) * head_dim;
    compute.pool.parallel_for(
        config.n_kv_heads,
        std::max(1, kLeastElements / (tokens.n * width)),
        [&](int64_t begin, int64_t end, int) {
            for (int t = 0; t < tokens.n; ++t) {
                const float* rotation = scratch.rotation.row(t, head_dim);
                for (int head = static_cast<int>(begin); head < end; ++head) {
                    float* q = scratch.q.row(t, config.dim) + head * config.group() * head_dim;
                    float* k = scratch.k.row(t, config.kv_dim) + head * head_dim;
                    const float* v = scratch.v.row(t, config.kv_dim) + head * head_dim;
                    if (config.family->rope != Rope::none) {
                        rotate_heads(config, rotation, q, config.group());
                        rotate_heads(config, rotation, k, 1);
                    }
                    cache.store(index, tokens.sequences[t], tokens.positions[t], head, k, v);
                }
            }
        }
    );
}

// Head by head, so that what one run of tokens read is still near for the next. Query heads that
// share a head of keys and values are one item, or several where threads would have none.
void attend_heads(Compute& compute, const KvCache& cache, int index, const Tokens& tokens) {
    Scratch& scratch = compute.scratch;
    const Config& config = compute.model.config();
    const int group = config.group();
    const int n_runs = scratch.n_runs;
    const int n_items = n_runs * config.n_kv_heads;
    const int n_parts = std::clamp(compute.pool.n_threads() / n_items, 1, group);
    const size_t dim = static_cast<size_t>(config.dim);
    compute.pool.parallel_for(n_items * n_parts, 1, [&](int64_t begin, int64_t end, int worker) {
        const size_t room = n_scores(group, cache.n_ctx());
        float* scores = scratch.attn_scores.data() + static_cast<size_t>(worker) * room;
        for (int item = static_cast<int>(begin); item < end; ++item) {
            const int part = item % n_parts;
            const int32_t* run = scratch.runs.data() + item / n_parts % n_runs;
            const int head = item / n_parts / n_runs;
            const int first = group * part / n_parts;
            const int last = group * (part + 1) / n_parts;
            const int column = (head * group + first) * config.head_dim;
            const int t = run[0];
            compute.ops.attend(
                scratch.attended.row(t, config.dim) + column,
                cache.head(index, tokens.sequences[t], head),
                {.vectors = scratch.q.row(t, config.dim) + column,
                 .token_stride = dim,
                 .n_tokens = run[1] - t,
                 .n_heads = last - first,
                 .head_dim = config.head_dim,
                 .n_positions = tokens.positions[t] + 1,
                 .scores = scores,
                 .score_stride = score_stride(cache.n_ctx())}
            );
        }
    });
    for (int t = 0; t < tokens.n; ++t) {
        compute.stats.kv_bytes_read +=
            2 * static_cast<uint64_t>(tokens.positions[t] + 1) * cache.token_bytes();
    }
}

void find_runs(Scratch& scratch, int group, const Tokens& tokens) {
    const int longest = std::max(1, kSharedQueries / group);
    int n = 0;
    for (int t = 0; t < tokens.n; ++t) {
        // The positions of a sequence follow each other.
        const bool follows = t > 0 && tokens.sequences[t] == tokens.sequences[t - 1];
        if (!follows || t - scratch.runs.data()[n - 1] == longest) {
            scratch.runs.data()[n++] = t;
        }
    }
    scratch.runs.data()[n] = tokens.n;
    scratch.n_runs = n;
}

} // namespace

void prepare_attention(Compute& compute, const Tokens& tokens) {
    const Config& config = compute.model.config();
    find_runs(compute.scratch, config.group(), tokens);
    if (config.family->rope == Rope::none) {
        return;
    }
    const int half = config.head_dim / 2;
    const double magnitude = rope_magnitude(config);
    for (int i = 0; i < half; ++i) {
        const double frequency = rope_frequency(config, i);
        for (int t = 0; t < tokens.n; ++t) {
            float* rotation = compute.scratch.rotation.row(t, config.head_dim);
            const double angle = tokens.positions[t] * frequency;
            rotation[i] = static_cast<float>(std::cos(angle) * magnitude);
            rotation[half + i] = static_cast<float>(std::sin(angle) * magnitude);
        }
    }
}

void attend(Compute& compute, KvCache& cache, int index, const Tokens& tokens, const float* input) {
    const Config& config = compute.model.config();
    const Layer& layer = compute.model.layer(index);
    project(compute, layer, tokens, input);
    rotate_and_store(compute, cache, index, tokens);
    attend_heads(compute, cache, index, tokens);
    const cpu::Activations x = make_activations(
        compute, compute.scratch.attended.data(), tokens.n, config.dim, layer.o.is_quantized()
    );
    multiply(
        compute,
        x,
        {Product{
            &layer.o,
            compute.scratch.attn_delta.data(),
            static_cast<size_t>(config.dim),
            layer.o_bias
        }}
    );
}

} // namespace powerinfer
