// Activation rounding, norms, softmax, activation functions and the choice of a table.
#include "check.h"
#include "op_cases.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

using namespace powerinfer;
using namespace op_cases;

namespace {
// The products of a table with a row that is 1 in one place and 0 elsewhere are the activations
// that it packed.
std::vector<float> packed_values(const Ops& ops, const std::vector<float>& x, int bits) {
    std::vector<std::byte> rows(32 * 34);
    for (size_t j = 0; j < 32; ++j) {
        rows[34 * j + 1] = std::byte{0x3c}; // 1 in half precision
        rows[34 * j + 2 + j] = std::byte{1};
    }
    std::vector<float> values;
    for (size_t first = 0; first < x.size(); first += 32) {
        std::vector<float> out(32);
        Inputs in = make_inputs(
            {x.begin() + static_cast<ptrdiff_t>(first),
             x.begin() + static_cast<ptrdiff_t>(first) + 32},
            1,
            32,
            bits
        );
        const Rows all = {rows.data(), 34, nullptr, 32};
        ops.of(DType::q8_0).dot_rows(out.data(), 32, all, in.view(ops, true));
        values.insert(values.end(), out.begin(), out.end());
    }
    return values;
}

void check_that_rounding_has_the_same_bits_everywhere(int bits) {
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
            const std::vector<float> found = packed_values(*ops, x, bits);
            const Inputs in = make_inputs(x, 1, 96, bits);
            for (size_t j = 0; j < 96; ++j) {
                const auto expected = static_cast<float>(in.value(true, 0, j));
                CHECK_MSG(
                    std::isnan(expected) ? std::isnan(found[j]) : found[j] == expected,
                    "%s size %g element %zu: %g, not %g",
                    ops->name,
                    static_cast<double>(size),
                    j,
                    static_cast<double>(found[j]),
                    static_cast<double>(expected)
                );
                CHECK(std::isnan(expected) == (j / 32 == 1 && !std::isfinite(size)));
            }
        }
    }
}

void rounding_has_the_same_bits_everywhere() {
    check_that_rounding_has_the_same_bits_everywhere(16);
    check_that_rounding_has_the_same_bits_everywhere(8);
}

// Half a step off at most (and the rounding of 15-bit quotients to 24 bits), the largest element at
// the last step.
void check_that_rounding_is_to_the_nearest(int bits) {
    Random random(9);
    const Inputs in = random_inputs(1, 4096, random, bits);
    for (size_t b = 0; b < in.blocks.size(); ++b) {
        const RoundedBlock& block = in.blocks[b];
        float amax = 0;
        int32_t sum = 0;
        int largest = 0;
        for (size_t j = 0; j < 32; ++j) {
            const float x = in.f32[32 * b + j];
            amax = std::max(amax, std::abs(x));
            sum += block.q[j];
            largest = std::max(largest, std::abs(int{block.q[j]}));
            const double error = in.value(true, 0, 32 * b + j) - static_cast<double>(x);
            CHECK(std::abs(error) <= 0.503 * static_cast<double>(block.scale));
        }
        CHECK_EQ(block.scale, amax / static_cast<float>(cpu::max_step(bits)));
        CHECK_EQ(block.sum, sum);
        CHECK_EQ(largest, cpu::max_step(bits));
    }
}

void rounding_is_to_the_nearest() {
    check_that_rounding_is_to_the_nearest(16);
    check_that_rounding_is_to_the_nearest(8);
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

void silu_matches_the_twin() {
    Random random(13);
    for (const Ops* ops : tables()) {
        for (int n : {1, 16, 33, 1000}) {
            std::vector<float> x = random.normals(static_cast<size_t>(n));
            for (float& value : x) {
                value *= 6;
            }
            x[0] = n == 1 ? 0.0f : n == 16 ? 1e30f : n == 33 ? -1e30f : -90.0f;
            std::vector<float> s = x;
            ops->silu(s.data(), n);
            for (size_t j = 0; j < x.size(); ++j) {
                const auto v = static_cast<double>(x[j]);
                const double silu = v / (1 + std::exp(-v));
                CHECK_MSG(
                    relative(s[j], silu) < 3e-7,
                    "%s silu(%g) = %g",
                    ops->name,
                    v,
                    static_cast<double>(s[j])
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
    print_tables();
    CHECK_RUN(rounding_has_the_same_bits_everywhere);
    CHECK_RUN(rounding_is_to_the_nearest);
    CHECK_RUN(norms_match_the_twin);
    CHECK_RUN(softmax_matches_the_twin);
    CHECK_RUN(the_exponential_is_within_an_ulp);
    CHECK_RUN(softmax_of_nothing_finite_is_nan);
    CHECK_RUN(silu_matches_the_twin);
    CHECK_RUN(the_environment_chooses_the_table);
    return check::finish();
}
