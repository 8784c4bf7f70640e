// The row operators of every weight type and table against a twin in double, against the scalar
// table, and against the rules about bits of ops.h.
#include "check.h"
#include "op_cases.h"

#include <algorithm>
#include <limits>

using namespace powerinfer;
using namespace op_cases;

namespace {
std::vector<float> dots(
    const Ops& ops, const Matrix& m, Inputs& in, const std::vector<int32_t>* ids
) {
    const int n = ids != nullptr ? static_cast<int>(ids->size()) : m.n_rows;
    const bool quantized = dtype_info(m.type).is_quantized;
    std::vector<float> out(static_cast<size_t>(n) * static_cast<size_t>(in.n_tokens), -1.0f);
    ops.of(m.type).dot_rows(
        out.data(),
        static_cast<size_t>(n),
        m.rows(ids != nullptr ? ids->data() : nullptr, n),
        in.view(ops, quantized)
    );
    return out;
}

void check_dots(const Ops& ops, const Matrix& m, Inputs in) {
    const bool quantized = dtype_info(m.type).is_quantized;
    const auto out = dots(ops, m, in, nullptr);
    const auto scalar = dots(cpu::scalar_ops(), m, in, nullptr);
    for (size_t i = 0; i < static_cast<size_t>(m.n_rows); ++i) {
        const auto w = m.values(static_cast<int>(i));
        for (size_t t = 0; t < static_cast<size_t>(in.n_tokens); ++t) {
            double exact = 0;
            double size = 0;
            for (size_t j = 0; j < w.size(); ++j) {
                const double term = w[j] * in.value(quantized, t, j);
                exact += term;
                size += std::abs(term);
            }
            const size_t k = t * static_cast<size_t>(m.n_rows) + i;
            const auto value = static_cast<double>(out[k]);
            const char* type = dtype_info(m.type).name;
            CHECK_MSG(
                std::abs(value - exact) <= 1e-6 * size,
                "%s %s dim %d row %zu token %zu of %d: %g, exact %g, size %g",
                ops.name,
                type,
                m.dim,
                i,
                t,
                in.n_tokens,
                value,
                exact,
                size
            );
            CHECK_MSG(
                std::abs(value - static_cast<double>(scalar[k])) <= 1e-6 * size,
                "%s %s dim %d: %g, scalar %g",
                ops.name,
                type,
                m.dim,
                value,
                static_cast<double>(scalar[k])
            );
        }
    }
}

void dots_match_the_twin() {
    Random random(1);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            for (int dim : sizes_of(type)) {
                for (int n_tokens = 1; n_tokens <= 9; n_tokens += n_tokens == 5 ? 4 : 1) {
                    const Matrix m = random_matrix(type, 7, dim, random);
                    check_dots(*ops, m, random_inputs(n_tokens, dim, random, 16));
                    check_dots(*ops, m, random_inputs(n_tokens, dim, random, 8));
                }
            }
        }
    }
}

// More columns than are decoded at a time, and more tokens than share a decoded row.
void dots_of_wide_rows_and_long_prompts_match_the_twin() {
    Random random(21);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const int dim = dtype_info(type).block_elements == 256 ? 2304 : 2208;
            const Matrix m = random_matrix(type, 11, dim, random);
            for (const int n_tokens : {1, 6, 67}) {
                check_dots(*ops, m, random_inputs(n_tokens, dim, random, 16));
                check_dots(*ops, m, random_inputs(n_tokens, dim, random, 8));
            }
        }
    }
}

void dots_of_extreme_values_match_the_twin() {
    Random random(2);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            for (int trial = 0; trial < 6; ++trial) {
                const Matrix m = extreme_matrix(type, 6, 512, random);
                std::vector<float> x = random.normals(5 * 512);
                for (float& value : x) { // the largest steps, of both signs or of one
                    value = trial % 2 == 0 ? 1e4f : (value < 0 ? -1e4f : 1e4f);
                }
                check_dots(*ops, m, make_inputs(x, 5, 512, trial < 3 ? 16 : 8));
            }
        }
    }
}

// Rule 1: the bits of a dot product depend on its row and its token only.
void check_that_dots_do_not_depend_on_the_call(int bits) {
    Random random(3);
    const std::vector<int32_t> ids = {0, 2, 3, 7, 8, 9, 12};
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const int dim = dtype_info(type).block_elements == 1 ? 173 : 768;
            const Matrix m = random_matrix(type, 13, dim, random);
            Inputs all = random_inputs(9, dim, random, bits);
            const auto whole = dots(*ops, m, all, nullptr);
            for (size_t t = 0; t < 9; ++t) {
                const auto begin = all.f32.begin() + static_cast<ptrdiff_t>(t) * dim;
                Inputs one = make_inputs(std::vector<float>(begin, begin + dim), 1, dim, bits);
                const auto listed = dots(*ops, m, one, &ids);
                for (size_t i = 0; i < ids.size(); ++i) {
                    const float together = whole[t * 13 + static_cast<size_t>(ids[i])];
                    CHECK_MSG(
                        same_bits(listed[i], together),
                        "%s %s row %d token %zu",
                        ops->name,
                        dtype_info(type).name,
                        ids[i],
                        t
                    );
                    const std::vector<int32_t> single = {ids[i]};
                    const auto alone = dots(*ops, m, one, &single);
                    CHECK(same_bits(alone[0], together));
                }
            }
        }
    }
}

void dots_do_not_depend_on_the_call() {
    check_that_dots_do_not_depend_on_the_call(16);
    check_that_dots_do_not_depend_on_the_call(8);
}

void no_rows_write_nothing() {
    Random random(4);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const Matrix m = random_matrix(type, 1, 256, random);
            Inputs in = random_inputs(2, 256, random);
            const bool quantized = dtype_info(type).is_quantized;
            float out[2] = {3.0f, 4.0f};
            ops->of(type).dot_rows(out, 1, m.rows(nullptr, 0), in.view(*ops, quantized));
            CHECK(out[0] == 3.0f && out[1] == 4.0f);
            std::vector<float> acc(512, 5.0f);
            for (int n_tokens = 1; n_tokens <= 2; ++n_tokens) {
                const Rows none = m.rows(nullptr, 0);
                ops->of(type).axpy_rows(acc.data(), 256, none, nullptr, 0, n_tokens, 0, 256);
            }
            CHECK(std::all_of(acc.begin(), acc.end(), [](float x) { return x == 5.0f; }));
        }
    }
}

void dequantize_is_the_rounded_exact_value() {
    Random random(5);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            for (int dim : sizes_of(type)) {
                const Matrix m = dim % 2 == 0 ? random_matrix(type, 1, dim, random)
                                              : extreme_matrix(type, 1, dim, random);
                std::vector<float> out(static_cast<size_t>(dim));
                const auto* row = reinterpret_cast<const std::byte*>(m.bytes.data());
                ops->of(type).dequantize(out.data(), row, dim);
                const auto exact = m.values(0);
                for (size_t j = 0; j < out.size(); ++j) {
                    CHECK_MSG(
                        out[j] == static_cast<float>(exact[j]),
                        "%s %s element %zu of %d: %g, not %g",
                        ops->name,
                        dtype_info(type).name,
                        j,
                        dim,
                        static_cast<double>(out[j]),
                        exact[j]
                    );
                }
            }
        }
    }
}

struct Axpy {
    Matrix m;
    std::vector<int32_t> ids;
    int n_tokens;
    std::vector<float> coef; // (n_tokens, ids)
    std::vector<float> acc;  // (n_tokens, dim)

    void run(const Ops& ops, std::vector<float>& out, int begin, int end) const {
        const int n = static_cast<int>(ids.size());
        const auto dim = static_cast<size_t>(m.dim);
        ops.of(m.type).axpy_rows(
            out.data(), dim, m.rows(ids.data(), n), coef.data(), ids.size(), n_tokens, begin, end
        );
    }
    std::vector<float> run(const Ops& ops) const {
        std::vector<float> out = acc;
        run(ops, out, 0, m.dim);
        return out;
    }
};

// Some 180 of 200 rows, more than kernels list at a time; a third of the coefficients is zero, of
// both signs.
Axpy random_axpy(DType type, int dim, int n_tokens, Random& random) {
    Axpy a = {random_matrix(type, 200, dim, random), {}, n_tokens, {}, {}};
    for (int32_t i = 0; i < 200; ++i) {
        if (random.below(10) != 0) {
            a.ids.push_back(i);
        }
    }
    const auto tokens = static_cast<size_t>(n_tokens);
    a.coef = random.normals(tokens * a.ids.size());
    for (float& coef : a.coef) {
        const int kind = random.below(6);
        coef = kind == 0 ? 0.0f : kind == 1 ? -0.0f : coef;
    }
    a.acc = random.normals(tokens * static_cast<size_t>(dim));
    return a;
}

// Rule 2, the definition: one term after the other, ascending.
float axpy_term(DType type, float sum, float coef, const twin::Weight& w) {
    if (dtype_info(type).block_elements == 32) {
        return std::fma(coef * static_cast<float>(w.scale), static_cast<float>(w.q), sum);
    }
    return std::fma(coef, static_cast<float>(w.value()), sum);
}

std::vector<float> axpy_twin(const Axpy& a) {
    std::vector<float> out = a.acc;
    for (size_t i = 0; i < a.ids.size(); ++i) {
        const auto w = a.m.weights(a.ids[i]);
        for (size_t t = 0; t < static_cast<size_t>(a.n_tokens); ++t) {
            const float coef = a.coef[t * a.ids.size() + i];
            for (size_t j = 0; j < w.size() && coef != 0.0f; ++j) {
                float& sum = out[t * w.size() + j];
                sum = axpy_term(a.m.type, sum, coef, w[j]);
            }
        }
    }
    return out;
}

void check_axpy(const Axpy& a, int dim) {
    const auto expected = axpy_twin(a);
    for (const Ops* ops : tables()) {
        CHECK_MSG(
            same_bits(a.run(*ops), expected),
            "%s %s dim %d tokens %d",
            ops->name,
            dtype_info(a.m.type).name,
            dim,
            a.n_tokens
        );
    }
}

void axpy_has_the_same_bits_everywhere() {
    Random random(6);
    for (DType type : twin::kWeightTypes) {
        for (int dim : sizes_of(type)) {
            for (int n_tokens = 1; n_tokens <= 9; n_tokens += 2) {
                Axpy a = random_axpy(type, dim, n_tokens, random);
                check_axpy(a, dim);
                std::replace(a.coef.begin(), a.coef.end(), 0.0f, 0.75f); // tiles skip no row
                check_axpy(a, dim);
            }
        }
    }
}

void axpy_does_not_depend_on_splits_tokens_or_zeros() {
    Random random(7);
    for (DType type : twin::kWeightTypes) {
        const int dim = dtype_info(type).block_elements == 1 ? 1037 : 1024;
        const Axpy a = random_axpy(type, dim, 3, random);
        for (const Ops* ops : tables()) {
            const auto whole = a.run(*ops);
            std::vector<float> split = a.acc;
            for (int begin : {512, 0, 768, 256}) {
                a.run(*ops, split, begin, begin == 768 ? dim : begin + 256);
            }
            CHECK_MSG(same_bits(split, whole), "%s %s", ops->name, dtype_info(type).name);
            for (size_t t = 0; t < 3; ++t) {
                Axpy one = {a.m, {}, 1, {}, {}};
                for (size_t i = 0; i < a.ids.size(); ++i) {
                    if (a.coef[t * a.ids.size() + i] != 0.0f) {
                        one.ids.push_back(a.ids[i]);
                        one.coef.push_back(a.coef[t * a.ids.size() + i]);
                    }
                }
                const auto first = static_cast<ptrdiff_t>(t) * dim;
                one.acc.assign(a.acc.begin() + first, a.acc.begin() + first + dim);
                const auto alone = one.run(*ops);
                CHECK(std::equal(
                    alone.begin(),
                    alone.end(),
                    whole.begin() + first,
                    [](float x, float y) { return same_bits(x, y); }
                ));
            }
        }
    }
}

// A zero coefficient skips its term, even where 0 * w would be NaN.
void zero_coefficients_hide_any_weight() {
    Random random(14);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            for (int n_tokens : {1, 3, 8}) {
                Axpy a = random_axpy(type, 512, n_tokens, random);
                const size_t odd = a.ids.size() / 2;
                const size_t first = static_cast<size_t>(a.ids[odd]) * a.m.stride();
                std::fill_n(a.m.bytes.begin() + static_cast<ptrdiff_t>(first), a.m.stride(), 0xff);
                CHECK(std::isnan(a.m.values(a.ids[odd])[5]));
                for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
                    a.coef[t * a.ids.size() + odd] = t == 1 ? -0.0f : 0.0f;
                }
                CHECK_MSG(
                    same_bits(a.run(*ops), axpy_twin(a)),
                    "%s %s tokens %d",
                    ops->name,
                    dtype_info(type).name,
                    n_tokens
                );
            }
        }
    }
}

void non_finite_activations_reach_the_result() {
    Random random(10);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const Matrix m = random_matrix(type, 1, 256, random);
            std::vector<float> x = random.normals(256);
            x[100] = std::numeric_limits<float>::quiet_NaN();
            Inputs in = make_inputs(x, 1, 256);
            CHECK(std::isnan(dots(*ops, m, in, nullptr)[0]));
        }
    }
}

} // namespace

int main() {
    print_tables();
    CHECK_RUN(dots_match_the_twin);
    CHECK_RUN(dots_of_wide_rows_and_long_prompts_match_the_twin);
    CHECK_RUN(dots_of_extreme_values_match_the_twin);
    CHECK_RUN(dots_do_not_depend_on_the_call);
    CHECK_RUN(no_rows_write_nothing);
    CHECK_RUN(dequantize_is_the_rounded_exact_value);
    CHECK_RUN(axpy_has_the_same_bits_everywhere);
    CHECK_RUN(axpy_does_not_depend_on_splits_tokens_or_zeros);
    CHECK_RUN(zero_coefficients_hide_any_weight);
    CHECK_RUN(non_finite_activations_reach_the_result);
    return check::finish();
}
