#include "token_lists.h"

namespace powerinfer {

namespace {

// Enough pieces for each thread, so that they end together, of enough rows for a token's own to
// be asked for ahead.
constexpr int kPiecesPerThread = 8;

constexpr size_t kFirstBytes = 8 * 1024; // of a list, as far as the products ask ahead
constexpr size_t kLineBytes = 64;

} // namespace

void TokenList::keep_non_zero() noexcept {
    int kept = 0;
    for (int i = 0; i < n; ++i) {
        ids[kept] = ids[i];
        values[kept] = values[i];
        kept += values[i] != 0.0F ? 1 : 0;
    }
    n = kept;
}

TokenLists::TokenLists(Compute& compute, int hidden_dim, int n_tokens)
    : compute_(compute), hidden_dim_(hidden_dim), n_tokens_(n_tokens) {
    const int n_shares = kPiecesPerThread * compute.pool.n_threads();
    const int fair = (hidden_dim / n_shares + kColumnRows - 1) / kColumnRows * kColumnRows;
    piece_rows_ = std::clamp(fair, kColumnRows, kMostRows);
    n_pieces_ = (hidden_dim + piece_rows_ - 1) / piece_rows_;
}

void TokenLists::list_selected(const ActiveSet& candidates) {
    const float threshold = compute_.model.config().sparse_threshold;
    update([&](TokenList& own, int piece, int t) {
        if (candidates.tokens == nullptr) {
            const float* scores = compute_.scratch.neurons.row(t, hidden_dim_);
            own.n = compute_.ops.select(own.ids, scores, 0, 1, threshold, begin(piece), end(piece));
            return;
        }
        own.n = 0;
        const auto [first, last] = part(candidates, piece);
        for (int i = first; i < last; ++i) {
            own.ids[own.n] = candidates.id(i);
            own.n += static_cast<int>(candidates.tokens[i] >> t & 1);
        }
    });
}

void TokenLists::list_non_zero(const ActiveSet& neurons, const float* values) {
    update([&](TokenList& own, int piece, int t) {
        const float* row = values + static_cast<size_t>(t) * static_cast<size_t>(hidden_dim_);
        own.n = 0;
        const auto [first, last] = part(neurons, piece);
        for (int i = first; i < last; ++i) {
            const float value = row[i];
            own.ids[own.n] = neurons.id(i);
            own.values[own.n] = value;
            own.n += value != 0.0F ? 1 : 0;
        }
    });
}

void TokenLists::multiply_transposed(float* out, const Matrix& w) const {
    const size_t stride = static_cast<size_t>(w.cols);
    const auto axpy_rows = compute_.ops.of(w.type).axpy_rows;
    for_parts(compute_.pool, n_tokens_, w.cols, [&](const ResultPart& part) {
        for (int t = part.token_begin; t < part.token_end; ++t) {
            float* row = out + static_cast<size_t>(t) * stride;
            std::fill(row + part.col_begin, row + part.col_end, 0.0F);
        }
        for (int piece = 0; piece < n_pieces_; ++piece) {
            for (int t = part.token_begin; t < part.token_end; ++t) {
                const TokenList own = list(piece, t);
                float* row = out + static_cast<size_t>(t) * stride;
                const cpu::Rows rows = w.select(own.ids, own.n);
                axpy_rows(row, 0, rows, own.values, 0, 1, part.col_begin, part.col_end);
            }
        }
    });
}

void TokenLists::scatter(float* out) const {
    for_tokens(compute_.pool, n_tokens_, hidden_dim_, [&](int t) {
        float* row = out + static_cast<size_t>(t) * static_cast<size_t>(hidden_dim_);
        std::fill(row, row + hidden_dim_, 0.0F);
        for (int piece = 0; piece < n_pieces_; ++piece) {
            const TokenList own = list(piece, t);
            for (int i = 0; i < own.n; ++i) {
                row[own.ids[i]] = own.values[i];
            }
        }
    });
}

void TokenLists::count(std::vector<uint64_t>& fired) const {
    for (int t = 0; t < n_tokens_; ++t) {
        for (int piece = 0; piece < n_pieces_; ++piece) {
            const TokenList own = list(piece, t);
            for (int i = 0; i < own.n; ++i) {
                fired[static_cast<size_t>(own.ids[i])] += 1;
            }
        }
    }
}

TokenList TokenLists::list(int piece, int t) const noexcept {
    return {
        compute_.scratch.listed.row(t, hidden_dim_) + begin(piece),
        compute_.scratch.second.row(t, hidden_dim_) + begin(piece),
        length(piece, t),
    };
}

void TokenLists::ask_for(const Matrix& w, const TokenList& list) noexcept {
    const size_t n_bytes = w.n_row_bytes();
    const int n = std::min(list.n, static_cast<int>(kFirstBytes / n_bytes) + 1);
    for (int i = 0; i < n; ++i) {
        const std::byte* row = w.slice(list.ids[i], list.ids[i] + 1).data;
        for (size_t offset = 0; offset < n_bytes; offset += kLineBytes) {
            __builtin_prefetch(row + offset);
        }
    }
}

std::pair<int, int> TokenLists::part(const ActiveSet& neurons, int piece) const noexcept {
    if (neurons.ids == nullptr) {
        return {begin(piece), end(piece)};
    }
    const int32_t* last = neurons.ids + neurons.n;
    const int32_t* from = std::lower_bound(neurons.ids, last, begin(piece));
    const int32_t* to = std::lower_bound(from, last, end(piece));
    return {static_cast<int>(from - neurons.ids), static_cast<int>(to - neurons.ids)};
}

int TokenLists::count_neurons(int piece) const noexcept {
    uint8_t* flags = compute_.scratch.flags.data();
    std::fill(flags + begin(piece), flags + end(piece), uint8_t{0});
    for (int t = 0; t < n_tokens_; ++t) {
        const TokenList own = list(piece, t);
        for (int i = 0; i < own.n; ++i) {
            flags[own.ids[i]] = 1;
        }
    }
    return static_cast<int>(std::count(flags + begin(piece), flags + end(piece), uint8_t{1}));
}

} // namespace powerinfer
