#include "attention.h"

#include "quantize.h"
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

void rotate_and_store(Compute& compute, KvCache& cache, int index, const Tokens& tokens) {
    Scratch& scratch = compute.scratch;
    const Config& config = compute.model.config();
    for_tokens(compute.pool, tokens.n, config.dim, [&](int t) {
        float* k = scratch.k.row(t, config.kv_dim);
        if (config.family->rope != Rope::none) {
            const float* rotation = scratch.rotation.row(t, config.head_dim);
            rotate_heads(config, rotation, scratch.q.row(t, config.dim), config.n_heads);
            rotate_heads(config, rotation, k, config.n_kv_heads);
        }
        const int sequence = tokens.sequences[t];
        const int position = tokens.positions[t];
        quantize_row(cache.type(), cache.key(index, sequence, position), k, config.kv_dim);
        quantize_row(
            cache.type(),
            cache.value(index, sequence, position),
            scratch.v.row(t, config.kv_dim),
            config.kv_dim
        );
    });
}

// One KV head of one token: its group of query heads over all positions up to its own.
class HeadGroup {
public:
    HeadGroup(Compute& compute, KvCache& cache, int index, const Tokens& tokens, int t, int kv_head)
        : config_(compute.model.config()), ops_(compute.ops), kernels_(ops_.of(cache.type())),
          cache_(cache), index_(index), sequence_(tokens.sequences[t]),
          n_positions_(tokens.positions[t] + 1),
          head_offset_(row_bytes(cache.type(), static_cast<int64_t>(kv_head) * config_.head_dim)),
          first_column_(kv_head * config_.group() * config_.head_dim) {}

    // scores: (group, stride); q and out: rows of one token.
    void run(float* out, const float* q, float* scores, size_t stride) const {
        const cpu::Activations queries{
            q + first_column_, nullptr, 0, config_.group(), config_.head_dim
        };
        for_pages([&](int position, int n) {
            const cpu::Rows keys = rows(cache_.key(index_, sequence_, position), n);
            kernels_.dot_rows(scores + position, stride, keys, queries);
        });
        normalize(scores, stride);
        float* target = out + first_column_;
        std::fill(target, target + config_.group() * config_.head_dim, 0.0F);
        for_pages([&](int position, int n) {
            kernels_.axpy_rows(
                target,
                static_cast<size_t>(config_.head_dim),
                rows(cache_.value(index_, sequence_, position), n),
                scores + position,
                stride,
                config_.group(),
                0,
                config_.head_dim
            );
        });
    }

private:
    template <typename Body>
    void for_pages(Body&& body) const {
        for (int position = 0; position < n_positions_; position += kPageTokens) {
            body(position, std::min(kPageTokens, n_positions_ - position));
        }
    }

    cpu::Rows rows(const std::byte* first, int n) const {
        return {first + head_offset_, cache_.row_bytes(), nullptr, n};
    }

    void normalize(float* scores, size_t stride) const {
        const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
        for (int g = 0; g < config_.group(); ++g) {
            float* row = scores + static_cast<size_t>(g) * stride;
            for (int i = 0; i < n_positions_; ++i) {
                row[i] *= scale;
            }
            ops_.softmax(row, n_positions_);
        }
    }

    const Config& config_;
    const cpu::Ops& ops_;
    const cpu::TypeOps& kernels_;
    KvCache& cache_;
    int index_;
    int sequence_;
    int n_positions_;
    size_t head_offset_; // of this head in a row of the cache
    int first_column_;   // of the group in a row of q
};

void run_heads(Compute& compute, KvCache& cache, int index, const Tokens& tokens) {
    Scratch& scratch = compute.scratch;
    const Config& config = compute.model.config();
    const size_t stride = static_cast<size_t>(cache.n_ctx());
    const int64_t n_items = static_cast<int64_t>(tokens.n) * config.n_kv_heads;
    compute.pool.parallel_for(n_items, 1, [&](int64_t begin, int64_t end, int worker) {
        float* scores = scratch.attn_scores.data() +
                        static_cast<size_t>(worker) * static_cast<size_t>(config.group()) * stride;
        for (int64_t item = begin; item < end; ++item) {
            const int t = static_cast<int>(item / config.n_kv_heads);
            const int kv_head = static_cast<int>(item % config.n_kv_heads);
            HeadGroup(compute, cache, index, tokens, t, kv_head)
                .run(
                    scratch.attended.row(t, config.dim),
                    scratch.q.row(t, config.dim),
                    scores,
                    stride
                );
        }
    });
    for (int t = 0; t < tokens.n; ++t) {
        compute.stats.kv_bytes_read +=
            2 * static_cast<uint64_t>(tokens.positions[t] + 1) * cache.row_bytes();
    }
}

} // namespace

void prepare_rotation(Compute& compute, const Tokens& tokens) {
    const Config& config = compute.model.config();
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
    run_heads(compute, cache, index, tokens);
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
