#include "calibrate.h"

#include "ffn.h"
#include "forward.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace powerinfer {

namespace {

using Clock = std::chrono::steady_clock;

// Of gate, up and down. The first decides how decoding runs, so it has most of the time.
struct Sampling {
    int n_tokens;
    size_t n_bytes;
    double budget; // seconds
};
constexpr Sampling kOne{1, 6 << 20, 0.1};
constexpr Sampling kMany{kManyTokens, 1 << 20, 0.04};
constexpr double kProbeBudget = 0.1;     // seconds
constexpr size_t kTourBytes = 128 << 20; // until a sample comes again: more than caches hold, but
                                         // the first access to each page takes its time
constexpr int kMinRounds = 6;            // of timing everything, the best of each counts
constexpr int kMaxRounds = 32;
constexpr int kRowStep = 32; // samples have multiples of this many neurons
constexpr int kProbeTokens = 4;
constexpr int kActivationBits = 16; // for one token the memory decides, not the bits

class Deadline {
public:
    explicit Deadline(double seconds) : seconds_(seconds) {}

    bool is_over() const {
        return std::chrono::duration<double>(Clock::now() - start_).count() > seconds_;
    }

private:
    double seconds_;
    Clock::time_point start_ = Clock::now();
};

// Has all threads awake, if the system lets them: between two stages of a step they do not sleep.
void wake(ThreadPool& pool) {
    constexpr double kPatience = 2e-4;
    constexpr auto kStay = std::chrono::microseconds(10); // time for the others to come
    const Deadline deadline(kPatience);
    std::vector<uint8_t> is_awake(static_cast<size_t>(pool.n_threads()), 0);
    do {
        pool.parallel_for(pool.n_threads(), 1, [&](int64_t, int64_t, int worker) {
            is_awake[static_cast<size_t>(worker)] = 1;
            const Clock::time_point start = Clock::now();
            while (Clock::now() - start < kStay) {
            }
        });
    } while (std::count(is_awake.begin(), is_awake.end(), 1) < pool.n_threads() &&
             !deadline.is_over());
}

// Whether a neuron fires for a token, in a pattern without order.
bool fires(int neuron, int token, double share) noexcept {
    uint32_t hash =
        static_cast<uint32_t>(neuron) * 2654435761U + static_cast<uint32_t>(token) * 40503U;
    hash = (hash ^ hash >> 15) * 2246822519U;
    hash = (hash ^ hash >> 13) * 3266489917U;
    return (hash ^ hash >> 16) < share * 4294967296.0;
}

// What the calibration computes in, apart from any context.
struct Workshop {
    Workshop(const Model& model, ThreadPool& pool, int n_tokens)
        : ops(cpu::best_ops()), scratch(model, ops, n_tokens, n_tokens, pool.n_threads(), false),
          plan(model.has_predictor() ? Strategy::predictor : Strategy::exact),
          compute{model, ops, pool, scratch, stats, plan, kActivationBits} {
        stats.layers.resize(static_cast<size_t>(model.config().n_layers));
    }

    const cpu::Ops& ops;
    Scratch scratch;
    Stats stats;
    FfnPlan plan;
    Compute compute;
};

// Walks through the feed-forward weights of a model in pieces, so that what is timed has not just
// been read. A piece is a layer with fewer neurons, but for a predictor by columns: it stays whole.
class Samples {
public:
    Samples(const Model& model, size_t n_bytes) : model_(model) {
        const Layer& layer = model.layer(0);
        const LayerBytes all = layer_bytes(model.config(), layer);
        const double share = static_cast<double>(n_bytes) / (all.test + all.rest);
        const int rows = layer.up.rows;
        // The rows of a GGUF file's down matrix are no neurons: it cannot be cut.
        const bool is_whole = share >= 1.0 || layer.down_t.data == nullptr;
        const int cut = static_cast<int>(share * rows) / kRowStep * kRowStep;
        n_rows_ = is_whole ? rows : std::clamp(cut, std::min(rows, kRowStep), rows);
        n_samples_ = static_cast<int>(kTourBytes * rows / ((all.test + all.rest) * n_rows_)) + 1;
    }

    int n_rows() const noexcept { return n_rows_; }

    const Layer& next() {
        layer_ = model_.layer(index_);
        for (Matrix* w : {&layer_.gate, &layer_.up, &layer_.down_t, &layer_.fc2}) {
            if (w->data != nullptr && !w->is_by_columns) {
                *w = w->range(begin_, n_rows_);
            }
        }
        layer_.up_bias = layer_.up_bias == nullptr ? nullptr : layer_.up_bias + begin_;
        for (const Matrix* w :
             {&layer_.gate, &layer_.up, &layer_.down_t, &layer_.down, &layer_.fc1, &layer_.fc2}) {
            touch(*w);
        }
        advance();
        return layer_;
    }

private:
    // Layer by layer, then the next neurons of each; from the beginning when it was enough.
    void advance() noexcept {
        if (++index_ == model_.config().n_layers) {
            index_ = 0;
            begin_ += n_rows_;
        }
        if (++n_given_ >= n_samples_ || begin_ + n_rows_ > model_.layer(0).up.rows) {
            n_given_ = 0;
            index_ = 0;
            begin_ = 0;
        }
    }

    // The first access to a page of the file is much slower than all others.
    static void touch(const Matrix& w) noexcept {
        constexpr size_t kPage = 4096;
        const volatile std::byte* bytes = w.data;
        for (size_t i = 0; i < (w.data == nullptr ? 0 : w.n_bytes()); i += kPage) {
            static_cast<void>(bytes[i]);
        }
    }

    const Model& model_;
    int n_rows_;
    int n_samples_; // of a tour
    int n_given_ = 0;
    int index_ = 0;
    int begin_ = 0;
    Layer layer_; // the last one handed out
};

// Times the stages of a feed-forward for a number of tokens.
class Timing {
public:
    Timing(const Model& model, ThreadPool& pool, const Sampling& sampling)
        : model_(model), n_tokens_(sampling.n_tokens), shop_(model, pool, n_tokens_),
          samples_(model, sampling.n_bytes) {
        const size_t n = static_cast<size_t>(n_tokens_) * static_cast<size_t>(model.config().dim);
        uint32_t state = 1;
        for (float* x : {shop_.scratch.x.data(), shop_.scratch.normed.data()}) {
            std::generate(x, x + n, [&] {
                state = state * 1664525U + 1013904223U;
                return static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
            });
        }
    }

    // Times everything once, and keeps what is faster than before.
    void round() {
        if (model_.has_predictor()) {
            keep(
                best_.predict,
                &LayerBytes::predict,
                fixed_choice(Strategy::predictor),
                [](FeedForward& ffn, const float* residual) { ffn.find_candidates(residual); }
            );
        }
        test(best_.test_all, 1.0);
        test(best_.test_listed_low, kLowShare);
        test(best_.test_listed_high, kHighShare);
        for (const bool is_listed : {false, true}) {
            rest(is_listed ? best_.rest_listed_low : best_.rest_all_low, kLowShare, is_listed);
            rest(is_listed ? best_.rest_listed_high : best_.rest_all_high, kHighShare, is_listed);
        }
    }

    // A smaller share cannot take longer: if it did in all rounds, it was disturbed.
    StageRates best() const noexcept {
        StageRates best = best_;
        best.test_listed_low = std::max(best.test_listed_low, best.test_listed_high);
        best.rest_all_low = std::max(best.rest_all_low, best.rest_all_high);
        best.rest_listed_low = std::max(best.rest_listed_low, best.rest_listed_high);
        return best;
    }

private:
    template <typename Stage>
    void keep(double& rate, double LayerBytes::* bytes, FfnChoice choice, Stage&& stage) {
        const Layer& layer = samples_.next();
        FeedForward ffn(shop_.compute, layer, choice, shop_.scratch.normed.data(), n_tokens_);
        ffn.pack_input();
        wake(shop_.compute.pool);
        const Clock::time_point start = Clock::now();
        stage(ffn, shop_.scratch.x.data());
        const std::chrono::duration<double> elapsed = Clock::now() - start;
        const double all = layer_bytes(model_.config(), layer).*bytes;
        rate = std::max(rate, all / std::max(elapsed.count(), 1e-9));
    }

    double share_of_token(double share_of_union) const {
        return 1.0 - std::pow(1.0 - share_of_union, 1.0 / n_tokens_);
    }

    // The union of the tokens has about the share of neurons that the predictor selects.
    void test(double& rate, double share) {
        const float threshold = model_.config().sparse_threshold;
        const double of_token = share_of_token(share);
        int32_t* ids = shop_.scratch.candidates.data();
        int n = 0;
        for (int i = 0; i < samples_.n_rows(); ++i) {
            bool is_selected = false;
            for (int t = 0; t < n_tokens_; ++t) {
                const bool is_own = fires(i, t, of_token);
                float* scores = shop_.scratch.neurons.row(t, samples_.n_rows());
                scores[i] = is_own ? threshold : threshold - 1.0F;
                is_selected = is_selected || is_own;
            }
            ids[n] = i;
            n += is_selected ? 1 : 0;
        }
        const bool is_listed = share < 1.0;
        const ActiveSet tested =
            is_listed ? ActiveSet{ids, n} : ActiveSet{nullptr, samples_.n_rows()};
        keep(
            rate,
            &LayerBytes::test,
            fixed_choice(is_listed ? Strategy::predictor : Strategy::exact),
            [&](FeedForward& ffn, const float*) {
                ffn.take_candidates(tested);
                ffn.test();
            }
        );
    }

    // The union of the tokens has about the share of neurons that are not zero.
    void rest(double& rate, double share, bool is_listed) {
        const double of_token = share_of_token(share);
        for (int t = 0; t < n_tokens_; ++t) {
            float* values = shop_.scratch.first.row(t, samples_.n_rows());
            for (int i = 0; i < samples_.n_rows(); ++i) {
                values[i] = fires(i, t, of_token) ? 1.0F : 0.0F;
            }
        }
        keep(
            rate,
            &LayerBytes::rest,
            fixed_choice(is_listed ? Strategy::exact : Strategy::dense),
            [&](FeedForward& ffn, const float*) {
                ffn.find_survivors();
                ffn.weigh();
                ffn.count(shop_.stats.layers.front());
                ffn.project_down();
            }
        );
    }

    const Model& model_;
    int n_tokens_;
    Workshop shop_;
    Samples samples_;
    StageRates best_{};
};

// Other programs disturb a round now and then: many short ones are better than few long ones.
StageRates measure_stages(const Model& model, ThreadPool& pool, const Sampling& sampling) {
    Timing timing(model, pool, sampling);
    const Deadline deadline(sampling.budget);
    for (int i = 0; i < kMinRounds || (i < kMaxRounds && !deadline.is_over()); ++i) {
        timing.round();
    }
    return timing.best();
}

// Shares of a layer's neurons that the probe's tokens needed.
LayerPlan probed(const LayerStats& seen, bool has_predictor) {
    const double all = static_cast<double>(seen.neurons_total);
    const double candidates = static_cast<double>(seen.neurons_candidate);
    return {
        .active_share = static_cast<double>(seen.neurons_active) / all,
        .candidate_share = has_predictor ? candidates / all : 0.0,
    };
}

// Runs as many layers as the time allows, one at least.
std::vector<LayerPlan> probe(const Model& model, ThreadPool& pool) {
    const Config& config = model.config();
    const int n = std::min(kProbeTokens, config.context_length);
    Workshop shop(model, pool, n);
    KvCache cache(DType::f16, config.n_layers, config.n_kv_heads, config.head_dim, n, 1);
    cache.append(0, n);
    int32_t ids[kProbeTokens];
    int32_t positions[kProbeTokens];
    const int32_t sequences[kProbeTokens] = {};
    for (int t = 0; t < n; ++t) { // from all over the vocabulary
        ids[t] = static_cast<int32_t>(int64_t{model.vocab_size()} * (2 * t + 1) / (2 * n));
        positions[t] = t;
    }
    const Tokens tokens{ids, positions, sequences, n};
    const Deadline deadline(kProbeBudget);
    std::vector<LayerPlan> plans;
    embed(shop.compute, tokens);
    do {
        const size_t index = plans.size();
        forward_layer(shop.compute, cache, static_cast<int>(index), tokens, false);
        plans.push_back(probed(shop.stats.layers[index], model.has_predictor()));
    } while (static_cast<int>(plans.size()) < config.n_layers && !deadline.is_over());
    return plans;
}

LayerPlan mean(const std::vector<LayerPlan>& plans) {
    LayerPlan sum;
    for (const LayerPlan& plan : plans) {
        sum.active_share += plan.active_share;
        sum.candidate_share += plan.candidate_share;
    }
    const double n = static_cast<double>(plans.size());
    return {.active_share = sum.active_share / n, .candidate_share = sum.candidate_share / n};
}

} // namespace

Rates measure_rates(const Model& model, ThreadPool& pool) {
    return {
        pool.n_threads(),
        measure_stages(model, pool, kOne),
        measure_stages(model, pool, kMany),
    };
}

std::vector<LayerPlan> plan_layers(const Model& model, const Rates& rates, ThreadPool& pool) {
    std::vector<LayerPlan> plans = probe(model, pool);
    plans.resize(static_cast<size_t>(model.config().n_layers), mean(plans));
    for (size_t i = 0; i < plans.size(); ++i) {
        const LayerBytes bytes = layer_bytes(model.config(), model.layer(static_cast<int>(i)));
        const Shares shares{plans[i].candidate_share, plans[i].active_share};
        plans[i].uses_predictor = predictor_pays(rates, bytes, shares);
    }
    return plans;
}

} // namespace powerinfer
