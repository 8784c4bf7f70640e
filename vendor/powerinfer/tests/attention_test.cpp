// Attention over the pages of a cache, of every table, beside the same in double.
#include "check.h"
#include "kv_cache.h"
#include "op_cases.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

using namespace powerinfer;
using namespace op_cases;

namespace {

constexpr int kSequence = 1;
constexpr int kLayer = 1;

struct Case {
    DType type;
    int n_heads;
    int head_dim;
    int n_positions;
};

// Keys and values of one sequence beside others that take pages in turn.
class Stored {
public:
    Stored(const Case& of, Random& random)
        : of_(of), cache_(of.type, 2, of.n_heads, of.head_dim, 3 * of.n_positions + 3, 3) {
        for (int position = 0; position < of.n_positions; ++position) {
            for (const int sequence : {0, kSequence, 2}) {
                cache_.append(sequence, 1);
                for (int layer = 0; layer < 2; ++layer) {
                    for (int head = 0; head < of.n_heads; ++head) {
                        store(layer, sequence, position, head, random);
                    }
                }
            }
        }
    }

    const KvCache& cache() const { return cache_; }
    double key(int position, int head, int d) const { return keys_[index(position, head, d)]; }
    double value(int position, int head, int d) const { return values_[index(position, head, d)]; }

private:
    size_t index(int position, int head, int d) const {
        return static_cast<size_t>((position * of_.n_heads + head) * of_.head_dim + d);
    }
    void store(int layer, int sequence, int position, int head, Random& random) {
        const auto dim = static_cast<size_t>(of_.head_dim);
        const std::vector<float> k = random.normals(dim);
        const std::vector<float> v = random.normals(dim);
        cache_.store(layer, sequence, position, head, k.data(), v.data());
        if (layer == kLayer && sequence == kSequence) {
            append_rounded(keys_, k);
            append_rounded(values_, v);
        }
    }
    void append_rounded(std::vector<double>& to, const std::vector<float>& x) const {
        std::vector<std::byte> bytes(row_bytes(of_.type, of_.head_dim));
        quantize_row(of_.type, bytes.data(), x.data(), of_.head_dim);
        const auto* stored = reinterpret_cast<const uint8_t*>(bytes.data());
        const std::vector<double> values = twin::row_values(of_.type, stored, of_.head_dim);
        to.insert(to.end(), values.begin(), values.end());
    }

    Case of_;
    KvCache cache_;
    std::vector<double> keys_; // (n_positions, n_heads, head_dim)
    std::vector<double> values_;
};

// Query heads of tokens, the last of which attends to all positions; between two tokens is a gap,
// as for the heads of others.
struct Asked {
    int n_tokens;
    int n_heads;
    std::vector<float> vectors;

    static constexpr size_t kGap = 3;
    static size_t stride(const Case& of, int n_heads) {
        return static_cast<size_t>(n_heads * of.head_dim) + kGap;
    }
    static Asked random(const Case& of, int n_tokens, int n_heads, Random& random) {
        const size_t n = static_cast<size_t>(n_tokens) * stride(of, n_heads);
        return {n_tokens, n_heads, random.normals(n)};
    }
    int positions(const Case& of, int t) const { return of.n_positions - (n_tokens - 1 - t); }
    size_t at(const Case& of, int t, int h) const {
        return static_cast<size_t>(t) * stride(of, n_heads) + static_cast<size_t>(h * of.head_dim);
    }
    std::span<const float> vector(const Case& of, int t, int h) const {
        return std::span(vectors).subspan(at(of, t, h), static_cast<size_t>(of.head_dim));
    }
    Asked alone(const Case& of, int t, int h) const {
        const auto query = vector(of, t, h);
        return {1, 1, {query.begin(), query.end()}};
    }
};

std::vector<float> attend(
    const Ops& ops,
    const Stored& stored,
    const Case& of,
    int head,
    const Asked& asked,
    int n_positions
) {
    const int last = n_positions + asked.n_tokens - 1;
    const size_t stride = static_cast<size_t>(pages_for(last)) * kPageTokens;
    const auto n = static_cast<size_t>(asked.n_tokens * asked.n_heads);
    std::vector<float> scores(n * stride, std::nanf(""));
    std::vector<float> out(asked.vectors.size(), 7.0f);
    ops.attend(
        out.data(),
        stored.cache().head(kLayer, kSequence, head),
        {.vectors = asked.vectors.data(),
         .token_stride = Asked::stride(of, asked.n_heads),
         .n_tokens = asked.n_tokens,
         .n_heads = asked.n_heads,
         .head_dim = of.head_dim,
         .n_positions = n_positions,
         .scores = scores.data(),
         .score_stride = stride}
    );
    return out;
}

std::vector<double> expected(
    const Stored& stored, const Case& of, int head, std::span<const float> query, int n_positions
) {
    std::vector<double> scores;
    for (int p = 0; p < n_positions; ++p) {
        double sum = 0;
        for (int d = 0; d < of.head_dim; ++d) {
            const auto element = static_cast<double>(query[static_cast<size_t>(d)]);
            sum += element * stored.key(p, head, d);
        }
        scores.push_back(sum / std::sqrt(static_cast<double>(of.head_dim)));
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    std::vector<double> out(static_cast<size_t>(of.head_dim));
    for (int p = 0; p < n_positions; ++p) {
        const double weight = std::exp(scores[static_cast<size_t>(p)] - max);
        total += weight;
        for (int d = 0; d < of.head_dim; ++d) {
            out[static_cast<size_t>(d)] += weight * stored.value(p, head, d);
        }
    }
    for (double& value : out) {
        value /= total;
    }
    return out;
}

void check_case(const Case& of, int n_tokens, int n_heads, Random& random) {
    const Stored stored(of, random);
    for (int head = 0; head < of.n_heads; ++head) {
        const Asked asked = Asked::random(of, n_tokens, n_heads, random);
        for (const Ops* ops : tables()) {
            const int n_first = asked.positions(of, 0);
            const std::vector<float> found = attend(*ops, stored, of, head, asked, n_first);
            for (int t = 0; t < n_tokens; ++t) {
                const int n = asked.positions(of, t);
                for (int h = 0; h < n_heads; ++h) {
                    const auto query = asked.vector(of, t, h);
                    const std::vector<double> exact = expected(stored, of, head, query, n);
                    // Whatever others ask.
                    const std::vector<float> alone =
                        attend(*ops, stored, of, head, asked.alone(of, t, h), n);
                    for (size_t d = 0; d < exact.size(); ++d) {
                        const float value = found[asked.at(of, t, h) + d];
                        CHECK_MSG(
                            std::abs(static_cast<double>(value) - exact[d]) < 4e-6,
                            "%s head_dim %d positions %d token %d head %d element %zu: %g, not %g",
                            ops->name,
                            of.head_dim,
                            n,
                            t,
                            h,
                            d,
                            static_cast<double>(value),
                            exact[d]
                        );
                        CHECK(same_bits(value, alone[d]));
                    }
                }
                for (size_t i = 0; i < Asked::kGap; ++i) {
                    CHECK(found[asked.at(of, t, n_heads) + i] == 7.0f); // the place of others
                }
            }
        }
    }
}

void attention_matches_the_twin() {
    Random random(21);
    for (const DType type : {DType::f16, DType::f32}) {
        for (const int head_dim : {1, 8, 20, 32, 64, 80, 128}) {
            for (const int n_positions : {1, 31, 32, 33, 131, 290}) {
                check_case({type, 2, head_dim, n_positions}, 1, 1 + random.below(9), random);
            }
        }
        for (int n_heads = 1; n_heads <= 9; ++n_heads) {
            check_case({type, 1, 48, 1 + random.below(200)}, 1, n_heads, random);
        }
    }
}

void tokens_that_attend_together_see_their_own_past() {
    Random random(22);
    for (const DType type : {DType::f16, DType::f32}) {
        for (const int n_positions : {4, 33, 34, 65, 130, 200}) {
            for (const int n_heads : {1, 2, 3}) {
                check_case({type, 1, 40, n_positions}, 2 + random.below(3), n_heads, random);
            }
        }
    }
}

// What lies behind the last position does not count, whatever it is.
void later_positions_do_not_count() {
    Random random(23);
    const Case of = {DType::f32, 1, 16, 40};
    const Stored stored(of, random);
    const Asked asked = Asked::random(of, 1, 1, random);
    for (const Ops* ops : tables()) {
        const std::vector<float> found = attend(*ops, stored, of, 0, asked, 37);
        const std::vector<double> exact = expected(stored, of, 0, asked.vector(of, 0, 0), 37);
        for (size_t d = 0; d < 16; ++d) {
            CHECK(std::abs(static_cast<double>(found[d]) - exact[d]) < 4e-6);
        }
    }
}

} // namespace

int main() {
    print_tables();
    CHECK_RUN(attention_matches_the_twin);
    CHECK_RUN(tokens_that_attend_together_see_their_own_past);
    CHECK_RUN(later_positions_do_not_count);
    return check::finish();
}
