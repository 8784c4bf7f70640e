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

std::vector<float> attend(
    const Ops& ops, const Stored& stored, const Case& of, int head, std::span<const float> queries
) {
    const int n = static_cast<int>(queries.size()) / of.head_dim;
    const size_t pages = static_cast<size_t>((of.n_positions + kPageTokens - 1) / kPageTokens);
    const size_t stride = pages * kPageTokens;
    std::vector<float> scores(static_cast<size_t>(n) * stride, std::nanf(""));
    std::vector<float> out(queries.size(), std::nanf(""));
    ops.attend(
        out.data(),
        stored.cache().head(kLayer, kSequence, head),
        {queries.data(), n, of.head_dim, of.n_positions, scores.data(), stride}
    );
    return out;
}

std::vector<double> expected(
    const Stored& stored, const Case& of, int head, std::span<const float> query
) {
    std::vector<double> scores;
    for (int p = 0; p < of.n_positions; ++p) {
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
    for (int p = 0; p < of.n_positions; ++p) {
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

void check_case(const Case& of, int n_queries, Random& random) {
    const Stored stored(of, random);
    const auto dim = static_cast<size_t>(of.head_dim);
    for (int head = 0; head < of.n_heads; ++head) {
        const auto queries = random.normals(static_cast<size_t>(n_queries) * dim);
        for (const Ops* ops : tables()) {
            const std::vector<float> found = attend(*ops, stored, of, head, queries);
            for (size_t i = 0; i < static_cast<size_t>(n_queries); ++i) {
                const auto query = std::span(queries).subspan(i * dim, dim);
                const std::vector<double> exact = expected(stored, of, head, query);
                const std::vector<float> alone = attend(*ops, stored, of, head, query);
                for (size_t d = 0; d < dim; ++d) {
                    const float value = found[i * dim + d];
                    CHECK_MSG(
                        std::abs(static_cast<double>(value) - exact[d]) < 4e-6,
                        "%s head_dim %d positions %d query %zu of %d element %zu: %g, not %g",
                        ops->name,
                        of.head_dim,
                        of.n_positions,
                        i,
                        n_queries,
                        d,
                        static_cast<double>(value),
                        exact[d]
                    );
                    CHECK(same_bits(value, alone[d])); // whatever others ask
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
                const int n_queries = 1 + random.below(9);
                check_case({type, 2, head_dim, n_positions}, n_queries, random);
            }
        }
        for (int n_queries = 1; n_queries <= 9; ++n_queries) {
            check_case({type, 1, 48, 1 + random.below(200)}, n_queries, random);
        }
    }
}

// What lies behind the last position does not count, whatever it is.
void later_positions_do_not_count() {
    Random random(22);
    const Case whole = {DType::f32, 1, 16, 40};
    Stored stored(whole, random);
    const std::vector<float> query = random.normals(16);
    for (const Ops* ops : tables()) {
        const Case part = {DType::f32, 1, 16, 37};
        const std::vector<float> found = attend(*ops, stored, part, 0, query);
        const std::vector<double> exact = expected(stored, part, 0, query);
        for (size_t d = 0; d < 16; ++d) {
            CHECK(std::abs(static_cast<double>(found[d]) - exact[d]) < 4e-6);
        }
    }
}

} // namespace

int main() {
    print_tables();
    CHECK_RUN(attention_matches_the_twin);
    CHECK_RUN(later_positions_do_not_count);
    return check::finish();
}
