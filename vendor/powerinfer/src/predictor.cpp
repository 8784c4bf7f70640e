#include "predictor.h"

#include <algorithm>
#include <limits>

namespace powerinfer {

namespace {

constexpr int64_t kSelectGrain = 8 * kColumnRows; // scores that one thread tests at a time

// The neurons that some token selects. Threads list those of their pieces, each where its piece
// begins; then the lists are moved together.
class Selection {
public:
    Selection(Compute& compute, int hidden_dim, int n_tokens)
        : compute_(compute), hidden_dim_(hidden_dim), n_tokens_(n_tokens),
          ids_(compute.scratch.candidates.data()), counts_(compute.scratch.n_selected.data()) {
        std::fill(counts_, counts_ + (hidden_dim + kColumnRows - 1) / kColumnRows, 0);
    }

    // Neurons [begin, end) are scored; `begin` is a multiple of kColumnRows.
    void add(int64_t begin, int64_t end) noexcept {
        counts_[begin / kColumnRows] = compute_.ops.select(
            ids_ + begin,
            compute_.scratch.neurons.data(),
            static_cast<size_t>(hidden_dim_),
            n_tokens_,
            compute_.model.config().sparse_threshold,
            static_cast<int>(begin),
            static_cast<int>(end)
        );
    }

    ActiveSet join() noexcept {
        int32_t* out = ids_;
        for (int begin = 0; begin < hidden_dim_; begin += kColumnRows) {
            const int32_t* piece = ids_ + begin;
            out = std::copy(piece, piece + counts_[begin / kColumnRows], out);
        }
        return {ids_, static_cast<int>(out - ids_)};
    }

private:
    Compute& compute_;
    int hidden_dim_;
    int n_tokens_;
    int32_t* ids_;
    int32_t* counts_;
};

float* hidden_layer(Compute& compute, const Matrix& fc1, const float* input, int n_tokens) {
    const cpu::Activations u =
        make_activations(compute, input, n_tokens, compute.model.config().dim, fc1.is_quantized());
    float* hidden = compute.scratch.rank.data();
    multiply(compute, u, {Product{&fc1, hidden, static_cast<size_t>(fc1.rows)}});
    return hidden;
}

ActiveSet select_by_rows(Compute& compute, const Matrix& fc2, float* hidden, int n_tokens) {
    const size_t n = static_cast<size_t>(n_tokens) * static_cast<size_t>(fc2.cols);
    std::transform(hidden, hidden + n, hidden, [](float h) { return h > 0.0F ? h : 0.0F; });
    const cpu::Activations h =
        make_activations(compute, hidden, n_tokens, fc2.cols, fc2.is_quantized());
    multiply(
        compute, h, {Product{&fc2, compute.scratch.neurons.data(), static_cast<size_t>(fc2.rows)}}
    );
    Selection selection(compute, fc2.rows, n_tokens);
    compute.pool.parallel_for(fc2.rows, kSelectGrain, [&](int64_t begin, int64_t end, int) {
        selection.add(begin, end);
    });
    return selection.join();
}

// The columns that some token needs: those of units that are positive.
cpu::Columns list_columns(Compute& compute, const Matrix& fc2, const float* hidden, int n_tokens) {
    int32_t* ids = compute.scratch.units.data();
    int32_t* ends = compute.scratch.unit_ends.data();
    const float positive = std::numeric_limits<float>::denorm_min();
    const auto rank = static_cast<size_t>(fc2.cols);
    const int n = compute.ops.select(ids, hidden, rank, n_tokens, positive, 0, fc2.cols);
    int i = 0;
    for (int b = 0; b < fc2.cols / kColumnBlock; ++b) {
        const int first = i;
        while (i < n && ids[i] < (b + 1) * kColumnBlock) {
            ++i;
        }
        ends[b] = i;
        compute.stats.weight_bytes_read += column_bytes(fc2.rows, i - first);
    }
    return {fc2.data, fc2.rows, ids, ends};
}

// relu of the listed units, moved to the front of their block.
void gather_units(float* hidden, const cpu::Columns& w, int rank) noexcept {
    int i = 0;
    for (int b = 0; b < rank / kColumnBlock; ++b) {
        float* out = hidden + b * kColumnBlock;
        float* end = out + kColumnBlock;
        for (; i < w.ends[b]; ++i, ++out) {
            const float h = hidden[w.ids[i]];
            *out = h > 0.0F ? h : 0.0F;
        }
        std::fill(out, end, 0.0F);
    }
}

ActiveSet select_by_columns(Compute& compute, const Matrix& fc2, float* hidden, int n_tokens) {
    const cpu::Columns w = list_columns(compute, fc2, hidden, n_tokens);
    for_tokens(compute.pool, n_tokens, fc2.cols, [&](int t) {
        gather_units(hidden + int64_t{t} * fc2.cols, w, fc2.cols);
    });
    const cpu::Activations h = make_activations(compute, hidden, n_tokens, fc2.cols, true);
    Selection selection(compute, fc2.rows, n_tokens);
    // Long runs of a column are read fastest: one piece for each thread.
    const int64_t n_groups = fc2.rows / kColumnRows;
    const int n_threads = compute.pool.n_threads();
    const int64_t grain = (n_groups + n_threads - 1) / n_threads * kColumnRows;
    compute.pool.parallel_for(fc2.rows, grain, [&](int64_t begin, int64_t end, int) {
        compute.ops.dot_columns(
            compute.scratch.neurons.data(),
            static_cast<size_t>(fc2.rows),
            w,
            static_cast<int>(begin),
            static_cast<int>(end),
            h
        );
        selection.add(begin, end);
    });
    return selection.join();
}

} // namespace

ActiveSet predict(Compute& compute, const Layer& layer, const float* input, int n_tokens) {
    float* hidden = hidden_layer(compute, layer.fc1, input, n_tokens);
    return layer.fc2.is_by_columns ? select_by_columns(compute, layer.fc2, hidden, n_tokens)
                                   : select_by_rows(compute, layer.fc2, hidden, n_tokens);
}

} // namespace powerinfer
