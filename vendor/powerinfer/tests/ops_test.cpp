// Every operator, weight type and table of this processor against a twin in double, against the
// scalar table, and against the rules about bits of ops.h.
#include "check.h"
#include "cpu/ops.h"
#include "quantize.h"
#include "twin.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

using namespace powerinfer;
using cpu::Activations;
using cpu::Ops;
using cpu::Rows;
using cpu::TypeOps;
using twin::Random;

namespace {

std::vector<const Ops*> tables() {
    std::vector<const Ops*> found;
    for (const Ops* ops :
         {&cpu::scalar_ops(), cpu::avx2_ops(), cpu::avx512_ops(), cpu::neon_ops()}) {
        if (ops != nullptr) {
            found.push_back(ops);
        }
    }
    return found;
}

std::vector<int> sizes_of(DType type) {
    const int block = dtype_info(type).block_elements;
    if (block == 1) {
        return {1, 31, 33, 172, 256, 1000};
    }
    return {block, 3 * block, block == 32 ? 352 : 1024};
}

// A matrix of n_rows x dim, exactly as long as it must be.
struct Matrix {
    DType type;
    int n_rows;
    int dim;
    std::vector<uint8_t> bytes;

    size_t stride() const { return row_bytes(type, dim); }
    Rows rows(const int32_t* ids, int n) const {
        return {reinterpret_cast<const std::byte*>(bytes.data()), stride(), ids, n};
    }
    std::vector<double> values(int row) const {
        return twin::row_values(type, bytes.data() + static_cast<size_t>(row) * stride(), dim);
    }
};

Matrix random_matrix(DType type, int n_rows, int dim, Random& random) {
    Matrix m = {type, n_rows, dim, {}};
    m.bytes.resize(m.stride() * static_cast<size_t>(n_rows));
    for (size_t i = 0; i < static_cast<size_t>(n_rows); ++i) {
        const auto row = random.normals(static_cast<size_t>(dim));
        auto* out = reinterpret_cast<std::byte*>(m.bytes.data() + i * m.stride());
        quantize_row(type, out, row.data(), dim);
    }
    return m;
}

// Every field at its limits: all bytes 0xff or 0x80 or random, scales the largest of half precision
// over 1024 so that sums stay finite.
Matrix extreme_matrix(DType type, int n_rows, int dim, Random& random) {
    Matrix m = random_matrix(type, n_rows, dim, random);
    const DTypeInfo& info = dtype_info(type);
    if (!info.is_quantized) {
        return m;
    }
    const auto block = static_cast<size_t>(info.block_bytes);
    const int kind = random.below(3);
    for (uint8_t& byte : m.bytes) {
        byte = kind == 0 ? 0xff : kind == 1 ? 0x80 : static_cast<uint8_t>(random.bits());
    }
    const uint8_t scale[2] = {0xff, static_cast<uint8_t>(random.below(2) == 0 ? 0x53 : 0xd3)};
    for (size_t b = 0; b < m.bytes.size(); b += block) {
        std::memcpy(m.bytes.data() + b + (type == DType::q6_k ? 208 : 0), scale, 2);
        if (type == DType::q4_k || type == DType::q5_k) {
            std::memcpy(m.bytes.data() + b + 2, scale, 2);
        }
    }
    return m;
}

// Inputs of a product with everything the contract asks for.
struct Inputs {
    int n_tokens;
    int dim;
    std::vector<float> f32;
    std::vector<int16_t> q16;
    std::vector<float> scale;
    std::vector<int32_t> sum;

    Activations view(bool quantized) const {
        return {
            f32.data(), quantized ? q16.data() : nullptr, scale.data(), sum.data(), n_tokens, dim
        };
    }
    // Element j of token t as the kernels of that kind see it.
    double value(bool quantized, size_t t, size_t j) const {
        const size_t k = t * static_cast<size_t>(dim) + j;
        if (!quantized) {
            return static_cast<double>(f32[k]);
        }
        return static_cast<double>(scale[k / 32]) * q16[k];
    }
};

Inputs make_inputs(std::vector<float> x, int n_tokens, int dim) {
    Inputs in = {n_tokens, dim, std::move(x), {}, {}, {}};
    if (dim % 32 == 0) {
        const size_t n = in.f32.size();
        in.q16.resize(n);
        in.scale.resize(n / 32);
        in.sum.resize(n / 32);
        cpu::scalar_ops().quantize_q16(
            in.q16.data(), in.scale.data(), in.sum.data(), in.f32.data(), n
        );
    }
    return in;
}

Inputs random_inputs(int n_tokens, int dim, Random& random) {
    const auto n = static_cast<size_t>(n_tokens) * static_cast<size_t>(dim);
    return make_inputs(random.normals(n), n_tokens, dim);
}

std::vector<float> dots(
    const TypeOps& ops, const Matrix& m, const Inputs& in, const std::vector<int32_t>* ids
) {
    const int n = ids != nullptr ? static_cast<int>(ids->size()) : m.n_rows;
    const bool quantized = dtype_info(m.type).is_quantized;
    std::vector<float> out(static_cast<size_t>(n) * static_cast<size_t>(in.n_tokens), -1.0f);
    ops.dot_rows(
        out.data(),
        static_cast<size_t>(n),
        m.rows(ids != nullptr ? ids->data() : nullptr, n),
        in.view(quantized)
    );
    return out;
}

bool same_bits(float a, float b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_dots(const Ops& ops, const Matrix& m, const Inputs& in) {
    const bool quantized = dtype_info(m.type).is_quantized;
    const auto out = dots(ops.of(m.type), m, in, nullptr);
    const auto scalar = dots(cpu::scalar_ops().of(m.type), m, in, nullptr);
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
                    check_dots(*ops, m, random_inputs(n_tokens, dim, random));
                }
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
                check_dots(*ops, m, make_inputs(x, 5, 512));
            }
        }
    }
}

// Rule 1: the bits of a dot product depend on its row and its token only.
void dots_do_not_depend_on_the_call() {
    Random random(3);
    const std::vector<int32_t> ids = {0, 2, 3, 7, 8, 9, 12};
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const int dim = dtype_info(type).block_elements == 1 ? 173 : 768;
            const Matrix m = random_matrix(type, 13, dim, random);
            const Inputs all = random_inputs(9, dim, random);
            const auto whole = dots(ops->of(type), m, all, nullptr);
            for (size_t t = 0; t < 9; ++t) {
                const auto begin = all.f32.begin() + static_cast<ptrdiff_t>(t) * dim;
                const Inputs one = make_inputs(std::vector<float>(begin, begin + dim), 1, dim);
                const auto listed = dots(ops->of(type), m, one, &ids);
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
                    const auto alone = dots(ops->of(type), m, one, &single);
                    CHECK(same_bits(alone[0], together));
                }
            }
        }
    }
}

void no_rows_write_nothing() {
    Random random(4);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const Matrix m = random_matrix(type, 1, 256, random);
            const Inputs in = random_inputs(2, 256, random);
            const bool quantized = dtype_info(type).is_quantized;
            float out[2] = {3.0f, 4.0f};
            ops->of(type).dot_rows(out, 1, m.rows(nullptr, 0), in.view(quantized));
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

// Some 90 of 100 rows; a third of the coefficients is zero, of both signs.
Axpy random_axpy(DType type, int dim, int n_tokens, Random& random) {
    Axpy a = {random_matrix(type, 100, dim, random), {}, n_tokens, {}, {}};
    for (int32_t i = 0; i < 100; ++i) {
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

// Rule 2, the definition: one fused multiply-add per term, ascending.
std::vector<float> axpy_twin(const Axpy& a) {
    std::vector<float> out = a.acc;
    for (size_t i = 0; i < a.ids.size(); ++i) {
        const auto w = a.m.values(a.ids[i]);
        for (size_t t = 0; t < static_cast<size_t>(a.n_tokens); ++t) {
            const float coef = a.coef[t * a.ids.size() + i];
            for (size_t j = 0; j < w.size() && coef != 0.0f; ++j) {
                float& sum = out[t * w.size() + j];
                sum = std::fma(coef, static_cast<float>(w[j]), sum);
            }
        }
    }
    return out;
}

void axpy_has_the_same_bits_everywhere() {
    Random random(6);
    for (DType type : twin::kWeightTypes) {
        for (int dim : sizes_of(type)) {
            for (int n_tokens = 1; n_tokens <= 9; n_tokens += 2) {
                const Axpy a = random_axpy(type, dim, n_tokens, random);
                const auto expected = axpy_twin(a);
                for (const Ops* ops : tables()) {
                    CHECK_MSG(
                        same_bits(a.run(*ops), expected),
                        "%s %s dim %d tokens %d",
                        ops->name,
                        dtype_info(type).name,
                        dim,
                        n_tokens
                    );
                }
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
            for (int n_tokens : {1, 3}) {
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

void q16_has_the_same_bits_everywhere() {
    Random random(8);
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    constexpr float kInf = std::numeric_limits<float>::infinity();
    for (const Ops* ops : tables()) {
        for (float size : {0.0f, 1e-45f, 3e-41f, 1e-38f, 1.0f, 3e38f, kInf, kNan}) {
            std::vector<float> x = random.normals(96);
            for (size_t j = 0; j < 96; ++j) {
                x[j] = std::isfinite(size) ? std::max(-3e38f, std::min(3e38f, x[j] * size)) : x[j];
            }
            x[40] = size;
            const Inputs expected = make_inputs(x, 1, 96);
            Inputs in = expected;
            std::fill(in.q16.begin(), in.q16.end(), int16_t{7});
            ops->quantize_q16(in.q16.data(), in.scale.data(), in.sum.data(), x.data(), 96);
            CHECK_MSG(in.q16 == expected.q16, "%s size %g", ops->name, static_cast<double>(size));
            CHECK(in.sum == expected.sum);
            for (size_t b = 0; b < 3; ++b) {
                const bool finite = std::isfinite(size) || b != 1;
                CHECK(std::isnan(in.scale[b]) == !finite);
                CHECK(!finite || same_bits(in.scale[b], expected.scale[b]));
            }
        }
    }
}

// The definition of Q16: half a step off at most (and the rounding of 15-bit quotients to 24 bits),
// the largest element at the last step.
void q16_rounds_to_nearest() {
    Random random(9);
    const Inputs in = random_inputs(1, 4096, random);
    for (size_t b = 0; b < in.scale.size(); ++b) {
        float amax = 0;
        int32_t sum = 0;
        int largest = 0;
        for (size_t j = 32 * b; j < 32 * b + 32; ++j) {
            amax = std::max(amax, std::abs(in.f32[j]));
            sum += in.q16[j];
            largest = std::max(largest, std::abs(int{in.q16[j]}));
            const double error = in.value(true, 0, j) - static_cast<double>(in.f32[j]);
            CHECK(std::abs(error) <= 0.503 * static_cast<double>(in.scale[b]));
        }
        CHECK_EQ(in.scale[b], amax / 32767.0f);
        CHECK_EQ(in.sum[b], sum);
        CHECK_EQ(largest, 32767);
    }
}

void non_finite_activations_reach_the_result() {
    Random random(10);
    for (const Ops* ops : tables()) {
        for (DType type : twin::kWeightTypes) {
            const Matrix m = random_matrix(type, 1, 256, random);
            std::vector<float> x = random.normals(256);
            x[100] = std::numeric_limits<float>::quiet_NaN();
            CHECK(std::isnan(dots(ops->of(type), m, make_inputs(x, 1, 256), nullptr)[0]));
        }
    }
}

// Relative error; results below 1e-36, where exp(-x) overflows, count as zero.
double relative(float value, double exact) {
    const double difference = std::abs(static_cast<double>(value) - exact);
    return difference < 1e-36 ? 0 : difference / std::abs(exact);
}

void norms_match_the_twin() {
    Random random(11);
    for (const Ops* ops : tables()) {
        for (int n : {1, 7, 31, 64, 172, 4096}) {
            for (float center : {0.0f, 1000.0f}) {
                const auto size = static_cast<size_t>(n);
                std::vector<float> x = random.normals(size);
                const auto weight = random.normals(size);
                const auto bias = random.normals(size);
                double sum = 0;
                double squares = 0;
                for (float& value : x) {
                    value += center;
                    sum += static_cast<double>(value);
                    squares += static_cast<double>(value) * static_cast<double>(value);
                }
                double variance = 0;
                for (float value : x) {
                    variance += std::pow(static_cast<double>(value) - sum / n, 2);
                }
                const double rms = std::sqrt(squares / n + 1e-5);
                const double deviation = std::sqrt(variance / n + 1e-5);
                std::vector<float> root(size);
                std::vector<float> layer(size);
                std::vector<float> plain(size);
                ops->rms_norm(root.data(), x.data(), weight.data(), 1e-5f, n);
                ops->layer_norm(layer.data(), x.data(), weight.data(), bias.data(), 1e-5f, n);
                ops->layer_norm(plain.data(), x.data(), weight.data(), nullptr, 1e-5f, n);
                for (size_t j = 0; j < size; ++j) {
                    const auto w = static_cast<double>(weight[j]);
                    const auto value = static_cast<double>(x[j]);
                    const double y = (value - sum / n) / deviation * w;
                    const auto b = static_cast<double>(bias[j]);
                    CHECK(relative(root[j], value / rms * w) < 1e-7);
                    CHECK(
                        std::abs(static_cast<double>(layer[j]) - (y + b)) <
                        1e-7 * (std::abs(y) + std::abs(b))
                    );
                    CHECK_MSG(
                        relative(plain[j], y) < 1e-7 || std::abs(y) < 1e-9,
                        "%s n %d: %g, not %g",
                        ops->name,
                        n,
                        static_cast<double>(plain[j]),
                        y
                    );
                }
            }
        }
    }
}

void softmax_matches_the_twin() {
    Random random(12);
    for (const Ops* ops : tables()) {
        for (int n : {1, 5, 31, 33, 172, 5000}) {
            for (float spread : {1.0f, 30.0f, 1e30f}) {
                std::vector<float> x = random.normals(static_cast<size_t>(n));
                for (float& value : x) {
                    value = random.below(5) == 0 ? -HUGE_VALF : value * spread;
                }
                x[x.size() / 2] = spread;
                const auto max = static_cast<double>(*std::max_element(x.begin(), x.end()));
                double sum = 0;
                for (float value : x) {
                    sum += std::exp(static_cast<double>(value) - max);
                }
                std::vector<float> y = x;
                ops->softmax(y.data(), n);
                for (size_t j = 0; j < x.size(); ++j) {
                    // x - max is rounded to float before the exponential.
                    const double difference = static_cast<double>(x[j]) - max;
                    const double exact = std::exp(difference) / sum;
                    const double bound = 3e-7 + 6e-8 * std::min(-difference, 200.0);
                    CHECK_MSG(
                        relative(y[j], exact) <= bound ||
                            std::abs(static_cast<double>(y[j]) - exact) < 3e-45,
                        "%s n %d: %g, not %g",
                        ops->name,
                        n,
                        static_cast<double>(y[j]),
                        exact
                    );
                    CHECK(x[j] != -HUGE_VALF || same_bits(y[j], 0.0f));
                }
            }
        }
    }
}

// exp alone: softmax of {0, x} with x so low that the sum stays 1.
void the_exponential_is_within_an_ulp() {
    for (const Ops* ops : tables()) {
        double worst = 0;
        for (int k = 0; k < 400000; ++k) {
            const float low = -17.5f - static_cast<float>(k) * 0.00017f;
            float x[2] = {0.0f, low};
            ops->softmax(x, 2);
            worst = std::max(worst, relative(x[1], std::exp(static_cast<double>(low))));
        }
        CHECK_MSG(worst <= 1.5e-7, "%s: %g", ops->name, worst);
    }
}

void softmax_of_nothing_finite_is_nan() {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (const Ops* ops : tables()) {
        for (float odd : {kNan, HUGE_VALF}) {
            std::vector<float> x(37, 1.0f);
            x[20] = odd;
            ops->softmax(x.data(), 37);
            CHECK(std::all_of(x.begin(), x.end(), [](float y) { return std::isnan(y); }));
        }
        std::vector<float> masked(37, -HUGE_VALF);
        ops->softmax(masked.data(), 37);
        CHECK(std::all_of(masked.begin(), masked.end(), [](float y) { return std::isnan(y); }));
    }
}

void activations_match_the_twin() {
    Random random(13);
    for (const Ops* ops : tables()) {
        for (int n : {1, 16, 33, 1000}) {
            std::vector<float> x = random.normals(static_cast<size_t>(n));
            for (float& value : x) {
                value *= 6;
            }
            x[0] = n == 1 ? 0.0f : n == 16 ? 1e30f : n == 33 ? -1e30f : -90.0f;
            std::vector<float> s = x;
            std::vector<float> g = x;
            ops->silu(s.data(), n);
            ops->gelu(g.data(), n);
            for (size_t j = 0; j < x.size(); ++j) {
                const auto v = static_cast<double>(x[j]);
                const double silu = v / (1 + std::exp(-v));
                const double u = std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v);
                const double gelu = v / (1 + std::exp(-2 * u));
                CHECK_MSG(
                    relative(s[j], silu) < 3e-7,
                    "%s silu(%g) = %g",
                    ops->name,
                    v,
                    static_cast<double>(s[j])
                );
                const double bound = 5e-7 + 2e-7 * std::min(std::abs(2 * u), 100.0);
                CHECK_MSG(
                    relative(g[j], gelu) < bound,
                    "%s gelu(%g) = %g",
                    ops->name,
                    v,
                    static_cast<double>(g[j])
                );
            }
        }
    }
}

void the_environment_chooses_the_table() {
    for (const Ops* ops : tables()) {
        setenv("POWERINFER_CPU", ops->name, 1);
        CHECK_EQ(&cpu::best_ops(), ops);
    }
    setenv("POWERINFER_CPU", "sse9", 1);
    CHECK_ERROR(unsupported, "POWERINFER_CPU is \"sse9\"", cpu::best_ops());
    setenv("POWERINFER_CPU", "", 1);
    CHECK_EQ(&cpu::best_ops(), tables().size() > 1 ? tables().back() : &cpu::scalar_ops());
    unsetenv("POWERINFER_CPU");
    CHECK_EQ(&cpu::best_ops(), tables().back());
}

} // namespace

int main() {
    std::printf("tables:");
    for (const Ops* ops : tables()) {
        std::printf(" %s", ops->name);
    }
    std::printf("\n");
    CHECK_RUN(dots_match_the_twin);
    CHECK_RUN(dots_of_extreme_values_match_the_twin);
    CHECK_RUN(dots_do_not_depend_on_the_call);
    CHECK_RUN(no_rows_write_nothing);
    CHECK_RUN(dequantize_is_the_rounded_exact_value);
    CHECK_RUN(axpy_has_the_same_bits_everywhere);
    CHECK_RUN(axpy_does_not_depend_on_splits_tokens_or_zeros);
    CHECK_RUN(zero_coefficients_hide_any_weight);
    CHECK_RUN(q16_has_the_same_bits_everywhere);
    CHECK_RUN(q16_rounds_to_nearest);
    CHECK_RUN(non_finite_activations_reach_the_result);
    CHECK_RUN(norms_match_the_twin);
    CHECK_RUN(softmax_matches_the_twin);
    CHECK_RUN(the_exponential_is_within_an_ulp);
    CHECK_RUN(softmax_of_nothing_finite_is_nan);
    CHECK_RUN(activations_match_the_twin);
    CHECK_RUN(the_environment_chooses_the_table);
    return check::finish();
}
