// Rounding and norms on the device against the CPU's scalar operators.
#include "check.h"
#include "cuda_cases.h"
#include "sanitized.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace {

using namespace powerinfer;
using namespace powerinfer::cuda;
using cuda_cases::PackedRoom;
using op_cases::same_bits;
using twin::Random;

constexpr int kStep16 = cpu::max_step(16);

void check_rounded(const PackedRoom& is, std::span<const float> x, int bits, const char* what) {
    for (size_t b = 0; b < x.size() / 32; ++b) {
        const cpu::RoundedBlock wanted = cpu::round_block(x.data() + 32 * b, bits);
        int sums[2] = {0, 0};
        bool same = same_bits(is.blocks[b].scale, wanted.scale);
        for (size_t j = 0; j < 32; ++j) {
            same = same && 256 * is.high[32 * b + j] + is.low[32 * b + j] == wanted.q[j];
            sums[j / 16] += wanted.q[j];
        }
        same = same && is.blocks[b].sums[0] == sums[0] && is.blocks[b].sums[1] == sums[1];
        CHECK_MSG(same, "%s: block %zu of %zu, %d bits", what, b, x.size() / 32, bits);
    }
}

void packing_gives_the_bits_of_the_cpu() {
    Random random(1);
    for (const int dim : {32, 96, 352, 4096}) {
        for (const int n_tokens : {1, 2, 3, 8, 9, 32}) {
            if (dim == 4096 && n_tokens > 2) {
                continue;
            }
            const auto n = static_cast<size_t>(n_tokens) * static_cast<size_t>(dim);
            device::vector<float> x = device::copy(random.normals(n));
            x[n - 5] = std::numeric_limits<float>::infinity();
            for (const int bits : {16, 8}) {
                device::in_all_orders([&] {
                    PackedRoom out(n);
                    pack(nullptr, out.view(), x.data(), n_tokens, dim, cpu::max_step(bits));
                    device::wait();
                    check_rounded(out, x, bits, "pack");
                });
            }
        }
    }
}

struct NormCase {
    Norm norm;
    int dim;
    int n_tokens;
    bool adds;
    bool picks; // rows of x, in another order
    bool has_bias;
    float mean; // of x, beside a deviation of 1
};

// x, how it is afterwards, and the rows of it that are normalised.
struct NormData {
    device::vector<float> x;
    device::vector<float> add;
    device::vector<float> weight;
    device::vector<float> bias;
    std::vector<int32_t> rows;
    device::vector<float> x_after;
    std::vector<float> inputs; // (T, dim)
    std::vector<float> wanted; // (T, dim)
};

constexpr float kEpsilon = 1e-5f;

NormData make_data(const NormCase& c, Random& random) {
    NormData data;
    const auto dim = static_cast<size_t>(c.dim);
    const auto n_tokens = static_cast<size_t>(c.n_tokens);
    const size_t n_rows = c.picks ? n_tokens + 3 : n_tokens;
    data.x = device::copy(random.normals(n_rows * dim));
    for (float& value : data.x) {
        value += c.mean;
    }
    data.weight = device::copy(random.normals(dim));
    data.bias = device::copy(random.normals(dim));
    data.add = device::copy(random.normals(n_rows * dim));
    data.x_after = data.x;
    data.wanted.resize(n_tokens * dim);
    for (size_t t = 0; t < n_tokens; ++t) {
        const size_t row = c.picks ? n_rows - 1 - t : t;
        data.rows.push_back(static_cast<int32_t>(row));
        for (size_t i = row * dim; c.adds && i < (row + 1) * dim; ++i) {
            data.x_after[i] += data.add[i];
        }
        const float* input = data.x_after.data() + row * dim;
        data.inputs.insert(data.inputs.end(), input, input + dim);
        float* out = data.wanted.data() + t * dim;
        const float* weight = data.weight.data();
        if (c.norm == Norm::rms) {
            cpu::scalar_ops().rms_norm(out, input, weight, kEpsilon, c.dim);
            for (size_t j = 0; c.has_bias && j < dim; ++j) {
                out[j] += data.bias[j];
            }
        } else {
            const float* bias = c.has_bias ? data.bias.data() : nullptr;
            cpu::scalar_ops().layer_norm(out, input, weight, bias, kEpsilon, c.dim);
        }
    }
    return data;
}

struct NormResult {
    device::vector<float> x;
    device::vector<float> out;
};

// Of tokens [begin, end); rounded forms are checked on the way.
NormResult run(const NormCase& c, const NormData& data, size_t begin, size_t end) {
    const auto dim = static_cast<size_t>(c.dim);
    const size_t n = (end - begin) * dim;
    NormResult result = {data.x, device::vector<float>(n)};
    const device::vector<int32_t> rows(
        data.rows.begin() + static_cast<std::ptrdiff_t>(begin),
        data.rows.begin() + static_cast<std::ptrdiff_t>(end)
    );
    const bool is_rounded = c.dim % 32 == 0;
    PackedRoom packed(is_rounded ? n : 0);
    PackedRoom packed_x(is_rounded ? n : 0);
    const Normalize op = {
        .x = result.x.data() + (c.picks ? 0 : begin * dim),
        .rows = c.picks ? rows.data() : nullptr,
        .add = c.adds ? data.add.data() + (c.picks ? 0 : begin * dim) : nullptr,
        .n_tokens = static_cast<int>(end - begin),
        .dim = c.dim,
        .norm = c.norm,
        .weight = data.weight.data(),
        .bias = c.has_bias ? data.bias.data() : nullptr,
        .eps = kEpsilon,
        .max_step = kStep16,
        .out = result.out.data(),
        .packed = is_rounded ? packed.view() : Packed{},
        .packed_x = is_rounded ? packed_x.view() : Packed{},
    };
    normalize(nullptr, op);
    device::wait();
    if (is_rounded) {
        check_rounded(packed, result.out, 16, "packed");
        const auto from = data.inputs.begin() + static_cast<std::ptrdiff_t>(begin * dim);
        const std::vector<float> inputs(from, from + static_cast<std::ptrdiff_t>(n));
        check_rounded(packed_x, inputs, 16, "packed_x");
    }
    return result;
}

void check_norm(const NormCase& c, Random& random) {
    const NormData data = make_data(c, random);
    const auto n_tokens = static_cast<size_t>(c.n_tokens);
    const NormResult first = run(c, data, 0, n_tokens);
    CHECK_MSG(same_bits(first.x, data.x_after), "x, dim %d", c.dim);
    // Where the mean is large, the rounding of x to float is what there is to lose.
    const double tolerance = 4e-6 * (1 + std::abs(static_cast<double>(c.mean)) * 0.05);
    for (size_t i = 0; i < data.wanted.size(); ++i) {
        const auto wanted = static_cast<double>(data.wanted[i]);
        const double error = std::abs(static_cast<double>(first.out[i]) - wanted);
        CHECK_MSG(
            error <= tolerance * (1 + std::abs(wanted)),
            "norm %d, dim %d, mean %g: element %zu is %g, not %g",
            static_cast<int>(c.norm),
            c.dim,
            static_cast<double>(c.mean),
            i,
            static_cast<double>(first.out[i]),
            wanted
        );
    }
    device::in_all_orders([&] {
        const NormResult again = run(c, data, 0, n_tokens);
        CHECK_MSG(same_bits(again.out, first.out), "order, dim %d", c.dim);
        CHECK_MSG(same_bits(again.x, first.x), "order of x, dim %d", c.dim);
    });
    const size_t last = n_tokens - 1;
    const NormResult alone = run(c, data, last, n_tokens);
    const auto at = first.out.end() - c.dim;
    CHECK_MSG(same_bits(alone.out, {at, first.out.end()}), "alone, dim %d", c.dim);
}

void norms_are_those_of_the_cpu() {
    Random random(2);
    for (const int dim : {1, 31, 32, 33, 172, 256, 1000, 1024, 1056, 4096, 8192, 8224, 9001}) {
        if (kIsSanitized && dim > 2000) {
            continue; // the same code, for minutes
        }
        for (const Norm norm : {Norm::rms, Norm::layer}) {
            const int n_tokens = dim > 1100 ? 2 : 1 + random.below(9);
            check_norm({norm, dim, n_tokens, false, false, false, 0}, random);
            check_norm({norm, dim, n_tokens, true, false, true, 0}, random);
            check_norm({norm, dim, n_tokens, false, true, norm == Norm::layer, 0}, random);
            check_norm({norm, dim, n_tokens, true, true, true, 0}, random);
        }
    }
    check_norm({Norm::rms, 96, 32, true, false, false, 0}, random);
}

void layer_norm_does_not_cancel() {
    Random random(3);
    for (const int dim : {172, 4096}) {
        check_norm({Norm::layer, dim, 2, false, false, true, 1000.0f}, random);
        check_norm({Norm::layer, dim, 2, false, false, false, -1e5f}, random);
    }
}

void outputs_may_be_absent() {
    Random random(4);
    constexpr int kDim = 64;
    device::vector<float> x = device::copy(random.normals(kDim));
    const device::vector<float> before = x;
    const device::vector<float> weight = device::copy(random.normals(kDim));
    const device::vector<float> add = device::copy(random.normals(kDim));
    PackedRoom packed_x(kDim);
    Normalize op = {};
    op.x = x.data();
    op.add = add.data();
    op.n_tokens = 1;
    op.dim = kDim;
    op.weight = weight.data();
    op.eps = kEpsilon;
    op.max_step = cpu::max_step(8);
    op.packed_x = packed_x.view();
    normalize(nullptr, op);
    device::wait();
    for (size_t j = 0; j < kDim; ++j) {
        CHECK_EQ(x[j], before[j] + add[j]);
    }
    check_rounded(packed_x, x, 8, "packed_x alone");
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(packing_gives_the_bits_of_the_cpu);
    CHECK_RUN(norms_are_those_of_the_cpu);
    CHECK_RUN(layer_norm_does_not_cancel);
    CHECK_RUN(outputs_may_be_absent);
    return check::finish();
}
