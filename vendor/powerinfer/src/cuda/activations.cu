// Rounds and normalises activations.
#include "packed.cuh"

#include <cmath>

namespace powerinfer::cuda {

namespace {

constexpr int kPackWarps = 8;
constexpr int kKept = 8; // elements that a thread of a norm holds in registers

__global__ void pack_kernel(Packed out, const float* __restrict__ x, int n_blocks, int max_step) {
    const int block =
        static_cast<int>(blockIdx.x) * kPackWarps + static_cast<int>(threadIdx.x) / kWarp;
    if (block < n_blocks) {
        const size_t offset = static_cast<size_t>(block) * kWarp;
        pack_lane(out, offset, x[offset + static_cast<size_t>(lane_id())], max_step);
    }
}

struct Element {
    float x;
    float weight;
    float bias;
};

// A block for each token. Thread i has the elements i, i + n_threads, .., so that a warp has whole
// blocks of 32. Everything is requested before anything is used: `add` may lie across the bus.
// Elements beyond those that are kept in registers are read again in each pass.
template <int kWarps>
__global__ void __launch_bounds__(kWarps* kWarp) normalize_kernel(Normalize op) {
    constexpr int kThreads = kWarps * kWarp;
    const int dim = op.dim;
    const int thread = static_cast<int>(threadIdx.x);
    const size_t token = blockIdx.x;
    const size_t row = op.rows != nullptr ? static_cast<size_t>(op.rows[token]) : token;
    float* x = op.x + row * static_cast<size_t>(dim);
    const float* add = op.add != nullptr ? op.add + row * static_cast<size_t>(dim) : nullptr;
    const size_t begin = token * static_cast<size_t>(dim);

    const auto load = [&](int j) {
        const float bias = op.bias != nullptr ? __ldg(op.bias + j) : 0.0f;
        return Element{x[j], __ldg(op.weight + j), bias};
    };
    float added[kKept];
    Element kept[kKept];
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
        const int j = thread + k * kThreads;
        added[k] = add != nullptr && j < dim ? add[j] : 0.0f;
        kept[k] = j < dim ? load(j) : Element{};
    }
    if (add != nullptr) {
#pragma unroll
        for (int k = 0; k < kKept; ++k) {
            const int j = thread + k * kThreads;
            if (j < dim) {
                kept[k].x += added[k];
                x[j] = kept[k].x;
            }
        }
        for (int j = thread + kKept * kThreads; j < dim; j += kThreads) {
            x[j] += add[j];
        }
    }
    const auto for_each = [&](auto&& body) {
#pragma unroll
        for (int k = 0; k < kKept; ++k) {
            const int j = thread + k * kThreads;
            if (j < dim) {
                body(j, kept[k]);
            }
        }
        for (int j = thread + kKept * kThreads; j < dim; j += kThreads) {
            body(j, load(j));
        }
    };

    const auto n = static_cast<float>(dim);
    float mean = 0.0f;
    if (op.norm == Norm::layer) {
        float sum = 0.0f;
        for_each([&](int, const Element& element) { sum += element.x; });
        mean = block_sum<kWarps>(sum) / n;
    }
    float squares = 0.0f;
    float offsets = 0.0f;
    for_each([&](int, const Element& element) {
        const float offset = element.x - mean;
        offsets += offset;
        squares = fmaf(offset, offset, squares);
    });
    float variance = block_sum<kWarps>(squares) / n;
    float shift = 0.0f;
    if (op.norm == Norm::layer) {
        // What rounding left in the mean: offsets are small, so their own mean is far more exact.
        shift = block_sum<kWarps>(offsets) / n;
        variance = fmaf(-shift, shift, variance);
    }
    const float factor = 1.0f / sqrtf(variance + op.eps);
    for_each([&](int j, const Element& element) {
        const float scaled = (element.x - mean - shift) * factor;
        const float value = fmaf(scaled, element.weight, element.bias);
        const size_t at = begin + static_cast<size_t>(j);
        if (op.out != nullptr) {
            op.out[at] = value;
        }
        const size_t block = at - static_cast<size_t>(lane_id());
        if (op.packed.low != nullptr) {
            pack_lane(op.packed, block, value, op.max_step);
        }
        if (op.packed_x.low != nullptr) {
            pack_lane(op.packed_x, block, element.x, op.max_step);
        }
    });
}

template <int kWarps>
void launch_normalize(Stream stream, const Normalize& op) {
    const auto n_blocks = static_cast<unsigned>(op.n_tokens);
    PI_LAUNCH((normalize_kernel<kWarps>), n_blocks, kWarps * kWarp, 0, stream)(op);
    check_launch("normalize");
}

} // namespace

void pack(Stream stream, const Packed& out, const float* x, int n_tokens, int dim, int max_step) {
    const int n_blocks = n_tokens * (dim / kWarp);
    const auto grid = static_cast<unsigned>(ceil_div(n_blocks, kPackWarps));
    PI_LAUNCH((pack_kernel), grid, kPackWarps * kWarp, 0, stream)(out, x, n_blocks, max_step);
    check_launch("pack");
}

void normalize(Stream stream, const Normalize& op) {
    constexpr int kFewWarps = 4;
    if (op.dim <= kFewWarps * kWarp * kKept) {
        launch_normalize<kFewWarps>(stream, op);
    } else {
        launch_normalize<32>(stream, op);
    }
}

} // namespace powerinfer::cuda
