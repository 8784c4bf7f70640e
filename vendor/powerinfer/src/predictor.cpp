#include "predictor.h"

#include <algorithm>
#include <cstring>

namespace powerinfer {

namespace {

constexpr int kFlagGrain = 1024; // neurons whose scores one thread tests at a time

void score(Compute& compute, const Layer& layer, const float* input, int n_tokens) {
    Scratch& scratch = compute.scratch;
    const int rank = layer.fc1.rows;
    const cpu::Activations u = make_activations(
        compute, input, n_tokens, compute.model.config().dim, layer.fc1.is_quantized()
    );
    multiply(compute, u, {Product{&layer.fc1, scratch.rank.data(), static_cast<size_t>(rank)}});
    float* hidden = scratch.rank.data();
    const size_t n = static_cast<size_t>(n_tokens) * static_cast<size_t>(rank);
    std::transform(hidden, hidden + n, hidden, [](float h) { return h > 0.0F ? h : 0.0F; });
    const cpu::Activations h =
        make_activations(compute, hidden, n_tokens, rank, layer.fc2.is_quantized());
    multiply(
        compute,
        h,
        {Product{&layer.fc2, scratch.neurons.data(), static_cast<size_t>(layer.fc2.rows)}}
    );
}

} // namespace

ActiveSet predict(Compute& compute, const Layer& layer, const float* input, int n_tokens) {
    score(compute, layer, input, n_tokens);
    Scratch& scratch = compute.scratch;
    const int hidden_dim = layer.fc2.rows;
    const float threshold = compute.model.config().sparse_threshold;
    uint8_t* flags = scratch.flags.data();
    compute.pool.parallel_for(hidden_dim, kFlagGrain, [&](int64_t begin, int64_t end, int) {
        std::memset(flags + begin, 0, static_cast<size_t>(end - begin));
        for (int t = 0; t < n_tokens; ++t) {
            const float* scores = scratch.neurons.row(t, hidden_dim);
            for (int64_t i = begin; i < end; ++i) {
                flags[i] |= static_cast<uint8_t>(scores[i] >= threshold);
            }
        }
    });
    int32_t* ids = scratch.candidates.data();
    int n = 0;
    for (int i = 0; i < hidden_dim; ++i) {
        ids[n] = i; // branchless: kept when the count advances
        n += flags[i];
    }
    return {ids, n};
}

} // namespace powerinfer
