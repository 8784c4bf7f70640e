// Batches of sparse tokens: which neurons each token needs, and a value for each of them.
#pragma once

#include "active_set.h"
#include "linear.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

namespace powerinfer {

// A token's neurons among those of a piece, ascending.
struct TokenList {
    int32_t* ids;
    float* values;
    int n;

    // Drops the neurons whose value is zero.
    void keep_non_zero() noexcept;
};

// The neurons of a layer in pieces, and in each piece a list for each token: threads share the
// pieces, and a row that several tokens need stays in the cache while they take it one by one.
class TokenLists {
public:
    TokenLists(Compute& compute, int hidden_dim, int n_tokens);

    // Each token's own of the candidates: those that its bit or its scores in scratch.neurons
    // select.
    void list_selected(const ActiveSet& candidates);
    // What is not zero of the values (n_tokens, stride) of `neurons`, with these values, which may
    // not be scratch.second unless the neurons are all.
    void list_non_zero(const ActiveSet& neurons, const float* values);

    // Entries of all lists.
    uint64_t n() const noexcept { return n_; }
    // Neurons that some list has.
    int n_neurons() const noexcept { return n_neurons_; }

    // Calls finish(list, products) for each list, which it may change: products[i] = w[ids[i]] . x
    // of the token, plus the row's bias if there is one.
    template <typename Finish>
    void multiply(const Matrix& w, const cpu::Activations& x, const float* bias, Finish&& finish);
    // out[t, :] = sum of values * rows of w, in the order of the rows.
    void multiply_transposed(float* out, const Matrix& w) const;
    // out (n_tokens, hidden_dim) = the values at their neurons, zeros elsewhere.
    void scatter(float* out) const;
    // Adds 1 for each token that lists the neuron.
    void count(std::vector<uint64_t>& fired) const;

private:
    static constexpr int kMostRows = 512; // of a piece

    // Calls visit(list, piece, token) for all lists, which it may change, and counts what they have
    // then. Threads share the pieces.
    template <typename Visit>
    void update(Visit&& visit);
    TokenList list(int piece, int t) const noexcept;
    // Has the first rows of a list fetched; products fetch later ones ahead.
    static void ask_for(const Matrix& w, const TokenList& list) noexcept;
    // Which of these neurons, by their places in the set, belong to a piece.
    std::pair<int, int> part(const ActiveSet& neurons, int piece) const noexcept;
    int32_t& length(int piece, int t) const noexcept {
        return compute_.scratch.list_lengths.row(t, n_pieces_)[piece];
    }
    int begin(int piece) const noexcept { return piece * piece_rows_; }
    int end(int piece) const noexcept { return std::min(begin(piece + 1), hidden_dim_); }
    int count_neurons(int piece) const noexcept;

    Compute& compute_;
    int hidden_dim_;
    int n_tokens_;
    int piece_rows_;
    int n_pieces_;
    uint64_t n_ = 0;
    int n_neurons_ = 0;
};

template <typename Visit>
void TokenLists::update(Visit&& visit) {
    std::atomic<uint64_t> n{0};
    std::atomic<int> n_neurons{0};
    compute_.pool.parallel_for(n_pieces_, 1, [&](int64_t first, int64_t last, int) {
        for (int piece = static_cast<int>(first); piece < last; ++piece) {
            for (int t = 0; t < n_tokens_; ++t) {
                TokenList own = list(piece, t);
                visit(own, piece, t);
                length(piece, t) = own.n;
                n.fetch_add(static_cast<uint64_t>(own.n), std::memory_order_relaxed);
            }
            n_neurons.fetch_add(count_neurons(piece), std::memory_order_relaxed);
        }
    });
    n_ = n.load();
    n_neurons_ = n_neurons.load();
}

template <typename Finish>
void TokenLists::multiply(
    const Matrix& w, const cpu::Activations& x, const float* bias, Finish&& finish
) {
    compute_.stats.weight_bytes_read += static_cast<uint64_t>(n_neurons_) * w.n_row_bytes();
    const auto dot_rows = compute_.ops.of(w.type).dot_rows;
    update([&](TokenList& own, int piece, int t) {
        float products[kMostRows];
        if (t + 1 < n_tokens_) {
            ask_for(w, list(piece, t + 1));
        }
        if (own.n == 0) {
            return;
        }
        dot_rows(products, 0, w.select(own.ids, own.n), token_of(compute_.ops, x, t));
        for (int i = 0; i < own.n && bias != nullptr; ++i) {
            products[i] += bias[own.ids[i]];
        }
        finish(own, static_cast<const float*>(products));
    });
}

} // namespace powerinfer
