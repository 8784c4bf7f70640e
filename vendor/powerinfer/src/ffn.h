// The feed-forward of one layer, stage by stage. The strategies differ in which neurons are tested
// and which of those are read further, not in how a neuron is computed.
#pragma once

#include "active_set.h"
#include "linear.h"
#include "plan.h"

namespace powerinfer {

struct FfnInput {
    const float* input;    // (n_tokens, dim)
    const float* residual; // (n_tokens, dim), for the predictor
    int n_tokens;
    bool audit = false; // counts what a predictor misses, in layers that use theirs
    // Where a device has the other neurons: those of the host, in place of all or of the
    // predictor's.
    const ActiveSet* candidates = nullptr;
    bool adds_bias = true; // of the down projection
};

// scratch.delta = FFN(input). For one token and for a batch each token gets the same bits.
void feed_forward(Compute& compute, int index, const FfnInput& input);

// The stages, in the order in which they are called; public for those who time them.
class FeedForward {
public:
    // `input` (n_tokens, dim). A neuron is a row of layer.up.
    FeedForward(
        Compute& compute, const Layer& layer, FfnChoice choice, const float* input, int n_tokens
    );

    ActiveSet find_candidates(const float* residual);
    // In place of that: those that somebody else selected.
    ActiveSet take_candidates(const ActiveSet& candidates) {
        n_selected_ = candidates.n;
        return candidates;
    }
    void pack_input();
    // Gate products, or up products of ungated families, of the candidates: scratch.first (T, n).
    void test(const ActiveSet& candidates);
    // Computes every neuron to count those that fire, and of these those that the predictor missed.
    void audit();
    // Candidates that some token needs further. Values of scratch.first move along.
    ActiveSet find_survivors(const ActiveSet& candidates);
    // What each survivor is worth: activation(gate) * up, or the activation of an ungated up.
    float* weigh(const ActiveSet& survivors);
    // Before project_down. Adds to the layer's counters.
    Seen count(
        const ActiveSet& candidates,
        const ActiveSet& survivors,
        const float* coef,
        LayerStats& counters
    );
    void project_down(const ActiveSet& survivors, const float* coef, bool adds_bias = true);

private:
    template <typename Body>
    void for_tokens(Body&& body);
    // Of each token the neurons i < n for which is_needed(t, i); of one token all are needed.
    template <typename IsNeeded>
    Needed find_needed(int n, IsNeeded&& is_needed);
    // scratch.flags: which of n neurons are not zero for some token.
    void flag_non_zero(const float* values, int n);
    void count_fired(const ActiveSet& survivors, const float* coef, std::vector<uint64_t>& fired);
    void activate(const ActiveSet& candidates, float* values, int t) const;
    bool is_selected(const ActiveSet& candidates, int t, int i) const;
    uint64_t n_candidates(const ActiveSet& candidates, int t) const;
    void project_dense(const ActiveSet& survivors, const float* coef);

    Compute& compute_;
    Scratch& scratch_;
    const Config& config_;
    const Layer& layer_;
    FfnChoice choice_;
    const float* input_;
    int n_tokens_;
    int hidden_dim_;
    size_t stride_;        // of a token in scratch.first, second and neurons
    int n_selected_ = 0;   // neurons that the predictor selects for some token
    int n_needed_ = 0;     // neurons that are not zero for some token
    uint64_t n_terms_ = 0; // neurons that are not zero, of all tokens
    cpu::Activations x_{};
};

} // namespace powerinfer
