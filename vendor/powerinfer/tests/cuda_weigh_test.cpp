// Coefficients of neurons on a device against plain sums in double.
#include "cuda_ffn_cases.h"

#include <optional>

namespace {

using namespace cuda_ffn_cases;
using op_cases::Inputs;

// Inputs, and as the device has them.
struct DeviceInputs {
    Inputs inputs;
    cuda_cases::Tokens tokens;

    DeviceInputs(std::vector<float> x, int n_tokens, int dim)
        : inputs(op_cases::make_inputs(std::move(x), n_tokens, dim)), tokens(inputs) {}
    DeviceInputs token(int t) const {
        const auto begin = inputs.f32.begin() + static_cast<std::ptrdiff_t>(t) * inputs.dim;
        return {{begin, begin + inputs.dim}, 1, inputs.dim};
    }
};

struct WeighCase {
    DType gate;
    DType up;
    bool is_gated;
    int n;
    int dim;
    int n_tokens;
    Kind kind;
    Rule rule;
};

struct Neurons {
    std::optional<Matrix> gate;
    Matrix up;
    device::vector<float> bias;

    DeviceNeurons view() const {
        DeviceNeurons neurons;
        if (gate) {
            neurons.gate = gate->weights.view();
        }
        neurons.up = up.weights.view();
        neurons.up_bias = bias.empty() ? nullptr : bias.data();
        neurons.n = up.n_rows;
        return neurons;
    }
};

// Counters are added to.
const std::vector<uint32_t> kCountersBefore = {1000, 2000, 3000, 4000};

struct Weighed {
    device::vector<float> coef;
    device::vector<uint32_t> counters = device::copy(kCountersBefore);
    device::vector<uint32_t> fired;

    bool operator==(const Weighed& other) const {
        return same_bits(coef, other.coef) && counters == other.counters && fired == other.fired;
    }
};

constexpr float kUntouched = -12345.0f;

Weighed weigh(
    const Neurons& neurons, DeviceInputs& x, Lists& lists, const Rule& rule, bool counts = true
) {
    const int n = neurons.up.n_rows;
    Weighed result;
    result.coef.assign(at(n) * at(x.inputs.n_tokens), kUntouched);
    result.fired.assign(at(n), 7);
    const Selection selection = lists.view();
    const NeuronCounters counters = {
        result.counters.data(), counts ? result.fired.data() : nullptr
    };
    cuda::weigh(
        nullptr,
        result.coef.data(),
        neurons.view(),
        x.tokens.view(),
        lists.is_null ? nullptr : &selection,
        rule,
        counters
    );
    device::wait();
    return result;
}

// A product and the error that it may have.
struct Product {
    double value = 0;
    double error = 1e-7;
};

Product product(const Matrix& w, int i, const DeviceInputs& x, int t) {
    Product p;
    double sum = 0;
    for (int j = 0; j < w.dim; ++j) {
        const double term = w.value(i, j) * x.inputs.value(w.is_quantized(), at(t), at(j));
        p.value += term;
        sum += std::abs(term);
    }
    // Minima are multiplied apart from the rest, so that terms larger than these cancel.
    p.error += 3e-6 * sum + (w.is_quantized() ? 3e-6 * std::sqrt(w.dim) : 0);
    return p;
}

// The coefficient, or NaN where it hangs on a rounding.
Product wanted_coef(
    const WeighCase& c, const Neurons& neurons, const DeviceInputs& x, int t, int i
) {
    Product first = product(c.is_gated ? *neurons.gate : neurons.up, i, x, t);
    const float bias = neurons.bias.empty() ? 0.0f : neurons.bias[at(i)];
    first.value += static_cast<double>(bias);
    first.error += 1e-6 * static_cast<double>(std::abs(bias));
    if (c.rule.activation == Activation::silu) {
        first.value /= 1 + std::exp(-first.value);
        first.error *= 1.2;
    } else {
        const auto threshold = static_cast<double>(c.rule.fatrelu_threshold);
        if (std::abs(first.value - threshold) < first.error) {
            return {std::nan(""), 0};
        }
        first = first.value > threshold ? first : Product{0, 0};
    }
    if (!c.is_gated) {
        return first;
    }
    Product up = product(neurons.up, i, x, t);
    if (c.rule.activation == Activation::drelu && up.value < -up.error) {
        up = {0, 0};
    }
    const double error = std::abs(first.value) * up.error + std::abs(up.value) * first.error +
                         first.error * up.error;
    return {first.value * up.value, error * 1.1};
}

void check_coefs(
    const WeighCase& c,
    const Neurons& neurons,
    const DeviceInputs& x,
    const Lists& lists,
    const Weighed& is
) {
    std::vector<uint32_t> counters = kCountersBefore;
    device::vector<uint32_t> fired(at(c.n), 7);
    for (int t = 0; t < c.n_tokens; ++t) {
        for (int i = 0; i < c.n; ++i) {
            const float coef = is.coef[at(t) * at(c.n) + at(i)];
            if (lists.bits[at(i)] == 0) {
                CHECK_MSG(coef == kUntouched, "neuron %d of %d is nobody's", i, c.n);
                continue;
            }
            fired[at(i)] += coef != 0.0f ? 1 : 0;
            counters[cuda::kActive] += coef != 0.0f ? 1 : 0;
            if (!lists.has(t, i)) {
                CHECK_MSG(coef == 0.0f, "neuron %d of %d is not of token %d", i, c.n, t);
                continue;
            }
            counters[cuda::kCandidate] += 1;
            const Product wanted = wanted_coef(c, neurons, x, t, i);
            CHECK_MSG(
                std::isnan(wanted.value) ||
                    std::abs(static_cast<double>(coef) - wanted.value) <= wanted.error,
                "%s %s, dim %d, activation %d: token %d of %d, neuron %d of %d is %g, not %g",
                dtype_info(c.gate).name,
                dtype_info(c.up).name,
                c.dim,
                static_cast<int>(c.rule.activation),
                t,
                c.n_tokens,
                i,
                c.n,
                static_cast<double>(coef),
                wanted.value
            );
        }
    }
    for (int i = 0; i < c.n; ++i) {
        const bool is_tested = lists.bits[at(i)] != 0;
        counters[cuda::kTested] += is_tested ? 1 : 0;
        counters[cuda::kRead] += is_tested && (c.rule.reads_all || fired[at(i)] > 7) ? 1 : 0;
    }
    CHECK(is.counters == device::copy(counters));
    CHECK(is.fired == fired);
}

void check_weigh(const WeighCase& c, Random& random, bool thorough) {
    Neurons neurons = {{}, Matrix(c.up, c.n, c.dim, random), {}};
    if (c.is_gated) {
        neurons.gate.emplace(c.gate, c.n, c.dim, random);
    } else if (c.n % 2 == 0) {
        neurons.bias = device::copy(random.normals(at(c.n)));
    }
    DeviceInputs x(random.normals(at(c.n_tokens) * at(c.dim)), c.n_tokens, c.dim);
    Lists lists = make_lists(c.kind, c.n, c.n_tokens, random);
    const Weighed first = weigh(neurons, x, lists, c.rule);
    check_coefs(c, neurons, x, lists, first);
    // What is read does not change what comes out.
    Rule other = c.rule;
    other.reads_all = !other.reads_all;
    Weighed others = weigh(neurons, x, lists, other);
    others.counters[cuda::kRead] = first.counters[cuda::kRead];
    CHECK_MSG(others == first, "reads_all, %s", dtype_info(c.gate).name);
    if (!thorough) {
        return;
    }
    device::in_all_orders([&] { CHECK(weigh(neurons, x, lists, c.rule) == first); });
    Weighed uncounted = weigh(neurons, x, lists, c.rule, false);
    CHECK(uncounted.fired == device::vector<uint32_t>(at(c.n), 7));
    CHECK(uncounted.counters == first.counters);
    for (int t = 0; t < c.n_tokens; ++t) {
        DeviceInputs own_x = x.token(t);
        Lists own = lists.token(t);
        const Weighed alone = weigh(neurons, own_x, own, c.rule);
        bool same = true;
        for (int i = 0; i < c.n; ++i) {
            const float beside = first.coef[at(t) * at(c.n) + at(i)];
            same = same && (!lists.has(t, i) || same_bits(alone.coef[at(i)], beside));
        }
        CHECK_MSG(same, "token %d of %d alone, %s", t, c.n_tokens, dtype_info(c.gate).name);
    }
}

const Rule kRules[] = {
    {Activation::relu, 0.0f, false},
    {Activation::relu, 0.3f, false},
    {Activation::drelu, 0.0f, false},
    {Activation::silu, 0.0f, true},
    {Activation::drelu, 0.2f, true},
    {Activation::relu, 0.0f, true},
    {Activation::silu, 0.0f, false},
};

void neurons_of_every_type_are_weighed() {
    Random random(1);
    Cycle cycle;
    for (const DType type : kWeightTypes) {
        for (const int dim : op_cases::sizes_of(type)) {
            for (const bool is_gated : {true, false}) {
                for (const Kind kind : kKinds) {
                    const int n = dim < 512 ? cycle.of(kCounts) : 33;
                    const int n_tokens = dim < 512 ? cycle.of(kTokens) : 3;
                    const WeighCase c = {
                        type, type, is_gated, n, dim, n_tokens, kind, cycle.of(kRules)
                    };
                    check_weigh(
                        c, random, kind == Kind::random && dim <= 256 && n * n_tokens < 600
                    );
                }
            }
        }
    }
}

void all_shapes_are_weighed() {
    Random random(2);
    Cycle cycle;
    for (const int n : kCounts) {
        for (const int n_tokens : kTokens) {
            for (const Kind kind : kKinds) {
                const WeighCase c = {
                    DType::q4_0, DType::q4_0, n != 33, n, 32, n_tokens, kind, cycle.of(kRules)
                };
                check_weigh(c, random, kind == Kind::random && n < 40 && n_tokens < 10);
            }
        }
    }
    for (const Rule& rule : kRules) {
        check_weigh({DType::f16, DType::f16, true, 172, 33, 9, Kind::random, rule}, random, true);
        check_weigh({DType::f16, DType::f16, false, 172, 33, 9, Kind::random, rule}, random, true);
    }
    check_weigh(
        {DType::q4_0, DType::q4_0, true, 40, 4096, 1, Kind::random, kRules[0]}, random, true
    );
}

void gate_and_up_may_have_different_types() {
    Random random(3);
    Cycle cycle;
    for (const DType gate : kWeightTypes) {
        for (const DType up : kWeightTypes) {
            if (gate != up) {
                check_weigh(
                    {gate, up, true, 33, 256, 3, cycle.of(kKinds), cycle.of(kRules)},
                    random,
                    gate == DType::q4_0
                );
            }
        }
    }
}

// An address that nobody can read stands for rows that must not be read.
void rows_of_zeros_are_not_multiplied() {
    Random random(4);
    for (const DType up : {DType::q4_0, DType::f32}) {
        const Matrix gate(DType::q4_0, 64, 64, random);
        DeviceInputs x(random.normals(at(9) * 64), 9, 64);
        DeviceNeurons view;
        view.gate = gate.weights.view();
        view.up = {
            reinterpret_cast<const uint8_t*>(16), reinterpret_cast<const uint8_t*>(16), up, 64, 64
        };
        view.n = 64;
        device::vector<float> coef(at(9) * 64, kUntouched);
        device::vector<uint32_t> counters(cuda::kLayerCounters);
        cuda::weigh(
            nullptr,
            coef.data(),
            view,
            x.tokens.view(),
            nullptr,
            {Activation::relu, 1e9f, false},
            {counters.data(), nullptr}
        );
        device::wait();
        CHECK(std::all_of(coef.begin(), coef.end(), [](float value) { return value == 0.0f; }));
        CHECK_EQ(counters[cuda::kActive], 0u);
        CHECK_EQ(counters[cuda::kCandidate], 9u * 64u);
        CHECK_EQ(counters[cuda::kTested], 64u);
        CHECK_EQ(counters[cuda::kRead], 0u);
    }
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(neurons_of_every_type_are_weighed);
    CHECK_RUN(all_shapes_are_weighed);
    CHECK_RUN(gate_and_up_may_have_different_types);
    CHECK_RUN(rows_of_zeros_are_not_multiplied);
    return check::finish();
}
