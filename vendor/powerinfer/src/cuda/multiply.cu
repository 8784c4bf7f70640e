// Products of rows of weights with tokens: a few rows for each warp.
#include "dot.cuh"

#include <array>

namespace powerinfer::cuda {

namespace {

constexpr int kMaxProducts = 3;
constexpr int kWarps = 4; // of a block
constexpr int kThreads = kWarps * kWarp;
// Matrices with fewer rows in all give a warp one row only, or many processors would have no work.
constexpr int kFewRows = 4096;

// Products of one type, which share a launch.
struct Group {
    DeviceProduct products[kMaxProducts];
    int ends[kMaxProducts]; // blocks of this product and those before it
};

// Blocks that a processor should hold at a time: what the registers allow without spilling.
constexpr int blocks_per_processor(int n_tokens) {
    return n_tokens == 1 ? 5 : n_tokens == 2 ? 4 : n_tokens == 4 ? 3 : 2;
}

template <DType type, int R, int T>
__global__ void __launch_bounds__(kThreads, blocks_per_processor(T)) multiply_kernel(
    const __grid_constant__ Group group, const __grid_constant__ DeviceActivations x
) {
    const auto block = static_cast<int>(blockIdx.x);
    const int k = (block >= group.ends[0] ? 1 : 0) + (block >= group.ends[1] ? 1 : 0);
    const DeviceProduct& product = group.products[k];
    const int warp =
        (block - (k == 0 ? 0 : group.ends[k - 1])) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    const int row = warp * R;
    const int n_rows = product.w.rows;
    if (row >= n_rows) {
        return;
    }
    Row rows[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
        rows[r] = row_of<type>(product.w, min(row + r, n_rows - 1));
    }
    // The product that this lane writes.
    constexpr int kLanes = kWarp / (R * T);
    const int lane = lane_id();
    const int i = row + lane / kLanes % R;
    const bool writes = lane % kLanes == 0 && i < n_rows;
    for (int first = 0; first < end_of_groups<T>(x.n_tokens); first += T) {
        float value = dot_rows_apart<type, R, T>(rows, x, first);
        const int t = first + lane / kLanes / R;
        if (writes && t < x.n_tokens) {
            if (product.bias != nullptr) {
                value += product.bias[i];
            }
            float* out =
                product.out + static_cast<size_t>(t) * static_cast<size_t>(product.out_stride) + i;
            *out = product.adds ? *out + value : value;
        }
    }
}

void launch(
    Stream stream,
    const DeviceActivations& x,
    std::span<const DeviceProduct* const> products,
    DType type
) {
    int n_rows = 0;
    for (const DeviceProduct* product : products) {
        n_rows += product->w.rows;
    }
    if (n_rows == 0) {
        return;
    }
    for_type(type, [&]<DType kType>() {
        for_tokens(x.n_tokens, [&]<int T>() {
            const auto run = [&]<int R>() {
                Group group = {};
                int end = 0;
                for (size_t k = 0; k < kMaxProducts; ++k) {
                    if (k < products.size()) {
                        group.products[k] = *products[k];
                        end += ceil_div(products[k]->w.rows, kWarps * R);
                    }
                    group.ends[k] = end;
                }
                PI_LAUNCH(
                    (multiply_kernel<kType, R, T>), static_cast<unsigned>(end), kThreads, 0, stream
                )
                (group, x);
                check_launch("multiply");
            };
            if (n_rows < kFewRows) {
                run.template operator()<1>();
            } else {
                run.template operator()<(T < kTokenGroup ? 2 : 4)>();
            }
        });
    });
}

} // namespace

void multiply(Stream stream, const DeviceActivations& x, std::span<const DeviceProduct> products) {
    PI_CHECK(
        products.size() <= kMaxProducts, internal, "%zu products in one call", products.size()
    );
    bool done[kMaxProducts] = {};
    for (size_t i = 0; i < products.size(); ++i) {
        if (done[i]) {
            continue;
        }
        std::array<const DeviceProduct*, kMaxProducts> same;
        size_t n = 0;
        for (size_t k = i; k < products.size(); ++k) {
            if (products[k].w.type == products[i].w.type) {
                same[n++] = &products[k];
                done[k] = true;
            }
        }
        launch(stream, x, {same.data(), n}, products[i].w.type);
    }
}

} // namespace powerinfer::cuda
