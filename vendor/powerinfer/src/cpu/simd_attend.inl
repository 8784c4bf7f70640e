// Attention of a few queries over one head of the cache: scores of all positions, softmax, and the
// sum of the values. Lanes are positions first and dimensions then, so that nothing is added across
// lanes; each element gets one fused multiply-add after the other, in order of dimensions and of
// positions.
#pragma once

#include "simd_math.inl"

namespace powerinfer::cpu {
namespace {

constexpr int kAttendSums = 8; // at once: they hide the latency of a multiply-add
constexpr int kPageVectors = kPageTokens / Simd::kLanes;

// Positions whose values are added to all queries before the next ones: they stay in the first
// cache.
constexpr int kAttendPositions = 4 * kPageTokens;

// Pages that are asked for while others are read.
constexpr size_t kAheadPageBytes = 8 * 1024;

template <typename W>
constexpr size_t vector_bytes() noexcept {
    return size_t{Simd::kLanes} * W::kElementBytes;
}

// The pages of a head.
class PagesOfHead {
public:
    PagesOfHead(const HeadPages& head, const std::byte* page_0, int n_positions) noexcept
        : page_0_(reinterpret_cast<const uint8_t*>(page_0)), head_(head),
          n_(pages_for(n_positions)) {}

    int n() const noexcept { return n_; }
    // The last one behind the end.
    const uint8_t* at(int page) const noexcept {
        const int existing = page < n_ ? page : n_ - 1;
        return page_0_ + static_cast<size_t>(head_.pages[existing]) * head_.page_bytes;
    }

private:
    const uint8_t* page_0_;
    const HeadPages& head_;
    int n_;
};

// Scores of T queries for vectors first .. first + kAttendSums / T - 1 of the positions.
template <typename W, int T>
void score_tile(
    const PagesOfHead& keys, const Queries& in, int query, int first, int ahead
) noexcept {
    constexpr int V = kAttendSums / T;
    const uint8_t* at[V];
    const uint8_t* later[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        const int page = (first + v) / kPageVectors;
        const size_t offset = static_cast<size_t>((first + v) % kPageVectors) * vector_bytes<W>();
        at[v] = keys.at(page) + offset;
        later[v] = keys.at(page + ahead) + offset;
    }
    F sums[T][V];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sums[t][v] = Simd::zero();
        }
    }
    const float* vectors[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        vectors[t] = in.vectors + in.at(query + t);
    }
    size_t offset = 0;
    for (int d = 0; d < in.head_dim; ++d, offset += kPageVectors * vector_bytes<W>()) {
        F column[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            column[v] = W::vector(at[v] + offset);
            __builtin_prefetch(later[v] + offset, 0, 3);
        }
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            const F element = Simd::set1(vectors[t][d]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                sums[t][v] = Simd::fma(element, column[v], sums[t][v]);
            }
        }
    }
    const F scale = Simd::set1(static_cast<float>(1.0 / __builtin_sqrt(in.head_dim)));
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        if ((first + v) / kPageVectors < keys.n()) {
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                float* row = in.scores + static_cast<size_t>(query + t) * in.score_stride;
                Simd::store(row + (first + v) * Simd::kLanes, Simd::mul(sums[t][v], scale));
            }
        }
    }
}

// Of T queries and those after them.
template <typename W, int T = 4>
void score_tiles(
    const PagesOfHead& keys, const Queries& in, int query, int first, int ahead
) noexcept {
    const int n_vectors = keys.n() * kPageVectors;
    for (; query + T <= in.n(); query += T) {
        for (int v = first; v < first + kAttendSums && v < n_vectors; v += kAttendSums / T) {
            score_tile<W, T>(keys, in, query, v, ahead);
        }
    }
    if constexpr (T > 1) {
        score_tiles<W, T / 2>(keys, in, query, first, ahead);
    }
}

// The values of positions [begin, end).
struct ValueRange {
    const PagesOfHead& pages;
    size_t row_bytes;
    int ahead;
    int begin;
    int end;

    // Calls visit(row, later, position).
    template <typename Visit>
    [[gnu::always_inline]] void for_rows(Visit visit) const noexcept {
        for (int p = begin; p < end;) {
            const int page = p / kPageTokens;
            const size_t offset = static_cast<size_t>(p % kPageTokens) * row_bytes;
            const uint8_t* row = pages.at(page) + offset;
            const uint8_t* later = pages.at(page + ahead) + offset;
            const int page_end = (page + 1) * kPageTokens;
            const int to = end < page_end ? end : page_end;
            for (; p < to; ++p, row += row_bytes, later += row_bytes) {
                visit(row, later, static_cast<size_t>(p));
            }
        }
    }
};

// Of queries `query` .. query + T - 1: out += values times scores, V vectors of columns.
template <typename W, int T, int V>
[[gnu::noinline]] void value_tile(
    float* out, const ValueRange& values, const Queries& in, int query, int column
) noexcept {
    float* columns[T];
    const float* scores = in.scores + static_cast<size_t>(query) * in.score_stride;
    F sums[T][V];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        columns[t] = out + in.at(query + t) + column;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sums[t][v] = Simd::load(columns[t] + v * Simd::kLanes);
        }
    }
    const size_t offset = static_cast<size_t>(column) * W::kElementBytes;
    values.for_rows([&](const uint8_t* row, const uint8_t* later, size_t position) {
        F vectors[V];
#pragma GCC unroll 8
        for (size_t v = 0; v < V; ++v) {
            vectors[v] = W::vector(row + offset + v * vector_bytes<W>());
        }
        prefetch(later + offset, V * static_cast<int>(vector_bytes<W>()));
#pragma GCC unroll 4
        for (size_t t = 0; t < T; ++t) {
            const F score = Simd::set1(scores[t * in.score_stride + position]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                sums[t][v] = Simd::fma(score, vectors[v], sums[t][v]);
            }
        }
    });
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            Simd::store(columns[t] + v * Simd::kLanes, sums[t][v]);
        }
    }
}

// Of one query: the last columns, fewer than a vector has.
template <typename W>
void value_rest(
    float* out, const ValueRange& values, const Queries& in, int query, int column
) noexcept {
    float* columns = out + in.at(query);
    const float* scores = in.scores + static_cast<size_t>(query) * in.score_stride;
    const auto n_bytes = static_cast<size_t>(in.head_dim - column) * W::kElementBytes;
    F sums = load_upto(columns, in.head_dim, column);
    values.for_rows([&](const uint8_t* row, const uint8_t*, size_t position) {
        uint8_t padded[Simd::kLanes * W::kElementBytes] = {};
        __builtin_memcpy(padded, row + static_cast<size_t>(column) * W::kElementBytes, n_bytes);
        sums = Simd::fma(Simd::set1(scores[position]), W::vector(padded), sums);
    });
    store_upto(columns, in.head_dim, column, sums);
}

// Whole vectors from `column` on. Returns the first column that is left.
template <typename W, int T, int V>
int value_columns(
    float* out, const ValueRange& values, const Queries& in, int query, int column
) noexcept {
    for (; column + V * Simd::kLanes <= in.head_dim; column += V * Simd::kLanes) {
        value_tile<W, T, V>(out, values, in, query, column);
    }
    if constexpr (V > 1) {
        return value_columns<W, T, V / 2>(out, values, in, query, column);
    }
    return column;
}

// Of queries [query, end), T at a time.
template <typename W, int T = 4>
void value_tiles(
    float* out, const ValueRange& values, const Queries& in, int query, int end
) noexcept {
    constexpr int V = T == 4 ? Simd::kAxpyVectors : kAttendSums / T;
    for (; query + T <= end; query += T) {
        const int column = value_columns<W, T, V>(out, values, in, query, 0);
        for (int t = 0; t < T && column < in.head_dim; ++t) {
            value_rest<W>(out, values, in, query + t, column);
        }
    }
    if constexpr (T > 1) {
        value_tiles<W, T / 2>(out, values, in, query, end);
    }
}

template <typename W>
void attend_as(float* out, const HeadPages& head, const Queries& in) {
    const auto dim = static_cast<size_t>(in.head_dim);
    const size_t row_bytes = dim * W::kElementBytes;
    const int ahead = static_cast<int>(kAheadPageBytes / (kPageTokens * row_bytes)) + 1;
    const int n_positions = in.positions(in.n() - 1);
    const PagesOfHead keys(head, head.keys, n_positions);
    for (int v = 0; v < keys.n() * kPageVectors; v += kAttendSums) {
        score_tiles<W>(keys, in, 0, v, ahead);
    }
    for (int i = 0; i < in.n(); ++i) {
        softmax(in.scores + static_cast<size_t>(i) * in.score_stride, in.positions(i));
        __builtin_memset(out + in.at(i), 0, dim * sizeof(float));
    }
    const PagesOfHead pages(head, head.values, n_positions);
    ValueRange values = {pages, row_bytes, ahead, 0, 0};
    for (; values.begin < in.n_positions; values.begin += kAttendPositions) {
        const int rest = in.n_positions - values.begin;
        values.end = rest < kAttendPositions ? in.n_positions : values.begin + kAttendPositions;
        value_tiles<W>(out, values, in, 0, in.n());
    }
    values.begin = in.n_positions; // what later tokens attend to besides
    for (int i = in.n_heads; i < in.n(); ++i) {
        values.end = in.positions(i);
        value_tiles<W, 1>(out, values, in, i, i + 1);
    }
}

void attend(float* out, const HeadPages& head, const Queries& in) {
    if (head.type == DType::f16) {
        attend_as<WeightF16>(out, head, in);
    } else {
        attend_as<WeightF32>(out, head, in);
    }
}

} // namespace
} // namespace powerinfer::cpu
