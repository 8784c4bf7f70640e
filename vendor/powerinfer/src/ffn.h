// The feed-forward of one layer, stage by stage. The strategies differ in which neurons are tested
// and which of those are read further, not in how a neuron is computed.
#pragma once

#include "active_set.h"
#include "linear.h"
#include "plan.h"
#include "token_lists.h"

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

// The stages, in the order in which they are called; public for those who time them.
//
// One token, or tokens that share most of what they need, have one list of neurons for all. Where
// tokens of a batch need few of each other's, each has its own from then on.
class FeedForward {
public:
    // `input` (n_tokens, dim). A neuron is a row of layer.up.
    FeedForward(
        Compute& compute, const Layer& layer, FfnChoice choice, const float* input, int n_tokens
    );

    void find_candidates(const float* residual);
    // In place of that: those that somebody else selected.
    void take_candidates(const ActiveSet& candidates);
    void pack_input();
    // Gate products, or up products of ungated families, of the candidates.
    void test();
    // Computes every neuron to count those that fire, and of these those that the predictor missed.
    void audit();
    // Leaves the candidates that some token needs further.
    void find_survivors();
    // What each survivor is worth: activation(gate) * up, or the activation of an ungated up.
    void weigh();
    // Before project_down. Adds to the layer's counters.
    Seen count(LayerStats& counters);
    // scratch.delta (n_tokens, dim).
    void project_down(bool adds_bias = true);

private:
    // Whether each token had better take its own of n neurons, n_terms of all tokens.
    bool pays_to_list(uint64_t n_terms, int n) const noexcept;
    // scratch.flags: which of n neurons are not zero for some token. Returns how many.
    int flag_non_zero(const float* values, int n);
    void activate(float* values, int n) const;
    void mask(float* values, int t) const;
    bool is_selected(int t, int i) const;
    uint64_t count_non_zero(const float* values, int n);
    uint64_t count_candidates();
    void count_fired(std::vector<uint64_t>& fired);
    void project_dense();

    Compute& compute_;
    Scratch& scratch_;
    const Config& config_;
    const Layer& layer_;
    FfnChoice choice_;
    const float* input_;
    int n_tokens_;
    int hidden_dim_;
    size_t stride_; // of a token in scratch.first, second and neurons
    cpu::Activations x_{};
    ActiveSet candidates_;
    int n_selected_ = 0;    // candidates of the predictor
    uint64_t n_listed_ = 0; // of all tokens
    uint64_t n_terms_ = 0;  // coefficients of all tokens that are not zero
    // One list: the survivors, and their coefficients (n_tokens, stride).
    ActiveSet survivors_;
    const float* coef_;
    // Or each its own.
    bool has_own_ = false;
    TokenLists own_;
};

// scratch.delta = FFN(input). For one token and for a batch each token gets the same bits.
void feed_forward(Compute& compute, int index, const FfnInput& input);

} // namespace powerinfer
