// Keys and values of past tokens, in pages that sequences share. A sequence is a list of pages and
// a length; forking one copies the list, and a shared page is copied when somebody appends to it.
#pragma once

#include "buffer.h"
#include "kv_page.h"

#include <cstdint>
#include <vector>

namespace powerinfer {

// Bookkeeping is done before anything is computed: append() makes room for a sequence's tokens or
// throws and changes nothing; keys and values are stored by forward.
class KvCache {
public:
    // Room for n_ctx tokens in whole pages, and for the unfilled last page of every further
    // sequence. The layers before `first_layer` are a device's: it is told which pages it has to
    // copy.
    KvCache(
        DType type,
        int n_layers,
        int n_heads,
        int head_dim,
        int n_ctx,
        int n_sequences,
        int first_layer = 0
    );

    // Of all sequences together.
    static int n_pages(int n_ctx, int n_sequences) noexcept;
    // Of the keys and values of one layer.
    static uint64_t layer_bytes(DType type, int kv_dim, int n_ctx, int n_sequences) noexcept;

    int n_sequences() const noexcept { return static_cast<int>(sequences_.size()); }
    int length(int sequence) const noexcept { return at(sequence).length; }
    int n_ctx() const noexcept { return n_ctx_; }
    int free_tokens() const noexcept { return static_cast<int>(free_.size()) * kPageTokens; }
    uint64_t n_bytes() const noexcept { return keys_.n_bytes() + values_.n_bytes(); }
    DType type() const noexcept { return type_; }
    // Of the keys, or of the values, of one token in one layer.
    size_t token_bytes() const noexcept {
        return static_cast<size_t>(n_heads_) * page_bytes_ / kPageTokens;
    }

    // Appends n tokens to a sequence: pages are taken and shared ones copied. Throws
    // Error(context_full) and leaves the sequence as it was.
    void append(int sequence, int n);
    void truncate(int sequence, int n);
    void fork(int source, int target, int n);

    // The pages of a sequence.
    const std::vector<int32_t>& pages(int sequence) const noexcept { return at(sequence).pages; }
    // What a device still has to copy of its layers, in order, before it stores or reads rows.
    struct PageCopy {
        int32_t from;
        int32_t to;
    };
    const std::vector<PageCopy>& page_copies() const noexcept { return page_copies_; }
    void clear_page_copies() noexcept { page_copies_.clear(); }

    // Stores key and value (head_dim each) of one head at a position that has been appended.
    void store(
        int layer, int sequence, int position, int head, const float* key, const float* value
    );
    HeadPages head(int layer, int sequence, int head) const noexcept;

private:
    struct Sequence {
        std::vector<int32_t> pages;
        int length = 0;
    };

    const Sequence& at(int sequence) const noexcept {
        return sequences_[static_cast<size_t>(sequence)];
    }
    size_t offset(int layer, int head) const noexcept; // in page 0
    int32_t take_page();
    void release_page(int32_t page);
    void make_private(int32_t& page);

    DType type_;
    int first_layer_;
    int n_layers_; // from first_layer_ on
    int n_heads_;
    int head_dim_;
    int n_ctx_;
    size_t page_bytes_;               // of one head
    size_t head_bytes_;               // of all pages
    Buffer keys_;                     // (n_layers, n_heads, n_pages), see kv_page.h
    Buffer values_;                   // likewise
    std::vector<int32_t> references_; // (n_pages,) sequences that hold the page
    std::vector<int32_t> free_;       // unused pages, the next one last
    std::vector<Sequence> sequences_;
    std::vector<PageCopy> page_copies_;
};

} // namespace powerinfer
