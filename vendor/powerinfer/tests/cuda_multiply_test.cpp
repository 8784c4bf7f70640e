// Products on the device against the scalar table of the CPU.
#include "check.h"
#include "cuda_cases.h"
#include "sanitized.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>

namespace {

using namespace op_cases;
using namespace powerinfer::cuda;
using cuda_cases::Tokens;
using cuda_cases::Weights;

constexpr float kUnset = 12345.0f;
constexpr int kManyRows = 4099; // beyond where a warp takes one row only

const char* name_of(DType type) {
    return powerinfer::dtype_info(type).name;
}

// What the scalar table gives, (n_tokens, n_rows).
std::vector<float> expected(const Matrix& m, Inputs& in) {
    const Ops& ops = powerinfer::cpu::scalar_ops();
    const auto n = static_cast<size_t>(m.n_rows);
    std::vector<float> out(n * static_cast<size_t>(in.n_tokens));
    const bool quantized = powerinfer::dtype_info(m.type).is_quantized;
    ops.of(m.type).dot_rows(out.data(), n, m.rows(nullptr, m.n_rows), in.view(ops, quantized));
    return out;
}

// Sum of the magnitudes of a product's terms: what rounding is measured by.
double magnitude(const Matrix& m, const Inputs& in, int row, size_t t) {
    const bool quantized = powerinfer::dtype_info(m.type).is_quantized;
    double sum = 0;
    size_t j = 0;
    for (const twin::Weight& w : m.weights(row)) {
        sum += (std::abs(w.scale * w.q) + std::abs(w.min)) * std::abs(in.value(quantized, t, j));
        ++j;
    }
    return sum;
}

device::vector<float> product(const Weights& w, Tokens& x) {
    const DeviceMatrix matrix = w.view();
    const DeviceActivations tokens = x.view();
    device::vector<float> out(
        static_cast<size_t>(matrix.rows) * static_cast<size_t>(tokens.n_tokens), kUnset
    );
    const DeviceProduct one = {matrix, out.data(), matrix.rows};
    multiply(nullptr, tokens, std::span(&one, 1));
    device::wait();
    return out;
}

void compare(const Matrix& m, Inputs& in, std::span<const float> out) {
    const std::vector<float> want = expected(m, in);
    for (size_t k = 0; k < want.size(); ++k) {
        const auto row = static_cast<int>(k % static_cast<size_t>(m.n_rows));
        const size_t t = k / static_cast<size_t>(m.n_rows);
        const double error = std::abs(static_cast<double>(out[k]) - static_cast<double>(want[k]));
        CHECK_MSG(
            error <= 1e-6 * magnitude(m, in, row, t),
            "%s, %d x %d, %d bits, token %zu of %d, row %d: %g, not %g",
            name_of(m.type),
            m.n_rows,
            m.dim,
            in.bits,
            t,
            in.n_tokens,
            row,
            static_cast<double>(out[k]),
            static_cast<double>(want[k])
        );
    }
}

void products_are_those_of_the_cpu() {
    Random random(3);
    for (const DType type : powerinfer::kWeightTypes) {
        for (const int dim : sizes_of(type)) {
            for (const int n_rows : {1, 2, 31, 33, 70}) {
                const Matrix m = random_matrix(type, n_rows, dim, random);
                const Weights w(m);
                for (const int n_tokens : {1, 2, 3, 8, 9, 32}) {
                    Inputs in = random_inputs(n_tokens, dim, random, n_tokens == 8 ? 8 : 16);
                    Tokens x(in);
                    compare(m, in, product(w, x));
                }
            }
        }
    }
}

// Several chunks for each lane, and a last round that some lanes miss.
void long_rows_are_summed_whole() {
    Random random(4);
    for (const DType type : powerinfer::kWeightTypes) {
        for (const int dim : {4096, 3072 + 256}) {
            const Matrix m = random_matrix(type, 3, dim, random);
            const Weights w(m);
            for (const int n_tokens : {1, 5}) {
                Inputs in = random_inputs(n_tokens, dim, random);
                Tokens x(in);
                compare(m, in, product(w, x));
            }
        }
    }
}

void extreme_weights_do_not_overflow() {
    Random random(5);
    for (const DType type : powerinfer::kWeightTypes) {
        for (int round = 0; round < 6; ++round) {
            const int dim = sizes_of(type).back();
            const Matrix m = extreme_matrix(type, 3, dim, random);
            const Weights w(m);
            std::vector<float> values(2 * static_cast<size_t>(dim), -1.0f);
            for (size_t j = 0; j < values.size(); ++j) {
                values[j] = round % 2 == 0 || j % 3 == 0 ? -1.0f : 1.0f;
            }
            Inputs in = make_inputs(values, 2, dim, round < 3 ? 16 : 8);
            Tokens x(in);
            compare(m, in, product(w, x));
        }
    }
}

// Of any batch, in any order of threads, whether a warp has one row or several.
void a_token_has_the_same_bits_alone_and_in_any_batch() {
    Random random(6);
    for (const DType type : powerinfer::kWeightTypes) {
        const int dim = sizes_of(type)[1];
        const Matrix m = random_matrix(type, 37, dim, random);
        const Weights w(m);
        const Inputs all = random_inputs(32, dim, random);
        std::vector<device::vector<float>> alone;
        const auto n_rows = static_cast<size_t>(m.n_rows);
        for (size_t t = 0; t < 32; ++t) {
            const auto begin = all.f32.begin() + static_cast<ptrdiff_t>(t) * dim;
            Tokens x(make_inputs({begin, begin + dim}, 1, dim));
            alone.push_back(product(w, x));
        }
        device::in_all_orders([&] {
            for (const int n_tokens : {1, 2, 3, 4, 7, 8, 9, 32}) {
                const auto end = all.f32.begin() + ptrdiff_t{n_tokens} * dim;
                Tokens x(make_inputs({all.f32.begin(), end}, n_tokens, dim));
                const device::vector<float> out = product(w, x);
                for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
                    const float* own = out.data() + t * n_rows;
                    CHECK_MSG(
                        same_bits({own, own + n_rows}, alone[t]),
                        "%s, token %zu of %d",
                        name_of(type),
                        t,
                        n_tokens
                    );
                }
            }
        });
    }
}

// Under a sanitizer, where everything takes long, only types that differ in what is added.
bool is_left_out(DType type) {
    return kIsSanitized && type != DType::f16 && type != DType::q4_0 && type != DType::q4_k &&
           type != DType::q6_k;
}

// Tokens [first, first + n) of `all`.
Inputs some_of(const Inputs& all, int first, int n) {
    const auto begin = all.f32.begin() + ptrdiff_t{first} * all.dim;
    return make_inputs({begin, begin + ptrdiff_t{n} * all.dim}, n, all.dim, all.bits);
}

// What steps of few tokens give, the first of n_first.
std::vector<float> in_pieces(const Weights& w, const Inputs& all, int n_first) {
    std::vector<float> joined;
    for (int first = 0, n = n_first; first < all.n_tokens; first += n, n = 32) {
        n = std::min(n, all.n_tokens - first);
        Tokens x(some_of(all, first, n));
        const device::vector<float> out = product(w, x);
        joined.insert(joined.end(), out.begin(), out.end());
    }
    return joined;
}

void check_any_cut(const Matrix& m, const Inputs& all) {
    const Weights w(m);
    Tokens x(all);
    const device::vector<float> out = product(w, x);
    CHECK_MSG(
        same_bits({out.data(), out.size()}, in_pieces(w, all, 5)),
        "%s, %d x %d, %d tokens of %d bits",
        name_of(m.type),
        m.n_rows,
        m.dim,
        all.n_tokens,
        all.bits
    );
}

// Lengths of rows around what is staged together, and around a round of all lanes.
std::vector<int> chunk_counts(DType type) {
    if (powerinfer::dtype_info(type).block_elements == 256) {
        return {8, 24, 32, 40, 72};
    }
    return {1, 2, 4, 5, 7, 28, 31, 32, 33, 36, 63, 64, 67};
}

void tokens_have_the_same_bits_however_they_are_cut() {
    Random random(10);
    for (const DType type : powerinfer::kWeightTypes) {
        if (is_left_out(type)) {
            continue;
        }
        for (const int n_chunks : chunk_counts(type)) {
            const Matrix m = random_matrix(type, 1 + n_chunks, 32 * n_chunks, random);
            check_any_cut(m, random_inputs(33 + n_chunks % 3 * 16, m.dim, random));
        }
        const int dim = sizes_of(type)[1];
        for (const int n_rows : {63, 64, 65, 130}) {
            const Matrix m = random_matrix(type, n_rows, dim, random);
            for (const int n_tokens : {33, 64, 65}) {
                check_any_cut(m, random_inputs(n_tokens, dim, random, n_tokens == 64 ? 8 : 16));
            }
        }
        check_any_cut(random_matrix(type, 70, dim, random), random_inputs(200, dim, random));
    }
}

void many_tokens_are_those_of_the_cpu() {
    Random random(11);
    for (const DType type : powerinfer::kWeightTypes) {
        if (is_left_out(type)) {
            continue;
        }
        const int dim = sizes_of(type).back();
        const Matrix m = random_matrix(type, 67, dim, random);
        Inputs in = random_inputs(45, dim, random);
        Tokens x(in);
        compare(m, in, product(Weights(m), x));
        for (int round = 0; round < 6; ++round) {
            const Matrix extreme = extreme_matrix(type, 3, dim, random);
            std::vector<float> values(40 * static_cast<size_t>(dim), -1.0f);
            for (size_t j = 0; j < values.size(); ++j) {
                values[j] = round % 2 == 0 || j % 3 == 0 ? -1.0f : 1.0f;
            }
            Inputs large = make_inputs(values, 40, dim, round < 3 ? 16 : 8);
            Tokens tokens(large);
            compare(extreme, large, product(Weights(extreme), tokens));
            check_any_cut(extreme, large);
        }
    }
}

void many_tokens_have_the_same_bits_in_any_order() {
    Random random(12);
    for (const DType type : powerinfer::kWeightTypes) {
        if (is_left_out(type)) {
            continue;
        }
        const int dim = powerinfer::dtype_info(type).block_elements == 256 ? 1280 : 1056;
        const Matrix m = random_matrix(type, 70, dim, random);
        const Inputs all = random_inputs(40, dim, random);
        const std::vector<float> want = in_pieces(Weights(m), all, 32);
        device::in_all_orders([&] {
            Tokens x(all);
            const device::vector<float> out = product(Weights(m), x);
            CHECK_MSG(same_bits({out.data(), out.size()}, want), "%s", name_of(type));
        });
    }
}

void a_row_has_the_same_bits_in_small_and_large_matrices() {
    Random random(7);
    for (const DType type : powerinfer::kWeightTypes) {
        const int block = powerinfer::dtype_info(type).block_elements;
        const int dim = block == 1 ? 24 : block;
        const Matrix few = random_matrix(type, 100, dim, random);
        Matrix many = {type, kManyRows, dim, {}}; // the same rows again and again
        for (int i = 0; i < kManyRows; ++i) {
            const uint8_t* row = few.row(i % few.n_rows);
            many.bytes.insert(many.bytes.end(), row, row + many.stride());
        }
        const Weights w_few(few);
        const Weights w_many(many);
        for (const int n_tokens : {1, 2, 4, 11}) {
            Inputs in = random_inputs(n_tokens, dim, random);
            Tokens x(in);
            const device::vector<float> a = product(w_few, x);
            const device::vector<float> b = product(w_many, x);
            size_t n_wrong = 0;
            for (size_t k = 0; k < b.size(); ++k) {
                const size_t t = k / kManyRows;
                n_wrong += same_bits(b[k], a[t * 100 + k % kManyRows % 100]) ? 0 : 1;
            }
            CHECK_MSG(n_wrong == 0, "%s, %d tokens: %zu wrong", name_of(type), n_tokens, n_wrong);
        }
    }
}

// Up to three products of one input; each with or without bias, written or added.
void groups_do_what_their_products_do() {
    Random random(8);
    constexpr int kDim = 256;
    constexpr int kGap = 3; // between the rows of out
    const std::vector<std::vector<DType>> groups = {
        {DType::q4_0, DType::q4_0},
        {DType::f16, DType::f16, DType::f16},
        {DType::q6_k, DType::q4_k},
        {DType::q4_k, DType::q6_k, DType::q4_k},
        {DType::q8_0, DType::f32, DType::bf16},
        {},
    };
    const int n_rows[] = {37, 4, 18};
    for (const std::vector<DType>& types : groups) {
        for (const int n_tokens : {1, 3, 10, 40}) {
            Inputs in = random_inputs(n_tokens, kDim, random);
            Tokens x(in);
            std::vector<std::unique_ptr<Weights>> weights;
            std::vector<device::vector<float>> biases;
            std::vector<device::vector<float>> before;
            std::vector<device::vector<float>> want;
            for (size_t k = 0; k < types.size(); ++k) {
                const int n = n_rows[k];
                const auto size = static_cast<size_t>((n_tokens - 1) * (n + kGap) + n);
                const Matrix m = random_matrix(types[k], n, kDim, random);
                weights.push_back(std::make_unique<Weights>(m));
                biases.push_back(device::copy(random.normals(static_cast<size_t>(n))));
                before.push_back(device::copy(random.normals(size)));
                const device::vector<float> products = product(*weights[k], x);
                want.push_back(before[k]);
                for (int t = 0; t < n_tokens; ++t) {
                    for (int i = 0; i < n; ++i) {
                        float& out = want[k][static_cast<size_t>(t * (n + kGap) + i)];
                        float value = products[static_cast<size_t>(t * n + i)];
                        value += k != 1 ? biases[k][static_cast<size_t>(i)] : 0.0f;
                        out = k != 0 ? out + value : value;
                    }
                }
            }
            device::in_all_orders([&] {
                std::vector<device::vector<float>> out = before;
                std::vector<DeviceProduct> products;
                for (size_t k = 0; k < types.size(); ++k) {
                    const float* bias = k != 1 ? biases[k].data() : nullptr;
                    products.push_back(
                        {weights[k]->view(), out[k].data(), n_rows[k] + kGap, bias, k != 0}
                    );
                }
                multiply(nullptr, x.view(), products);
                device::wait();
                for (size_t k = 0; k < types.size(); ++k) {
                    CHECK_MSG(
                        same_bits(out[k], want[k]),
                        "%s, product %zu of %zu, %d tokens",
                        name_of(types[k]),
                        k,
                        types.size(),
                        n_tokens
                    );
                }
            });
        }
    }
}

void more_than_three_products_are_refused() {
    Random random(9);
    Tokens x(random_inputs(1, 32, random));
    const std::vector<DeviceProduct> products(4);
    CHECK_ERROR(internal, "4 products", multiply(nullptr, x.view(), products));
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(products_are_those_of_the_cpu);
    CHECK_RUN(long_rows_are_summed_whole);
    CHECK_RUN(extreme_weights_do_not_overflow);
    CHECK_RUN(a_token_has_the_same_bits_alone_and_in_any_batch);
    CHECK_RUN(tokens_have_the_same_bits_however_they_are_cut);
    CHECK_RUN(many_tokens_are_those_of_the_cpu);
    CHECK_RUN(many_tokens_have_the_same_bits_in_any_order);
    CHECK_RUN(a_row_has_the_same_bits_in_small_and_large_matrices);
    CHECK_RUN(groups_do_what_their_products_do);
    CHECK_RUN(more_than_three_products_are_refused);
    return check::finish();
}
