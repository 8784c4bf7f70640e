#include "ffn.h"

#include "predictor.h"

#include <algorithm>
#include <atomic>
#include <functional>

namespace powerinfer {

namespace {

constexpr int kFlagGrain = 1024; // neurons that one thread looks at for all tokens

// Where tokens need less than this share of the rows that some token needs, each takes its own one
// by one. A row for one token costs about twice what it costs in a tile of many.
constexpr double kOwnRowsShare = 0.5;

bool is_non_zero(float value) noexcept {
    return value != 0.0F;
}

} // namespace

FeedForward::FeedForward(
    Compute& compute, const Layer& layer, FfnChoice choice, const float* input, int n_tokens
)
    : compute_(compute), scratch_(compute.scratch), config_(compute.model.config()), layer_(layer),
      choice_(choice), input_(input), n_tokens_(n_tokens), hidden_dim_(layer.up.rows),
      stride_(static_cast<size_t>(hidden_dim_)), candidates_{nullptr, hidden_dim_},
      survivors_(candidates_), coef_(compute.scratch.first.data()),
      own_(compute, hidden_dim_, n_tokens) {}

bool FeedForward::pays_to_list(uint64_t n_terms, int n) const noexcept {
    const double all = static_cast<double>(n) * n_tokens_;
    return n_tokens_ > 1 && static_cast<double>(n_terms) < kOwnRowsShare * all;
}

int FeedForward::flag_non_zero(const float* values, int n) {
    uint8_t* flags = scratch_.flags.data();
    compute_.pool.parallel_for(n, kFlagGrain, [&](int64_t begin, int64_t end, int) {
        std::fill(flags + begin, flags + end, uint8_t{0});
        for (size_t t = 0; t < static_cast<size_t>(n_tokens_); ++t) {
            const float* row = values + t * stride_;
            for (int64_t i = begin; i < end; ++i) {
                flags[i] |= static_cast<uint8_t>(row[i] != 0.0F);
            }
        }
    });
    return static_cast<int>(std::count(flags, flags + n, uint8_t{1}));
}

uint64_t FeedForward::count_non_zero(const float* values, int n) {
    std::atomic<uint64_t> sum{0};
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        const float* row = values + static_cast<size_t>(t) * stride_;
        sum += static_cast<uint64_t>(std::count_if(row, row + n, is_non_zero));
    });
    return sum.load();
}

void FeedForward::find_candidates(const float* residual) {
    if (!choice_.uses_predictor) {
        return;
    }
    const ActiveSet selected = predict(compute_, layer_, residual, n_tokens_);
    n_selected_ = selected.n;
    if (choice_.lists_candidates) {
        take_candidates(selected);
    }
}

void FeedForward::take_candidates(const ActiveSet& candidates) {
    n_selected_ = candidates.n;
    candidates_ = candidates;
    survivors_ = candidates;
}

void FeedForward::pack_input() {
    const bool is_gated = config_.family->is_gated;
    const Matrix& w = is_gated ? layer_.gate : layer_.up;
    x_ = make_activations(
        compute_,
        input_,
        n_tokens_,
        config_.dim,
        w.is_quantized() || (is_gated && layer_.up.is_quantized())
    );
}

void FeedForward::test() {
    const Matrix& w = config_.family->is_gated ? layer_.gate : layer_.up;
    const float* bias = config_.family->is_gated ? nullptr : layer_.up_bias;
    if (n_tokens_ > 1 && choice_.uses_predictor && choice_.lists_candidates) {
        own_.list_selected(candidates_);
        n_listed_ = own_.n();
        has_own_ = pays_to_list(own_.n(), candidates_.n);
    }
    if (has_own_) {
        own_.multiply(w, x_, bias, [&](TokenList& list, const float* products) {
            std::copy(products, products + list.n, list.values);
            activate(list.values, list.n);
            list.keep_non_zero();
        });
        return;
    }
    float* values = scratch_.first.data();
    multiply(compute_, x_, {Product{&w, values, stride_, bias, candidates_.ids, candidates_.n}});
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        float* row = values + static_cast<size_t>(t) * stride_;
        activate(row, candidates_.n);
        mask(row, t);
    });
}

void FeedForward::activate(float* values, int n) const {
    if (config_.activation == Activation::silu) {
        compute_.ops.silu(values, n);
        return;
    }
    const float threshold = config_.fatrelu_threshold;
    for (int i = 0; i < n; ++i) {
        values[i] = values[i] > threshold ? values[i] : 0.0F;
    }
}

// Neurons that were tested, though not for this token, are 0.
void FeedForward::mask(float* values, int t) const {
    if (!choice_.uses_predictor || (choice_.lists_candidates && n_tokens_ == 1)) {
        return;
    }
    for (int i = 0; i < candidates_.n; ++i) {
        values[i] = is_selected(t, i) ? values[i] : 0.0F;
    }
}

bool FeedForward::is_selected(int t, int i) const {
    if (candidates_.tokens != nullptr) {
        return (candidates_.tokens[i] >> t & 1) != 0;
    }
    const float* scores = scratch_.neurons.row(t, hidden_dim_);
    return scores[candidates_.id(i)] >= config_.sparse_threshold;
}

void FeedForward::audit() {
    const bool is_gated = config_.family->is_gated;
    const bool is_drelu = config_.activation == Activation::drelu;
    const Matrix& w = is_gated ? layer_.gate : layer_.up;
    const float* bias = is_gated ? nullptr : layer_.up_bias;
    multiply(compute_, x_, {Product{&w, scratch_.audit.data(), stride_, bias}});
    if (is_drelu) {
        multiply(compute_, x_, {Product{&layer_.up, scratch_.audit_up.data(), stride_}});
    }
    for (int t = 0; t < n_tokens_; ++t) {
        const float* value = scratch_.audit.row(t, hidden_dim_);
        const float* up = scratch_.audit_up.row(t, hidden_dim_);
        const float* scores = scratch_.neurons.row(t, hidden_dim_);
        for (int i = 0; i < hidden_dim_; ++i) {
            const bool fires = value[i] > config_.fatrelu_threshold && (!is_drelu || up[i] > 0.0F);
            compute_.stats.audit_active += fires ? 1 : 0;
            const bool is_selected = scores[i] >= config_.sparse_threshold;
            compute_.stats.audit_missed += fires && !is_selected ? 1 : 0;
        }
    }
}

void FeedForward::find_survivors() {
    if (!choice_.lists_survivors || has_own_) {
        return;
    }
    float* values = scratch_.first.data();
    const int n = flag_non_zero(values, candidates_.n);
    if (n_tokens_ > 1 && pays_to_list(count_non_zero(values, candidates_.n), n)) {
        own_.list_non_zero(candidates_, values);
        has_own_ = true;
        return;
    }
    if (n == candidates_.n) {
        return;
    }
    const uint8_t* flags = scratch_.flags.data();
    int32_t* ids = scratch_.survivors.data();
    for (int i = 0, j = 0; i < candidates_.n; ++i) {
        ids[j] = candidates_.id(i);
        j += flags[i];
    }
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        float* row = values + static_cast<size_t>(t) * stride_;
        for (int i = 0, j = 0; i < candidates_.n; ++i) {
            row[j] = row[i];
            j += flags[i];
        }
    });
    survivors_ = {ids, n};
}

void FeedForward::weigh() {
    if (!config_.family->is_gated) {
        return;
    }
    const bool is_drelu = config_.activation == Activation::drelu;
    const auto up_value = [is_drelu](float up) { return is_drelu && up <= 0.0F ? 0.0F : up; };
    if (has_own_) {
        own_.multiply(layer_.up, x_, nullptr, [&](TokenList& list, const float* products) {
            for (int i = 0; i < list.n; ++i) {
                list.values[i] *= up_value(products[i]);
            }
            list.keep_non_zero();
        });
        return;
    }
    float* products = scratch_.second.data();
    multiply(
        compute_,
        x_,
        {Product{&layer_.up, products, stride_, nullptr, survivors_.ids, survivors_.n}}
    );
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        const float* gate = scratch_.first.row(t, hidden_dim_);
        float* up = scratch_.second.row(t, hidden_dim_);
        for (int i = 0; i < survivors_.n; ++i) {
            up[i] = is_non_zero(gate[i]) ? gate[i] * up_value(up[i]) : 0.0F;
        }
    });
    coef_ = products;
}

// Neurons are shared out, so each count has one writer and no order matters.
void FeedForward::count_fired(std::vector<uint64_t>& fired) {
    if (has_own_) {
        own_.count(fired);
        return;
    }
    compute_.pool.parallel_for(survivors_.n, kFlagGrain, [&](int64_t begin, int64_t end, int) {
        for (size_t t = 0; t < static_cast<size_t>(n_tokens_); ++t) {
            const float* row = coef_ + t * stride_;
            for (int64_t i = begin; i < end; ++i) {
                const int32_t neuron = survivors_.id(static_cast<int>(i));
                fired[static_cast<size_t>(neuron)] += is_non_zero(row[i]) ? 1 : 0;
            }
        }
    });
}

Seen FeedForward::count(LayerStats& counters) {
    n_terms_ = has_own_ ? own_.n() : count_non_zero(coef_, survivors_.n);
    const int n_needed = has_own_ ? own_.n_neurons() : flag_non_zero(coef_, survivors_.n);
    const uint64_t n_candidate = count_candidates();
    if (!counters.fired.empty()) {
        count_fired(counters.fired);
    }
    const uint64_t n_total = static_cast<uint64_t>(n_tokens_) * stride_;
    counters.neurons_active += n_terms_;
    counters.neurons_candidate += n_candidate;
    counters.neurons_total += n_total;
    if (layer_.down_t.data != nullptr) {
        compute_.stats.weight_bytes_read +=
            static_cast<uint64_t>(n_needed) * layer_.down_t.n_row_bytes();
    }
    const double all = static_cast<double>(n_total);
    return {
        .token = {static_cast<double>(n_candidate) / all, static_cast<double>(n_terms_) / all},
        .batch =
            {static_cast<double>(n_selected_) / hidden_dim_,
             static_cast<double>(n_needed) / hidden_dim_},
    };
}

uint64_t FeedForward::count_candidates() {
    if (!choice_.uses_predictor) {
        return static_cast<uint64_t>(candidates_.n) * static_cast<uint64_t>(n_tokens_);
    }
    if (n_tokens_ == 1) {
        return static_cast<uint64_t>(n_selected_);
    }
    if (choice_.lists_candidates) {
        return n_listed_;
    }
    const float threshold = config_.sparse_threshold;
    std::atomic<uint64_t> sum{0};
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        const float* scores = scratch_.neurons.row(t, hidden_dim_);
        sum += static_cast<uint64_t>(std::count_if(
            scores, scores + hidden_dim_, [threshold](float score) { return score >= threshold; }
        ));
    });
    return sum.load();
}

void FeedForward::project_down(bool adds_bias) {
    float* delta = scratch_.delta.data();
    if (layer_.down_t.data == nullptr) {
        project_dense();
    } else {
        if (!has_own_ && survivors_.ids == nullptr && pays_to_list(n_terms_, survivors_.n)) {
            own_.list_non_zero(survivors_, coef_);
            has_own_ = true;
        }
        if (has_own_) {
            own_.multiply_transposed(delta, layer_.down_t);
        } else {
            multiply_transposed(
                compute_,
                delta,
                layer_.down_t,
                survivors_.ids,
                survivors_.n,
                coef_,
                stride_,
                n_tokens_
            );
        }
    }
    if (layer_.down_bias != nullptr && adds_bias) {
        for (int t = 0; t < n_tokens_; ++t) {
            float* row = scratch_.delta.row(t, config_.dim);
            std::transform(row, row + config_.dim, layer_.down_bias, row, std::plus<>());
        }
    }
}

// The down matrix of a GGUF file has a row per output, so it is read whole.
void FeedForward::project_dense() {
    const float* hidden = coef_;
    float* scattered = scratch_.neurons.data();
    if (has_own_) {
        own_.scatter(scattered);
        hidden = scattered;
    } else if (survivors_.ids != nullptr) {
        std::fill(scattered, scattered + static_cast<size_t>(n_tokens_) * stride_, 0.0F);
        for (size_t t = 0; t < static_cast<size_t>(n_tokens_); ++t) {
            for (int i = 0; i < survivors_.n; ++i) {
                scattered[t * stride_ + static_cast<size_t>(survivors_.ids[i])] =
                    coef_[t * stride_ + static_cast<size_t>(i)];
            }
        }
        hidden = scattered;
    }
    const cpu::Activations x =
        make_activations(compute_, hidden, n_tokens_, hidden_dim_, layer_.down.is_quantized());
    multiply(
        compute_,
        x,
        {Product{&layer_.down, scratch_.delta.data(), static_cast<size_t>(config_.dim)}}
    );
}

void feed_forward(Compute& compute, int index, const FfnInput& input) {
    StopWatch watch;
    const FfnChoice choice = compute.plan.choose(index, input.n_tokens);
    FeedForward ffn(compute, compute.model.layer(index), choice, input.input, input.n_tokens);
    if (input.candidates != nullptr) {
        ffn.take_candidates(*input.candidates);
    } else {
        ffn.find_candidates(input.residual);
    }
    watch.lap(compute.stats.predictor_ns);
    ffn.pack_input();
    ffn.test();
    if (input.audit && choice.uses_predictor) {
        ffn.audit();
    }
    ffn.find_survivors();
    ffn.weigh();
    LayerStats& counters = compute.stats.layers[static_cast<size_t>(index)];
    compute.plan.learn(index, input.n_tokens, ffn.count(counters));
    ffn.project_down(input.adds_bias);
    watch.lap(compute.stats.ffn_ns);
}

} // namespace powerinfer
