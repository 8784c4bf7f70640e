#include "ffn.h"

#include "predictor.h"

#include <algorithm>
#include <atomic>
#include <functional>

namespace powerinfer {

namespace {

constexpr int kFlagGrain = 1024; // neurons that one thread looks at for all tokens

bool is_non_zero(float value) noexcept {
    return value != 0.0F;
}

} // namespace

template <typename Body>
void FeedForward::for_tokens(Body&& body) {
    compute_.pool.parallel_for(n_tokens_, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
            body(static_cast<int>(t));
        }
    });
}

template <typename IsNeeded>
Needed FeedForward::find_needed(int n, IsNeeded&& is_needed) {
    if (n_tokens_ == 1) {
        return {};
    }
    std::atomic<uint64_t> n_needed{0};
    for_tokens([&](int t) {
        uint8_t* flags = scratch_.needed.row(t, hidden_dim_);
        uint64_t n_own = 0;
        for (int i = 0; i < n; ++i) {
            flags[i] = static_cast<uint8_t>(is_needed(t, i));
            n_own += flags[i];
        }
        n_needed.fetch_add(n_own, std::memory_order_relaxed);
    });
    return {scratch_.needed.data(), n_needed.load()};
}

void FeedForward::flag_non_zero(const float* values, int n) {
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
}

FeedForward::FeedForward(
    Compute& compute, const Layer& layer, FfnChoice choice, const float* input, int n_tokens
)
    : compute_(compute), scratch_(compute.scratch), config_(compute.model.config()), layer_(layer),
      choice_(choice), input_(input), n_tokens_(n_tokens), hidden_dim_(layer.up.rows),
      stride_(static_cast<size_t>(hidden_dim_)) {}

ActiveSet FeedForward::find_candidates(const float* residual) {
    const ActiveSet all{nullptr, hidden_dim_};
    if (!choice_.uses_predictor) {
        return all;
    }
    const ActiveSet selected = predict(compute_, layer_, residual, n_tokens_);
    n_selected_ = selected.n;
    return choice_.lists_candidates ? selected : all;
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

void FeedForward::test(const ActiveSet& candidates) {
    const Matrix& w = config_.family->is_gated ? layer_.gate : layer_.up;
    const float* bias = config_.family->is_gated ? nullptr : layer_.up_bias;
    Needed needed;
    if (choice_.uses_predictor && choice_.lists_candidates) {
        needed =
            find_needed(candidates.n, [&](int t, int i) { return is_selected(candidates, t, i); });
    }
    multiply(
        compute_,
        x_,
        {Product{&w, scratch_.first.data(), stride_, bias, candidates.ids, candidates.n, needed}}
    );
    for_tokens([&](int t) { activate(candidates, scratch_.first.row(t, hidden_dim_), t); });
}

// Where all rows were tested, neurons that this token's own predictor did not select are 0.
void FeedForward::activate(const ActiveSet& candidates, float* values, int t) const {
    if (config_.activation == Activation::silu) {
        compute_.ops.silu(values, candidates.n);
        return;
    }
    const float threshold = config_.fatrelu_threshold;
    for (int i = 0; i < candidates.n; ++i) {
        values[i] = values[i] > threshold ? values[i] : 0.0F;
    }
    if (choice_.uses_predictor && !choice_.lists_candidates) {
        const float* scores = scratch_.neurons.row(t, hidden_dim_);
        for (int i = 0; i < candidates.n; ++i) {
            const bool is_selected = scores[candidates.id(i)] >= config_.sparse_threshold;
            values[i] = is_selected ? values[i] : 0.0F;
        }
    }
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

ActiveSet FeedForward::find_survivors(const ActiveSet& candidates) {
    if (!choice_.lists_survivors) {
        return candidates;
    }
    flag_non_zero(scratch_.first.data(), candidates.n);
    const uint8_t* flags = scratch_.flags.data();
    int32_t* ids = scratch_.survivors.data();
    int n = 0;
    for (int i = 0; i < candidates.n; ++i) {
        ids[n] = candidates.id(i);
        n += flags[i];
    }
    if (n == candidates.n) {
        return candidates;
    }
    for_tokens([&](int t) {
        float* values = scratch_.first.row(t, hidden_dim_);
        for (int i = 0, j = 0; i < candidates.n; ++i) {
            values[j] = values[i];
            j += flags[i];
        }
    });
    return {ids, n};
}

float* FeedForward::weigh(const ActiveSet& survivors) {
    if (!config_.family->is_gated) {
        return scratch_.first.data();
    }
    Needed needed;
    if (choice_.lists_survivors) {
        needed = find_needed(survivors.n, [&](int t, int i) {
            return is_non_zero(scratch_.first.row(t, hidden_dim_)[i]);
        });
    }
    float* products = scratch_.second.data();
    multiply(
        compute_,
        x_,
        {Product{&layer_.up, products, stride_, nullptr, survivors.ids, survivors.n, needed}}
    );
    const bool is_drelu = config_.activation == Activation::drelu;
    for_tokens([&](int t) {
        const float* gate = scratch_.first.row(t, hidden_dim_);
        float* up = scratch_.second.row(t, hidden_dim_);
        for (int i = 0; i < survivors.n; ++i) {
            const float value = is_drelu && up[i] <= 0.0F ? 0.0F : up[i];
            up[i] = is_non_zero(gate[i]) ? gate[i] * value : 0.0F;
        }
    });
    return products;
}

// Neurons are shared out, so each count has one writer and no order matters.
void FeedForward::count_fired(
    const ActiveSet& survivors, const float* coef, std::vector<uint64_t>& fired
) {
    compute_.pool.parallel_for(survivors.n, kFlagGrain, [&](int64_t begin, int64_t end, int) {
        for (size_t t = 0; t < static_cast<size_t>(n_tokens_); ++t) {
            const float* row = coef + t * stride_;
            for (int64_t i = begin; i < end; ++i) {
                const int32_t neuron = survivors.id(static_cast<int>(i));
                fired[static_cast<size_t>(neuron)] += is_non_zero(row[i]) ? 1 : 0;
            }
        }
    });
}

Seen FeedForward::count(
    const ActiveSet& candidates, const ActiveSet& survivors, const float* coef, LayerStats& counters
) {
    std::atomic<uint64_t> n_active{0};
    std::atomic<uint64_t> n_candidate{0};
    for_tokens([&](int t) {
        const float* row = coef + static_cast<size_t>(t) * stride_;
        n_active += static_cast<uint64_t>(std::count_if(row, row + survivors.n, is_non_zero));
        n_candidate += n_candidates(candidates, t);
    });
    flag_non_zero(coef, survivors.n);
    const uint8_t* flags = scratch_.flags.data();
    n_needed_ = static_cast<int>(std::count(flags, flags + survivors.n, uint8_t{1}));
    n_terms_ = n_active.load();
    if (!counters.fired.empty()) {
        count_fired(survivors, coef, counters.fired);
    }
    counters.neurons_active += n_terms_;
    counters.neurons_candidate += n_candidate;
    const uint64_t n_total = static_cast<uint64_t>(n_tokens_) * stride_;
    counters.neurons_total += n_total;
    const double all = static_cast<double>(n_total);
    return {
        .token =
            {static_cast<double>(n_candidate.load()) / all, static_cast<double>(n_terms_) / all},
        .batch =
            {static_cast<double>(n_selected_) / hidden_dim_,
             static_cast<double>(n_needed_) / hidden_dim_},
    };
}

bool FeedForward::is_selected(const ActiveSet& candidates, int t, int i) const {
    if (candidates.tokens != nullptr) {
        return (candidates.tokens[i] >> t & 1) != 0;
    }
    return scratch_.neurons.data(
           )[static_cast<size_t>(t) * stride_ + static_cast<size_t>(candidates.id(i))] >=
           config_.sparse_threshold;
}

uint64_t FeedForward::n_candidates(const ActiveSet& candidates, int t) const {
    if (!choice_.uses_predictor) {
        return static_cast<uint64_t>(candidates.n);
    }
    if (n_tokens_ == 1) {
        return static_cast<uint64_t>(n_selected_);
    }
    if (candidates.tokens != nullptr) {
        const uint32_t* end = candidates.tokens + candidates.n;
        return static_cast<uint64_t>(std::count_if(candidates.tokens, end, [t](uint32_t tokens) {
            return (tokens >> t & 1) != 0;
        }));
    }
    const float* scores = scratch_.neurons.row(t, hidden_dim_);
    const float threshold = config_.sparse_threshold;
    return static_cast<uint64_t>(std::count_if(
        scores, scores + hidden_dim_, [threshold](float score) { return score >= threshold; }
    ));
}

void FeedForward::project_down(const ActiveSet& survivors, const float* coef, bool adds_bias) {
    if (layer_.down_t.data != nullptr) {
        multiply_transposed(
            compute_,
            scratch_.delta.data(),
            layer_.down_t,
            survivors.ids,
            survivors.n,
            coef,
            stride_,
            n_terms_,
            n_tokens_
        );
        compute_.stats.weight_bytes_read +=
            static_cast<uint64_t>(n_needed_) * layer_.down_t.n_row_bytes();
    } else {
        project_dense(survivors, coef);
    }
    if (layer_.down_bias != nullptr && adds_bias) {
        for (int t = 0; t < n_tokens_; ++t) {
            float* delta = scratch_.delta.row(t, config_.dim);
            std::transform(delta, delta + config_.dim, layer_.down_bias, delta, std::plus<>());
        }
    }
}

// The down matrix of a GGUF file has a row per output, so it is read whole.
void FeedForward::project_dense(const ActiveSet& survivors, const float* coef) {
    const float* hidden = coef;
    if (survivors.ids != nullptr) {
        float* scattered = scratch_.neurons.data();
        std::fill(scattered, scattered + static_cast<size_t>(n_tokens_) * stride_, 0.0F);
        for (int t = 0; t < n_tokens_; ++t) {
            float* row = scratch_.neurons.row(t, hidden_dim_);
            for (int i = 0; i < survivors.n; ++i) {
                row[survivors.ids[i]] =
                    coef[static_cast<size_t>(t) * stride_ + static_cast<size_t>(i)];
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
    const ActiveSet candidates = input.candidates != nullptr
                                     ? ffn.take_candidates(*input.candidates)
                                     : ffn.find_candidates(input.residual);
    watch.lap(compute.stats.predictor_ns);
    ffn.pack_input();
    ffn.test(candidates);
    if (input.audit && choice.uses_predictor) {
        ffn.audit();
    }
    const ActiveSet survivors = ffn.find_survivors(candidates);
    const float* coef = ffn.weigh(survivors);
    LayerStats& counters = compute.stats.layers[static_cast<size_t>(index)];
    compute.plan.learn(index, input.n_tokens, ffn.count(candidates, survivors, coef, counters));
    ffn.project_down(survivors, coef, input.adds_bias);
    watch.lap(compute.stats.ffn_ns);
}

} // namespace powerinfer
