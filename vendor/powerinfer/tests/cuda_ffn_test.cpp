// The feed-forward of a device against plain sums in double.
#include "check.h"
#include "cuda_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace {

using namespace powerinfer;
using namespace powerinfer::cuda;
using op_cases::Inputs;
using op_cases::same_bits;
using twin::Random;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

size_t at(int i) {
    return static_cast<size_t>(i);
}

// A matrix as the device has it, and what its elements are.
struct Matrix {
    int n_rows = 0;
    int dim = 0;
    DType type = DType::f32;
    cuda_cases::Weights weights;
    std::vector<double> values; // (n_rows, dim)

    explicit Matrix(const op_cases::Matrix& m)
        : n_rows(m.n_rows), dim(m.dim), type(m.type), weights(m) {
        for (int i = 0; i < n_rows; ++i) {
            const std::vector<double> row = m.values(i);
            values.insert(values.end(), row.begin(), row.end());
        }
    }
    Matrix(DType t, int n, int d, Random& random)
        : Matrix(op_cases::random_matrix(t, n, d, random)) {}
    bool is_quantized() const { return dtype_info(type).is_quantized; }
    double value(int i, int j) const { return values[at(i) * at(dim) + at(j)]; }
};

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

// Which tokens need which neurons, and the lists of it. After the hot segments come cold ones,
// which are none of the kernels' business.
struct Lists {
    int n;
    std::vector<uint32_t> bits; // (n,) of tokens
    bool is_null = false;
    device::vector<int32_t> counts;
    device::vector<int32_t> rows;
    device::vector<uint32_t> needed;

    Lists(std::vector<uint32_t> tokens, bool null)
        : n(static_cast<int>(tokens.size())), bits(std::move(tokens)), is_null(null) {
        constexpr int kCold = 40;
        constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max() / 2;
        const size_t n_all = at(n_segments(n, n + kCold));
        counts.assign(n_all, kSegment);
        rows.assign(n_all * kSegment, kNoRow);
        needed.assign(n_all * kSegment, ~0u);
        for (int s = 0; s < n_hot_segments(n); ++s) {
            size_t count = 0;
            for (int i = s * kSegment; i < std::min(n, (s + 1) * kSegment); ++i) {
                if (bits[at(i)] != 0) {
                    rows[at(s) * kSegment + count] = i;
                    needed[at(s) * kSegment + count] = bits[at(i)];
                    count += 1;
                }
            }
            counts[at(s)] = static_cast<int32_t>(count);
        }
    }
    Selection view() { return {counts.data(), rows.data(), needed.data()}; }
    bool has(int t, int i) const { return (bits[at(i)] >> t & 1) != 0; }
    Lists token(int t) const {
        std::vector<uint32_t> own;
        for (int i = 0; i < n; ++i) {
            own.push_back(has(t, i) ? 1 : 0);
        }
        return {own, is_null};
    }
};

enum class Kind { null, empty, full, random };
constexpr Kind kKinds[] = {Kind::null, Kind::empty, Kind::full, Kind::random};

Lists make_lists(Kind kind, int n, int n_tokens, Random& random) {
    const uint32_t all = ~0u >> (32 - n_tokens);
    std::vector<uint32_t> bits(at(n), kind == Kind::empty ? 0 : all);
    for (uint32_t& tokens : bits) {
        for (int t = 0; kind == Kind::random && t < n_tokens; ++t) {
            // The first token needs nothing, others every fifth neuron.
            if (random.below(5) != 0 || (t == 0 && n_tokens > 1)) {
                tokens &= ~(1u << t);
            }
        }
    }
    return {std::move(bits), kind == Kind::null};
}

// ---- weigh ----

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

const int kCounts[] = {1, 31, 32, 33, 172, 320};
const int kTokens[] = {1, 2, 3, 8, 9, 32};
const Rule kRules[] = {
    {Activation::relu, 0.0f, false},
    {Activation::relu, 0.3f, false},
    {Activation::drelu, 0.0f, false},
    {Activation::silu, 0.0f, true},
    {Activation::drelu, 0.2f, true},
    {Activation::relu, 0.0f, true},
    {Activation::silu, 0.0f, false},
};

// Each value of each list meets several of the others.
class Cycle {
public:
    template <typename T, size_t N>
    const T& of(const T (&list)[N]) {
        return list[static_cast<size_t>(random_.below(static_cast<int>(N)))];
    }

private:
    Random random_{99};
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

// ---- project_down ----

struct Down {
    Matrix w;
    int n_tokens;
    device::vector<float> x;
    device::vector<float> coef; // NaN where no token needs the neuron
    device::vector<float> bias; // or empty
};

device::vector<float> project(const Down& down, Lists& lists) {
    const auto dim = at(down.w.dim);
    const auto n_tokens = at(down.n_tokens);
    device::vector<float> x = down.x;
    device::vector<float> partial(at(kDownParts) * n_tokens * dim, kNaN);
    device::vector<uint32_t> arrived(n_tokens * ((dim + 255) / 256), 0);
    DeviceNeurons neurons;
    neurons.down_t = down.w.weights.view();
    neurons.n = down.w.n_rows;
    const Selection selection = lists.view();
    project_down(
        nullptr,
        x.data(),
        neurons,
        down.coef.data(),
        lists.is_null ? nullptr : &selection,
        down.bias.empty() ? nullptr : down.bias.data(),
        down.n_tokens,
        partial.data(),
        arrived.data()
    );
    device::wait();
    CHECK(std::all_of(arrived.begin(), arrived.end(), [](uint32_t n) { return n == 0; }));
    return x;
}

Down make_down(DType type, int n, int dim, int n_tokens, const Lists& lists, Random& random) {
    Down down = {
        Matrix(type, n, dim, random),
        n_tokens,
        device::copy(random.normals(at(n_tokens) * at(dim))),
        {},
        {}
    };
    if (n % 2 == 0) {
        down.bias = device::copy(random.normals(at(dim)));
    }
    down.coef.resize(at(n_tokens) * at(n));
    for (int t = 0; t < n_tokens; ++t) {
        for (int i = 0; i < n; ++i) {
            float& coef = down.coef[at(t) * at(n) + at(i)];
            coef = lists.bits[at(i)] == 0                    ? kNaN
                   : lists.has(t, i) && random.below(3) != 0 ? random.normal()
                                                             : 0.0f;
        }
    }
    return down;
}

// Its coefficients alone; the lists may be the batch's or its own.
Down token_of(const Down& down, int t) {
    Down own = {down.w, 1, {}, {}, down.bias};
    const auto x = down.x.begin() + static_cast<std::ptrdiff_t>(t) * down.w.dim;
    const auto coef = down.coef.begin() + static_cast<std::ptrdiff_t>(t) * down.w.n_rows;
    own.x.assign(x, x + down.w.dim);
    own.coef.assign(coef, coef + down.w.n_rows);
    return own;
}

void check_sums(const Down& down, const Lists& lists, std::span<const float> is) {
    const int dim = down.w.dim;
    const int n = down.w.n_rows;
    for (int t = 0; t < down.n_tokens; ++t) {
        std::vector<double> sums(at(dim));
        std::vector<double> sizes(at(dim));
        for (int j = 0; j < dim; ++j) {
            sums[at(j)] = static_cast<double>(down.x[at(t) * at(dim) + at(j)]);
            sums[at(j)] += down.bias.empty() ? 0.0 : static_cast<double>(down.bias[at(j)]);
            sizes[at(j)] = 4;
        }
        for (int i = 0; i < n; ++i) {
            if (lists.has(t, i)) {
                const auto coef = static_cast<double>(down.coef[at(t) * at(n) + at(i)]);
                for (int j = 0; j < dim; ++j) {
                    sums[at(j)] += coef * down.w.value(i, j);
                    sizes[at(j)] += std::abs(coef * down.w.value(i, j));
                }
            }
        }
        for (int j = 0; j < dim; ++j) {
            const auto value = static_cast<double>(is[at(t) * at(dim) + at(j)]);
            CHECK_MSG(
                std::abs(value - sums[at(j)]) <= 1e-6 * sizes[at(j)],
                "%s, %d neurons: token %d of %d, column %d of %d is %g, not %g",
                dtype_info(down.w.type).name,
                n,
                t,
                down.n_tokens,
                j,
                dim,
                value,
                sums[at(j)]
            );
        }
    }
}

void check_down(
    DType type, int n, int dim, int n_tokens, Kind kind, Random& random, bool thorough
) {
    Lists lists = make_lists(kind, n, n_tokens, random);
    const Down down = make_down(type, n, dim, n_tokens, lists, random);
    const device::vector<float> first = project(down, lists);
    check_sums(down, lists, first);
    if (!thorough) {
        return;
    }
    device::in_all_orders([&] { CHECK(same_bits(project(down, lists), first)); });
    for (int t = 0; t < n_tokens; ++t) {
        const auto begin = first.begin() + static_cast<std::ptrdiff_t>(t) * dim;
        const std::vector<float> beside(begin, begin + dim);
        const Down own = token_of(down, t);
        Lists own_lists = lists.token(t);
        CHECK_MSG(same_bits(project(own, lists), beside), "token %d of %d alone", t, n_tokens);
        CHECK_MSG(
            same_bits(project(own, own_lists), beside), "token %d of %d, own list", t, n_tokens
        );
    }
}

void rows_of_every_type_are_added() {
    Random random(5);
    Cycle cycle;
    for (const DType type : kWeightTypes) {
        for (const int dim : op_cases::sizes_of(type)) {
            for (const Kind kind : kKinds) {
                const int n = cycle.of(kCounts);
                const int n_tokens = dim < 512 ? cycle.of(kTokens) : 3;
                check_down(
                    type,
                    n,
                    dim,
                    n_tokens,
                    kind,
                    random,
                    kind == Kind::random && dim <= 256 && n_tokens < 10
                );
            }
        }
    }
}

void all_shapes_are_added() {
    Random random(6);
    for (const int n : kCounts) {
        for (const int n_tokens : kTokens) {
            for (const Kind kind : kKinds) {
                check_down(
                    DType::q4_0,
                    n,
                    32,
                    n_tokens,
                    kind,
                    random,
                    kind == Kind::random && n_tokens < 10 && n < 40
                );
            }
        }
    }
    check_down(DType::q4_0, 40, 4096, 1, Kind::random, random, true);
}

// So many that a warp has more segments than it lists at once.
void strands_go_on_to_the_end() {
    Random random(7);
    for (const Kind kind : {Kind::null, Kind::random}) {
        check_down(DType::f16, 33000, 8, 1, kind, random, false);
        check_down(DType::q4_0, 17000, 32, 3, kind, random, false);
        check_down(DType::f32, 8300, 8, 9, kind, random, false);
    }
}

// The terms of a sum are those of the CPU, bit for bit: one neuron, from zero.
void a_term_is_that_of_the_cpu() {
    Random random(8);
    for (const DType type : kWeightTypes) {
        for (const int dim : op_cases::sizes_of(type)) {
            const op_cases::Matrix m = op_cases::extreme_matrix(type, 1, dim, random);
            const Down down = {
                Matrix(m), 1, device::vector<float>(at(dim), 0.0f), {random.normal()}, {}
            };
            Lists lists({1u}, false);
            std::vector<float> wanted(at(dim), 0.0f);
            cpu::scalar_ops().of(type).axpy_rows(
                wanted.data(), 0, m.rows(nullptr, 1), down.coef.data(), 1, 1, 0, dim
            );
            const device::vector<float> is = project(down, lists);
            bool same = true;
            for (size_t j = 0; j < wanted.size(); ++j) {
                same = same && is[j] == wanted[j];
            }
            CHECK_MSG(same, "%s, dim %d", dtype_info(type).name, dim);
        }
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
    CHECK_RUN(rows_of_every_type_are_added);
    CHECK_RUN(all_shapes_are_added);
    CHECK_RUN(strands_go_on_to_the_end);
    CHECK_RUN(a_term_is_that_of_the_cpu);
    return check::finish();
}
