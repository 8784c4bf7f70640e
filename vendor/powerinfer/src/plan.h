// How the layers of a context are computed: by a fixed strategy, or as the shares seen so far make
// it fastest.
#pragma once

#include "choice.h"

#include <array>
#include <vector>

namespace powerinfer {

// What a batch showed of a layer.
struct Seen {
    Shares token{}; // mean over the tokens
    Shares batch{}; // of the union of the tokens
};

class FfnPlan {
public:
    // A fixed strategy for all layers.
    explicit FfnPlan(Strategy strategy);
    // Decides by `rates`, beginning with `layers` (n_layers of the model). Throws
    // Error(invalid_argument) for values that cannot have been measured.
    FfnPlan(const Model& model, const Rates& rates, const std::vector<LayerPlan>& layers);

    FfnChoice choose(int layer, int n_tokens) const noexcept;
    // Takes note of what a batch showed. Bits do not depend on it: see FfnChoice.
    void learn(int layer, int n_tokens, const Seen& seen) noexcept;

private:
    static constexpr int kClasses = 7; // 1, 2, 3-4, 5-8, 9-16, 17-32 tokens and more

    // Smoothed shares of a token, and those of batches; negative: not seen yet.
    struct Share {
        double token = 0.0;
        std::array<double, kClasses> batch{-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0};

        double expected(int n_tokens) const noexcept;
        void learn(int n_tokens, double token_share, double batch_share) noexcept;
    };
    struct LayerState {
        LayerBytes bytes;
        Share candidate;
        Share active;
        bool uses_predictor = false;
    };

    static int class_of(int n_tokens) noexcept;

    FfnChoice fixed_{};
    Rates rates_{};
    std::vector<LayerState> layers_; // empty with a fixed strategy
};

} // namespace powerinfer
