// Everything a context computes in, allocated once: nothing is allocated between two tokens.
#pragma once

#include "buffer.h"
#include "model.h"

#include <cstdint>

namespace powerinfer {

// A typed view of one owned buffer.
template <typename T>
class Array {
public:
    Array() = default;
    explicit Array(size_t n) : buffer_(Buffer::allocate(n, sizeof(T))) {}

    T* data() noexcept { return reinterpret_cast<T*>(buffer_.data()); }
    const T* data() const noexcept { return reinterpret_cast<const T*>(buffer_.data()); }
    T* row(int i, int width) noexcept {
        return data() + static_cast<size_t>(i) * static_cast<size_t>(width);
    }
    size_t n_bytes() const noexcept { return buffer_.n_bytes(); }

private:
    Buffer buffer_;
};

// T = tokens computed together, at most n_batch.
struct Scratch {
    Scratch(
        const Model& model,
        const cpu::Ops& ops,
        int n_batch,
        int n_ctx,
        int n_threads,
        bool has_audit
    );

    uint64_t n_bytes() const noexcept;

    // Residual stream and what is added to it.
    Array<float> x;      // (T, dim)
    Array<float> normed; // (T, dim) input of the feed-forward
    Array<float> delta;  // (T, dim) output of a block

    Array<std::byte> packed; // (T, packed_bytes) rounded activations; reused by every product

    // Attention.
    Array<float> attn_normed; // (T, dim)
    Array<float> q;           // (T, dim)
    Array<float> k;           // (T, kv_dim)
    Array<float> v;           // (T, kv_dim)
    Array<float> attended;    // (T, dim)
    Array<float> attn_delta;  // (T, dim)
    Array<float> rotation;    // (T, head_dim) cosines, then sines of the token's position
    Array<int32_t> runs;      // tokens that attend together: (n + 1,) the first one of each run
    int n_runs = 0;
    Array<float> attn_scores; // (n_threads, n_scores)

    // Feed-forward.
    Array<float> rank;         // (T, rank) hidden layer of the predictor
    Array<int32_t> units;      // (rank,) of that, those that are not zero for some token
    Array<int32_t> unit_ends;  // (rank / 32,) how many of them are in a block or before
    Array<float> neurons;      // (T, hidden_dim) predictor scores, or hidden values of a dense down
    Array<float> first;        // (T, n) gate or up products of the candidates
    Array<float> second;       // (T, n) coefficients of the survivors; values of token lists
    Array<int32_t> candidates; // (hidden_dim,) ascending neuron numbers
    Array<int32_t> n_selected; // (hidden_dim / kColumnRows, rounded up) of a piece, at its begin
    Array<int32_t> survivors;  // (hidden_dim,)
    Array<uint8_t> flags;      // (hidden_dim,)
    Array<int32_t> listed;     // (T, hidden_dim) neurons of token lists, batches only
    Array<int32_t> list_lengths; // (T, pieces)
    Array<float> audit;          // (T, hidden_dim), with audit only
    Array<float> audit_up;       // (T, hidden_dim), with audit only
};

} // namespace powerinfer
