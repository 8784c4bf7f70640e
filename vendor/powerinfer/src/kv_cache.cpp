#include "kv_cache.h"

#include "error.h"
#include "quantize.h"

#include <algorithm>
#include <cstring>

namespace powerinfer {

namespace {

constexpr int kConverted = 64; // elements of a key at a time

// Elements 0.. of a key become column `position` of the page at `page`.
template <typename T>
void store_key(std::byte* page, int position, DType type, const float* key, int head_dim) {
    T converted[kConverted];
    auto* column = reinterpret_cast<T*>(page) + position;
    for (int begin = 0; begin < head_dim; begin += kConverted) {
        const int n = std::min(kConverted, head_dim - begin);
        quantize_row(type, reinterpret_cast<std::byte*>(converted), key + begin, n);
        for (int i = 0; i < n; ++i, column += kPageTokens) {
            *column = converted[i];
        }
    }
}

} // namespace

int KvCache::n_pages(int n_ctx, int n_sequences) noexcept {
    return pages_for(n_ctx) + n_sequences - 1;
}

uint64_t KvCache::layer_bytes(DType type, int kv_dim, int n_ctx, int n_sequences) noexcept {
    const auto pages = static_cast<uint64_t>(n_pages(n_ctx, n_sequences));
    return 2 * pages * kPageTokens * row_bytes(type, kv_dim);
}

KvCache::KvCache(
    DType type, int n_layers, int n_heads, int head_dim, int n_ctx, int n_sequences, int first_layer
)
    : type_(type), first_layer_(first_layer), n_layers_(n_layers - first_layer), n_heads_(n_heads),
      head_dim_(head_dim), n_ctx_(n_ctx), page_bytes_(kPageTokens * row_bytes(type, head_dim)),
      sequences_(static_cast<size_t>(n_sequences)) {
    const auto n_pages = static_cast<size_t>(KvCache::n_pages(n_ctx, n_sequences));
    head_bytes_ = n_pages * page_bytes_;
    const size_t layer_bytes = static_cast<size_t>(n_heads_) * head_bytes_;
    // Fresh pages of the system are not resident until a token is stored in them.
    keys_ = Buffer::allocate(static_cast<size_t>(n_layers_), layer_bytes);
    values_ = Buffer::allocate(static_cast<size_t>(n_layers_), layer_bytes);
    references_.assign(n_pages, 0);
    free_.reserve(n_pages);
    for (size_t page = n_pages; page > 0; --page) {
        free_.push_back(static_cast<int32_t>(page - 1));
    }
    for (Sequence& sequence : sequences_) {
        sequence.pages.reserve(static_cast<size_t>(pages_for(n_ctx)));
    }
}

size_t KvCache::offset(int layer, int head) const noexcept {
    return static_cast<size_t>((layer - first_layer_) * n_heads_ + head) * head_bytes_;
}

void KvCache::store(
    int layer, int sequence, int position, int head, const float* key, const float* value
) {
    const int32_t page = at(sequence).pages[static_cast<size_t>(position / kPageTokens)];
    const size_t from = offset(layer, head) + static_cast<size_t>(page) * page_bytes_;
    const int in_page = position % kPageTokens;
    if (type_ == DType::f16) {
        store_key<uint16_t>(keys_.data() + from, in_page, type_, key, head_dim_);
    } else {
        store_key<uint32_t>(keys_.data() + from, in_page, type_, key, head_dim_);
    }
    const size_t row = static_cast<size_t>(in_page) * row_bytes(type_, head_dim_);
    quantize_row(type_, values_.data() + from + row, value, head_dim_);
}

HeadPages KvCache::head(int layer, int sequence, int head) const noexcept {
    const size_t from = offset(layer, head);
    return {
        type_, keys_.data() + from, values_.data() + from, page_bytes_, at(sequence).pages.data()
    };
}

int32_t KvCache::take_page() {
    const int32_t page = free_.back();
    free_.pop_back();
    references_[static_cast<size_t>(page)] = 1;
    return page;
}

void KvCache::release_page(int32_t page) {
    if (--references_[static_cast<size_t>(page)] == 0) {
        free_.push_back(page);
    }
}

void KvCache::make_private(int32_t& page) {
    const int32_t copy = take_page();
    for (size_t head = 0; head < static_cast<size_t>(n_layers_ * n_heads_); ++head) {
        const size_t from = head * head_bytes_ + static_cast<size_t>(page) * page_bytes_;
        const size_t to = head * head_bytes_ + static_cast<size_t>(copy) * page_bytes_;
        std::memcpy(keys_.data() + to, keys_.data() + from, page_bytes_);
        std::memcpy(values_.data() + to, values_.data() + from, page_bytes_);
    }
    if (first_layer_ > 0) {
        page_copies_.push_back({page, copy});
    }
    release_page(page);
    page = copy;
}

void KvCache::append(int sequence, int n) {
    Sequence& target = sequences_[static_cast<size_t>(sequence)];
    PI_CHECK(
        n <= n_ctx_ - target.length,
        context_full,
        "context is full: sequence %d holds %d tokens and %d more were given, the context holds %d",
        sequence,
        target.length,
        n,
        n_ctx_
    );
    const bool writes_shared_page = target.length % kPageTokens != 0 &&
                                    references_[static_cast<size_t>(target.pages.back())] > 1;
    const size_t n_pages = static_cast<size_t>(pages_for(target.length + n));
    const size_t n_new = n_pages - target.pages.size() + (writes_shared_page ? 1 : 0);
    PI_CHECK(
        n_new <= free_.size(),
        context_full,
        "context is full: sequence %d needs %zu more pages of %d tokens, %zu are free; remove or "
        "truncate sequences, or make the context larger",
        sequence,
        n_new,
        kPageTokens,
        free_.size()
    );
    if (writes_shared_page) {
        make_private(target.pages.back());
    }
    while (target.pages.size() < n_pages) {
        target.pages.push_back(take_page());
    }
    target.length += n;
}

void KvCache::truncate(int sequence, int n) {
    Sequence& target = sequences_[static_cast<size_t>(sequence)];
    const size_t n_pages = static_cast<size_t>(pages_for(n));
    while (target.pages.size() > n_pages) {
        release_page(target.pages.back());
        target.pages.pop_back();
    }
    target.length = n;
}

void KvCache::fork(int source, int target, int n) {
    const Sequence& from = at(source);
    Sequence& to = sequences_[static_cast<size_t>(target)];
    to.pages.assign(from.pages.begin(), from.pages.begin() + pages_for(n));
    to.length = n;
    for (const int32_t page : to.pages) {
        ++references_[static_cast<size_t>(page)];
    }
}

} // namespace powerinfer
