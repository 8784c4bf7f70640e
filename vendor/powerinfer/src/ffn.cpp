#include "ffn.h"

#include "active_set.h"
#include "predictor.h"

#include <algorithm>

namespace powerinfer {

namespace {

class FeedForward {
public:
    FeedForward(Compute& compute, int index, const float* input, int n_tokens)
        : compute_(compute), scratch_(compute.scratch), config_(compute.model.config()),
          layer_(compute.model.layer(index)),
          counters_(compute.stats.layers[static_cast<size_t>(index)]),
          strategy_(compute.model.strategy()), input_(input), n_tokens_(n_tokens),
          stride_(static_cast<size_t>(config_.hidden_dim)) {}

    ActiveSet find_candidates(const float* residual) {
        if (strategy_ == Strategy::predictor) {
            return predict(compute_, layer_, residual, n_tokens_);
        }
        return {nullptr, config_.hidden_dim};
    }

    // Gate products, or up products of ungated families, of the candidates: scratch.first (T, n).
    void test(const ActiveSet& candidates) {
        const Matrix& w = config_.family->is_gated ? layer_.gate : layer_.up;
        const float* bias = config_.family->is_gated ? nullptr : layer_.up_bias;
        x_ = make_activations(
            compute_,
            input_,
            n_tokens_,
            config_.dim,
            w.is_quantized() || (config_.family->is_gated && layer_.up.is_quantized())
        );
        multiply(
            compute_,
            x_,
            {Product{&w, scratch_.first.data(), stride_, bias, candidates.ids, candidates.n}}
        );
        for (int t = 0; t < n_tokens_; ++t) {
            activate(candidates, scratch_.first.row(t, config_.hidden_dim), t);
        }
    }

    // Candidates that some token needs further. Values of scratch.first move along.
    ActiveSet find_survivors(const ActiveSet& candidates) {
        if (strategy_ == Strategy::dense) {
            return candidates;
        }
        uint8_t* flags = scratch_.flags.data();
        std::fill(flags, flags + candidates.n, uint8_t{0});
        for (int t = 0; t < n_tokens_; ++t) {
            const float* values = scratch_.first.row(t, config_.hidden_dim);
            for (int i = 0; i < candidates.n; ++i) {
                flags[i] |= static_cast<uint8_t>(values[i] != 0.0F);
            }
        }
        int32_t* ids = scratch_.survivors.data();
        int n = 0;
        for (int i = 0; i < candidates.n; ++i) {
            ids[n] = candidates.id(i);
            n += flags[i];
        }
        for (int t = 0; t < n_tokens_; ++t) {
            float* values = scratch_.first.row(t, config_.hidden_dim);
            for (int i = 0, j = 0; i < candidates.n; ++i) {
                values[j] = values[i];
                j += flags[i];
            }
        }
        return {ids, n};
    }

    // What each survivor is worth: activation(gate) * up, or the activation of an ungated up.
    float* weigh(const ActiveSet& survivors) {
        if (!config_.family->is_gated) {
            return scratch_.first.data();
        }
        multiply(
            compute_,
            x_,
            {Product{
                &layer_.up, scratch_.second.data(), stride_, nullptr, survivors.ids, survivors.n
            }}
        );
        const bool is_drelu = config_.activation == Activation::drelu;
        for (int t = 0; t < n_tokens_; ++t) {
            const float* gate = scratch_.first.row(t, config_.hidden_dim);
            float* up = scratch_.second.row(t, config_.hidden_dim);
            for (int i = 0; i < survivors.n; ++i) {
                const float value = is_drelu && up[i] <= 0.0F ? 0.0F : up[i];
                up[i] = gate[i] * value;
            }
        }
        return scratch_.second.data();
    }

    void project_down(const ActiveSet& survivors, const float* coef) {
        if (layer_.down_t.data != nullptr) {
            project_rows(survivors, coef);
        } else {
            project_dense(survivors, coef);
        }
        if (layer_.down_bias != nullptr) {
            for (int t = 0; t < n_tokens_; ++t) {
                float* delta = scratch_.delta.row(t, config_.dim);
                std::transform(delta, delta + config_.dim, layer_.down_bias, delta, std::plus<>());
            }
        }
    }

    void count(const ActiveSet& candidates, const ActiveSet& survivors, const float* coef) {
        uint64_t n_active = 0;
        for (int t = 0; t < n_tokens_; ++t) {
            const float* row = coef + static_cast<size_t>(t) * stride_;
            n_active += static_cast<uint64_t>(std::count_if(row, row + survivors.n, is_non_zero));
            counters_.neurons_candidate += n_candidates(candidates, t);
        }
        counters_.neurons_active += n_active;
        counters_.neurons_total += static_cast<uint64_t>(n_tokens_) * stride_;
    }

    // Computes every neuron to count those that fire, and of these those that the predictor missed.
    void audit() {
        const bool is_gated = config_.family->is_gated;
        const bool is_drelu = config_.activation == Activation::drelu;
        const Matrix& w = is_gated ? layer_.gate : layer_.up;
        const float* bias = is_gated ? nullptr : layer_.up_bias;
        multiply(compute_, x_, {Product{&w, scratch_.audit.data(), stride_, bias}});
        if (is_drelu) {
            multiply(compute_, x_, {Product{&layer_.up, scratch_.audit_up.data(), stride_}});
        }
        for (int t = 0; t < n_tokens_; ++t) {
            const float* value = scratch_.audit.row(t, config_.hidden_dim);
            const float* up = scratch_.audit_up.row(t, config_.hidden_dim);
            const float* scores = scratch_.neurons.row(t, config_.hidden_dim);
            for (int i = 0; i < config_.hidden_dim; ++i) {
                const bool fires =
                    value[i] > config_.fatrelu_threshold && (!is_drelu || up[i] > 0.0F);
                compute_.stats.audit_active += fires ? 1 : 0;
                const bool is_selected = scores[i] >= config_.sparse_threshold;
                compute_.stats.audit_missed += fires && !is_selected ? 1 : 0;
            }
        }
    }

private:
    static bool is_non_zero(float value) noexcept { return value != 0.0F; }

    // The union of a batch holds neurons that this token's own predictor did not select: they are
    // 0.
    void activate(const ActiveSet& candidates, float* values, int t) const {
        if (config_.activation == Activation::silu) {
            compute_.ops.silu(values, candidates.n);
            return;
        }
        const float threshold = config_.fatrelu_threshold;
        for (int i = 0; i < candidates.n; ++i) {
            values[i] = values[i] > threshold ? values[i] : 0.0F;
        }
        if (strategy_ == Strategy::predictor && n_tokens_ > 1) {
            const float* scores = scratch_.neurons.row(t, config_.hidden_dim);
            for (int i = 0; i < candidates.n; ++i) {
                const bool is_selected = scores[candidates.ids[i]] >= config_.sparse_threshold;
                values[i] = is_selected ? values[i] : 0.0F;
            }
        }
    }

    uint64_t n_candidates(const ActiveSet& candidates, int t) const {
        if (strategy_ != Strategy::predictor || n_tokens_ == 1) {
            return static_cast<uint64_t>(candidates.n);
        }
        const float* scores = scratch_.neurons.row(t, config_.hidden_dim);
        const float threshold = config_.sparse_threshold;
        return static_cast<uint64_t>(std::count_if(
            scores,
            scores + config_.hidden_dim,
            [threshold](float score) { return score >= threshold; }
        ));
    }

    void project_rows(const ActiveSet& survivors, const float* coef) {
        multiply_transposed(
            compute_,
            scratch_.delta.data(),
            layer_.down_t,
            survivors.ids,
            survivors.n,
            coef,
            stride_,
            n_tokens_
        );
        uint64_t n_read = 0; // rows that some token has a use for
        for (int i = 0; i < survivors.n; ++i) {
            bool is_read = false;
            for (int t = 0; t < n_tokens_ && !is_read; ++t) {
                is_read =
                    is_non_zero(coef[static_cast<size_t>(t) * stride_ + static_cast<size_t>(i)]);
            }
            n_read += is_read ? 1 : 0;
        }
        compute_.stats.weight_bytes_read += n_read * layer_.down_t.stride_bytes();
    }

    // The down matrix of a GGUF file has a row per output, so it is read whole.
    void project_dense(const ActiveSet& survivors, const float* coef) {
        const float* hidden = coef;
        if (survivors.ids != nullptr) {
            float* scattered = scratch_.neurons.data();
            std::fill(scattered, scattered + static_cast<size_t>(n_tokens_) * stride_, 0.0F);
            for (int t = 0; t < n_tokens_; ++t) {
                float* row = scratch_.neurons.row(t, config_.hidden_dim);
                for (int i = 0; i < survivors.n; ++i) {
                    row[survivors.ids[i]] =
                        coef[static_cast<size_t>(t) * stride_ + static_cast<size_t>(i)];
                }
            }
            hidden = scattered;
        }
        const cpu::Activations x = make_activations(
            compute_, hidden, n_tokens_, config_.hidden_dim, layer_.down.is_quantized()
        );
        multiply(
            compute_,
            x,
            {Product{&layer_.down, scratch_.delta.data(), static_cast<size_t>(config_.dim)}}
        );
    }

    Compute& compute_;
    Scratch& scratch_;
    const Config& config_;
    const Layer& layer_;
    LayerStats& counters_;
    Strategy strategy_;
    const float* input_;
    int n_tokens_;
    size_t stride_; // of a token in scratch.first, second and neurons
    cpu::Activations x_{};
};

} // namespace

void feed_forward(
    Compute& compute, int index, const float* input, const float* residual, int n_tokens, bool audit
) {
    StopWatch watch;
    FeedForward ffn(compute, index, input, n_tokens);
    const ActiveSet candidates = ffn.find_candidates(residual);
    watch.lap(compute.stats.predictor_ns);
    ffn.test(candidates);
    if (audit) {
        ffn.audit();
    }
    const ActiveSet survivors = ffn.find_survivors(candidates);
    const float* coef = ffn.weigh(survivors);
    ffn.count(candidates, survivors, coef);
    ffn.project_down(survivors, coef);
    watch.lap(compute.stats.ffn_ns);
}

} // namespace powerinfer
