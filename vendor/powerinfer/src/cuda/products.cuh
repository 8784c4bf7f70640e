// What the kernels for few tokens (multiply.cu) and for many (tiles.cu) share: products of one type
// of weights in one launch.
#pragma once

#include "dot.cuh"

namespace powerinfer::cuda {

inline constexpr int kMaxProducts = 3;

struct ProductGroup {
    DeviceProduct products[kMaxProducts];
    int ends[kMaxProducts]; // blocks of this product and those before it

    // With a block for so many rows. Returns the group, and in the last end the number of blocks.
    static ProductGroup of(std::span<const DeviceProduct* const> products, int rows_of_block) {
        ProductGroup group = {};
        int end = 0;
        for (size_t k = 0; k < kMaxProducts; ++k) {
            if (k < products.size()) {
                group.products[k] = *products[k];
                end += ceil_div(products[k]->w.rows, rows_of_block);
            }
            group.ends[k] = end;
        }
        return group;
    }
    int n_blocks() const { return ends[kMaxProducts - 1]; }
};

// The product that a block is of, and its number among the blocks of that.
struct OwnProduct {
    const DeviceProduct& product;
    int block;
};

__device__ __forceinline__ OwnProduct own_product(const ProductGroup& group, int block) {
    const int k = (block >= group.ends[0] ? 1 : 0) + (block >= group.ends[1] ? 1 : 0);
    return {group.products[k], block - (k == 0 ? 0 : group.ends[k - 1])};
}

// Row i with token t, which both are there.
__device__ __forceinline__ void put_product(
    const DeviceProduct& product, int t, int i, float value
) {
    if (product.bias != nullptr) {
        value += product.bias[i];
    }
    float* out = product.out + static_cast<size_t>(t) * static_cast<size_t>(product.out_stride) + i;
    *out = product.adds ? *out + value : value;
}

// Of quantised types; made for many tokens, and as good for few. The bits are those of
// multiply_kernel.
void multiply_tiles(
    Stream stream,
    const DeviceActivations& x,
    std::span<const DeviceProduct* const> products,
    DType type
);

} // namespace powerinfer::cuda
