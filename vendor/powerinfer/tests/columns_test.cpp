// Matrices by columns: every value stays, products have the bits of the definition on every
// instruction set, and selections are those of the scores.
#include "check.h"
#include "columns.h"
#include "error.h"
#include "op_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace powerinfer;
using namespace op_cases;

namespace {

constexpr float kMissing = -1.0F;

// The same matrix twice.
struct Turned {
    Matrix rows;
    std::vector<uint8_t> bytes; // by columns
};

Turned turned(Matrix rows) {
    Turned m = {std::move(rows), {}};
    m.bytes.assign(m.rows.bytes.size(), 0xa5);
    auto* out = reinterpret_cast<std::byte*>(m.bytes.data());
    for (int first = 0; first < m.rows.n_rows; first += kColumnRows) {
        const auto* in = reinterpret_cast<const std::byte*>(
            m.rows.bytes.data() + static_cast<size_t>(first) * m.rows.stride()
        );
        store_by_columns(out, m.rows.n_rows, m.rows.dim, first, in);
    }
    return m;
}

// The value of row r and column c, straight from the description in columns.h.
double value_at(const Turned& m, int r, int c) {
    const int tile = r / 5760 * 5760;
    const auto n_rows = static_cast<size_t>(std::min(5760, m.rows.n_rows - tile));
    const auto row = static_cast<size_t>(r - tile);
    const uint8_t* block = m.bytes.data() + static_cast<size_t>(tile) * m.rows.stride() +
                           static_cast<size_t>(c / 32) * 18 * n_rows;
    const uint8_t* column = block + 2 * n_rows + static_cast<size_t>(c % 32) * n_rows / 2;
    const size_t i = row % 64;
    const int byte = column[row / 128 * 64 + i % 16 / 4 * 16 + i / 16 * 4 + i % 4];
    const int nibble = row % 128 < 64 ? byte & 15 : byte >> 4;
    return twin::half(block + 2 * row) * (nibble - 8);
}

void every_value_stays() {
    Random random(1);
    for (const int n_rows : {128, 640, 5760, 6016, 11648}) {
        for (const int dim : {32, 96}) {
            const Turned m = turned(random_matrix(DType::q4_0, n_rows, dim, random));
            for (int r = 0; r < n_rows; ++r) {
                const std::vector<double> wanted = m.rows.values(r);
                for (int c = 0; c < dim; ++c) {
                    const double found = value_at(m, r, c);
                    CHECK_MSG(
                        found == wanted[static_cast<size_t>(c)],
                        "%d x %d, row %d column %d: %g",
                        n_rows,
                        dim,
                        r,
                        c,
                        found
                    );
                }
            }
        }
    }
}

void only_whole_groups_of_rows_fit() {
    CHECK(fits_columns(DType::q4_0, 128));
    CHECK(fits_columns(DType::q4_0, 5632));
    CHECK(!fits_columns(DType::q4_0, 5632 + 64));
    CHECK(!fits_columns(DType::q8_0, 5632));
    CHECK_EQ(column_bytes(256, 0), size_t{0});
    CHECK_EQ(column_bytes(256, 1), size_t{512 + 128});
    CHECK_EQ(column_bytes(256, 32), 256 * row_bytes(DType::q4_0, 32));
}

// Inputs whose columns are zero but for the listed ones, and the same in the places of their own.
struct Sparse {
    std::vector<int32_t> ids;
    std::vector<int32_t> ends;
    Inputs gathered;
    std::vector<float> plain; // (n_tokens, dim)
};

enum class Active { none, one, half, all };

Sparse sparse(int n_tokens, int dim, int bits, Active active, Random& random) {
    const auto width = static_cast<size_t>(dim);
    Sparse x;
    std::vector<float> values(static_cast<size_t>(n_tokens) * width, 0.0F);
    x.plain = values;
    const int only = random.below(dim);
    int first = 0;
    for (int c = 0; c < dim; ++c) {
        if (c % 32 == 0) {
            first = static_cast<int>(x.ids.size());
        }
        const bool is_listed = active == Active::all || (active == Active::one && c == only) ||
                               (active == Active::half && random.below(2) == 0);
        if (is_listed) {
            const size_t place =
                static_cast<size_t>(c / 32 * 32) + x.ids.size() - static_cast<size_t>(first);
            x.ids.push_back(c);
            for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
                // Not every token needs what some token needs, and some blocks it needs not at all.
                const bool is_zero = n_tokens > 1 && (random.below(3) == 0 || (t == 1 && c < 64));
                const float value = is_zero ? 0.0F : std::fabs(random.normal());
                values[t * width + place] = value;
                x.plain[t * width + static_cast<size_t>(c)] = value;
            }
        }
        if (c % 32 == 31) {
            x.ends.push_back(static_cast<int32_t>(x.ids.size()));
        }
    }
    x.gathered = make_inputs(std::move(values), n_tokens, dim, bits);
    return x;
}

std::vector<float> products(
    const Ops& ops, const Turned& m, Sparse& x, const std::vector<int>& cuts
) {
    const int n_rows = m.rows.n_rows;
    const auto stride = static_cast<size_t>(n_rows) + 5;
    std::vector<float> out(static_cast<size_t>(x.gathered.n_tokens) * stride, kMissing);
    const cpu::Columns w = {
        reinterpret_cast<const std::byte*>(m.bytes.data()), n_rows, x.ids.data(), x.ends.data()
    };
    const Activations in = x.gathered.view(ops, true);
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        ops.dot_columns(out.data(), stride, w, cuts[i], cuts[i + 1], in);
    }
    std::vector<float> rows;
    for (size_t t = 0; t < static_cast<size_t>(x.gathered.n_tokens); ++t) {
        const auto begin = out.begin() + static_cast<ptrdiff_t>(t * stride);
        rows.insert(rows.end(), begin, begin + n_rows);
        CHECK(std::all_of(begin + n_rows, begin + n_rows + 5, [](float y) { return y == kMissing; })
        );
    }
    return rows;
}

// In double, on the rows.
double product_twin(const std::vector<double>& row, const float* x, int bits) {
    double sum = 0;
    for (size_t c = 0; c < row.size(); c += 32) {
        const RoundedBlock block = cpu::round_block(x + c, bits);
        double steps = 0;
        for (size_t j = 0; j < 32; ++j) {
            steps += row[c + j] * block.q[j];
        }
        sum += steps * static_cast<double>(block.scale);
    }
    return sum;
}

void check_products(const Turned& m, Sparse& x, const char* what) {
    const int n_rows = m.rows.n_rows;
    const std::vector<float> scalar = products(cpu::scalar_ops(), m, x, {0, n_rows});
    for (int r = 0; r < n_rows; r += 37) {
        const std::vector<double> row = m.rows.values(r);
        for (int t = 0; t < x.gathered.n_tokens; ++t) {
            const float* plain = x.plain.data() + static_cast<size_t>(t) * row.size();
            const double wanted = product_twin(row, plain, x.gathered.bits);
            const float found = scalar
                [static_cast<size_t>(t) * static_cast<size_t>(n_rows) + static_cast<size_t>(r)];
            double size = 1e-30;
            for (size_t c = 0; c < row.size(); ++c) {
                size += std::fabs(row[c] * static_cast<double>(plain[c]));
            }
            CHECK_MSG(
                std::fabs(static_cast<double>(found) - wanted) <= 1e-6 * size,
                "%s row %d token %d: %g, twin %g",
                what,
                r,
                t,
                static_cast<double>(found),
                wanted
            );
        }
    }
    for (const Ops* ops : tables()) {
        const std::vector<float> whole = products(*ops, m, x, {0, n_rows});
        CHECK_MSG(same_bits(whole, scalar), "%s %s", ops->name, what);
        std::vector<int> cuts;
        for (int cut = 0; cut <= n_rows; cut += kColumnRows) {
            cuts.push_back(cut);
        }
        CHECK_MSG(same_bits(products(*ops, m, x, cuts), scalar), "%s cut %s", ops->name, what);
    }
}

void products_have_the_same_bits_everywhere() {
    Random random(2);
    for (const int n_rows : {128, 384}) {
        for (const int dim : {32, 96, 160, 512}) {
            const Turned m = turned(random_matrix(DType::q4_0, n_rows, dim, random));
            const Turned extreme = turned(extreme_matrix(DType::q4_0, n_rows, dim, random));
            for (const int n_tokens : {1, 2, 5}) {
                for (const int bits : {16, 8}) {
                    for (const Active active :
                         {Active::none, Active::one, Active::half, Active::all}) {
                        Sparse x = sparse(n_tokens, dim, bits, active, random);
                        const std::string what = format_message(
                            "%d x %d, %d tokens, %d bits, active %d",
                            n_rows,
                            dim,
                            n_tokens,
                            bits,
                            static_cast<int>(active)
                        );
                        check_products(m, x, what.c_str());
                        check_products(extreme, x, what.c_str());
                    }
                }
            }
        }
    }
}

// More results than the kernels take at a time, and more rows than a tile has.
void products_of_large_sizes_have_the_same_bits() {
    Random random(3);
    struct Case {
        int n_rows;
        int n_tokens;
    };
    for (const auto& [n_rows, n_tokens] : {Case{384, 600}, {6016, 1}, {11648, 20}}) {
        const Turned m = turned(random_matrix(DType::q4_0, n_rows, 64, random));
        Sparse x = sparse(n_tokens, 64, 16, Active::half, random);
        check_products(m, x, format_message("%d rows, %d tokens", n_rows, n_tokens).c_str());
    }
}

// A token alone lists fewer columns than with others.
void products_do_not_depend_on_other_tokens() {
    Random random(4);
    constexpr int kRows = 256;
    constexpr int kDim = 128;
    const Turned m = turned(random_matrix(DType::q4_0, kRows, kDim, random));
    Sparse x = sparse(3, kDim, 16, Active::half, random);
    for (const Ops* ops : tables()) {
        const std::vector<float> together = products(*ops, m, x, {0, kRows});
        for (size_t t = 0; t < 3; ++t) {
            Sparse one;
            std::vector<float> values(kDim, 0.0F);
            for (int b = 0; b < kDim / 32; ++b) {
                size_t place = static_cast<size_t>(b) * 32;
                for (int32_t c = 32 * b; c < 32 * (b + 1); ++c) {
                    const float value = x.plain[t * kDim + static_cast<size_t>(c)];
                    if (value > 0.0F) {
                        one.ids.push_back(c);
                        values[place++] = value;
                    }
                }
                one.ends.push_back(static_cast<int32_t>(one.ids.size()));
            }
            one.gathered = make_inputs(std::move(values), 1, kDim);
            const std::vector<float> alone = products(*ops, m, one, {0, kRows});
            const auto begin = together.begin() + static_cast<ptrdiff_t>(t) * kRows;
            CHECK_MSG(
                same_bits(alone, std::vector<float>(begin, begin + kRows)),
                "%s token %zu",
                ops->name,
                t
            );
        }
    }
}

void an_infinite_activation_reaches_every_row() {
    Random random(5);
    const Turned m = turned(random_matrix(DType::q4_0, 128, 64, random));
    Sparse x = sparse(1, 64, 16, Active::all, random);
    x.gathered.f32[40] = std::numeric_limits<float>::infinity();
    for (const Ops* ops : tables()) {
        const std::vector<float> out = products(*ops, m, x, {0, 128});
        CHECK_MSG(
            std::all_of(out.begin(), out.end(), [](float y) { return std::isnan(y); }),
            "%s",
            ops->name
        );
    }
}

void selections_are_those_of_the_scores() {
    Random random(6);
    for (const int n : {1, 15, 16, 31, 100, 1000}) {
        for (const int n_tokens : {1, 3}) {
            std::vector<float> values = random.normals(static_cast<size_t>(n * n_tokens));
            values[static_cast<size_t>(random.below(n))] = std::nanf("");
            values[static_cast<size_t>(random.below(n))] = 1.0F;
            for (const float threshold : {-100.0F, 0.0F, 1.0F, 100.0F}) {
                const int begin = n / 3;
                std::vector<int32_t> wanted;
                for (int i = begin; i < n; ++i) {
                    bool is_selected = false;
                    for (int t = 0; t < n_tokens; ++t) {
                        is_selected |= values[static_cast<size_t>(t * n + i)] >= threshold;
                    }
                    if (is_selected) {
                        wanted.push_back(i);
                    }
                }
                for (const Ops* ops : tables()) {
                    std::vector<int32_t> ids(static_cast<size_t>(n - begin)); // no more room
                    const int found = ops->select(
                        ids.data(),
                        values.data(),
                        static_cast<size_t>(n),
                        n_tokens,
                        threshold,
                        begin,
                        n
                    );
                    ids.resize(static_cast<size_t>(found));
                    CHECK_MSG(ids == wanted, "%s: %d of %d tokens", ops->name, n, n_tokens);
                }
            }
        }
    }
}

} // namespace

int main() {
    print_tables();
    CHECK_RUN(every_value_stays);
    CHECK_RUN(only_whole_groups_of_rows_fit);
    CHECK_RUN(products_have_the_same_bits_everywhere);
    CHECK_RUN(products_of_large_sizes_have_the_same_bits);
    CHECK_RUN(products_do_not_depend_on_other_tokens);
    CHECK_RUN(an_infinite_activation_reaches_every_row);
    CHECK_RUN(selections_are_those_of_the_scores);
    return check::finish();
}
