// The down projection of a device against plain sums in double.
#include "cuda_ffn_cases.h"

namespace {

using namespace cuda_ffn_cases;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

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
    CHECK_RUN(rows_of_every_type_are_added);
    CHECK_RUN(all_shapes_are_added);
    CHECK_RUN(strands_go_on_to_the_end);
    CHECK_RUN(a_term_is_that_of_the_cpu);
    return check::finish();
}
