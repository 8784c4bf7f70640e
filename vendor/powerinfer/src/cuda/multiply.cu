// Products of rows of weights with tokens: a few rows for each warp, or tiles where tokens are
// many.
#include "products.cuh"

#include <array>

namespace powerinfer::cuda {

namespace {

constexpr int kWarps = 4; // of a block
constexpr int kThreads = kWarps * kWarp;
// Matrices with fewer rows in all give a warp one row only, or many processors would have no work.
constexpr int kFewRows = 4096;

// With more tokens tensor cores do the products of bytes. What is faster at fewer is not measured.
constexpr int kFewTokens = 32;

// Blocks that a processor should hold at a time: what the registers allow without spilling.
constexpr int blocks_per_processor(int n_tokens) {
    return n_tokens == 1 ? 5 : n_tokens == 2 ? 4 : n_tokens == 4 ? 3 : 2;
}

template <DType type, int R, int T>
__global__ void __launch_bounds__(kThreads, blocks_per_processor(T)) multiply_kernel(
    const __grid_constant__ ProductGroup group, const __grid_constant__ DeviceActivations x
) {
    const auto [product, block] = own_product(group, static_cast<int>(blockIdx.x));
    const int warp = block * kWarps + static_cast<int>(threadIdx.x) / kWarp;
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
    const int own = reversed<R * T>(lane_id());
    const int i = row + own % R;
    const bool writes = lane_id() < R * T && i < n_rows;
    for (int first = 0; first < end_of_groups<T>(x.n_tokens); first += T) {
        const float value = dot_rows_apart<type, R, T>(rows, x, first);
        const int t = first + own / R;
        if (writes && t < x.n_tokens) {
            put_product(product, t, i, value);
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
    if (x.n_tokens > kFewTokens && dtype_info(type).is_quantized) {
        multiply_tiles(stream, x, products, type);
        return;
    }
    for_type(type, [&]<DType kType>() {
        for_tokens(x.n_tokens, [&]<int T>() {
            const auto run = [&]<int R>() {
                const ProductGroup group = ProductGroup::of(products, kWarps * R);
                const auto grid = static_cast<unsigned>(group.n_blocks());
                PI_LAUNCH((multiply_kernel<kType, R, T>), grid, kThreads, 0, stream)
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
