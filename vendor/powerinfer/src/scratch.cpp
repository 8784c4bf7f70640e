#include "scratch.h"

#include "attention.h"

#include <algorithm>

namespace powerinfer {

Scratch::Scratch(
    const Model& model, const cpu::Ops& ops, int n_batch, int n_ctx, int n_threads, bool has_audit
) {
    const Config& config = model.config();
    const size_t tokens = static_cast<size_t>(n_batch);
    const size_t dim = static_cast<size_t>(config.dim);
    const size_t kv_dim = static_cast<size_t>(config.kv_dim);
    const size_t hidden_dim = static_cast<size_t>(config.hidden_dim);
    const size_t max_rank = static_cast<size_t>(model.max_predictor_rank());
    const size_t widest = std::max({dim, hidden_dim, max_rank});
    const size_t blocks = (widest + cpu::kActivationBlock - 1) / cpu::kActivationBlock;

    x = Array<float>(tokens * dim);
    normed = Array<float>(tokens * dim);
    delta = Array<float>(tokens * dim);

    packed = Array<std::byte>(
        tokens * ops.packed_bytes(static_cast<int>(blocks * cpu::kActivationBlock), 16)
    );

    attn_normed = Array<float>(tokens * dim);
    q = Array<float>(tokens * dim);
    k = Array<float>(tokens * kv_dim);
    v = Array<float>(tokens * kv_dim);
    attended = Array<float>(tokens * dim);
    attn_delta = Array<float>(tokens * dim);
    rotation = Array<float>(tokens * static_cast<size_t>(config.head_dim));
    runs = Array<int32_t>(tokens + 1);
    attn_scores = Array<float>(static_cast<size_t>(n_threads) * n_scores(config.group(), n_ctx));

    rank = Array<float>(tokens * max_rank);
    units = Array<int32_t>(max_rank);
    unit_ends = Array<int32_t>(max_rank / kColumnBlock);
    neurons = Array<float>(tokens * hidden_dim);
    first = Array<float>(tokens * hidden_dim);
    second = Array<float>(tokens * hidden_dim);
    candidates = Array<int32_t>(hidden_dim);
    const size_t pieces = (hidden_dim + kColumnRows - 1) / kColumnRows;
    n_selected = Array<int32_t>(pieces);
    survivors = Array<int32_t>(hidden_dim);
    flags = Array<uint8_t>(hidden_dim);
    listed = Array<int32_t>(tokens * hidden_dim);
    list_lengths = Array<int32_t>(tokens * pieces);
    if (has_audit) {
        audit = Array<float>(tokens * hidden_dim);
        audit_up = Array<float>(tokens * hidden_dim);
    }
}

uint64_t Scratch::n_bytes() const noexcept {
    return x.n_bytes() + normed.n_bytes() + delta.n_bytes() + packed.n_bytes() +
           attn_normed.n_bytes() + q.n_bytes() + k.n_bytes() + v.n_bytes() + attended.n_bytes() +
           attn_delta.n_bytes() + rotation.n_bytes() + runs.n_bytes() + attn_scores.n_bytes() +
           rank.n_bytes() + units.n_bytes() + unit_ends.n_bytes() + n_selected.n_bytes() +
           neurons.n_bytes() + first.n_bytes() + second.n_bytes() + candidates.n_bytes() +
           survivors.n_bytes() + flags.n_bytes() + listed.n_bytes() + list_lengths.n_bytes() +
           audit.n_bytes() + audit_up.n_bytes();
}

} // namespace powerinfer
