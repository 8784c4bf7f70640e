// What the tests of kernels share: weights and activations as a device has them.
#pragma once

#include "cuda/kernels.h"
#include "cuda/weights.h"
#include "op_cases.h"
#include "test_device.h"

namespace cuda_cases {

using powerinfer::DType;
using powerinfer::cuda::BlockScale;
using powerinfer::cuda::DeviceActivations;
using powerinfer::cuda::DeviceMatrix;
using powerinfer::cuda::Packed;

// The rows of a matrix, exactly as long as they must be.
class Weights {
public:
    explicit Weights(const op_cases::Matrix& m) : Weights(m, m.rows(nullptr, m.n_rows)) {}
    Weights(const op_cases::Matrix& m, const powerinfer::cpu::Rows& rows)
        : type_(m.type), n_rows_(rows.n), dim_(m.dim),
          body_(powerinfer::cuda::body_bytes(m.type, rows.n, m.dim)),
          scales_(powerinfer::cuda::scales_bytes(m.type, rows.n, m.dim)) {
        powerinfer::cuda::split_rows(
            reinterpret_cast<std::byte*>(body_.data()),
            reinterpret_cast<std::byte*>(scales_.data()),
            m.type,
            rows,
            m.dim
        );
    }

    DeviceMatrix view() const { return {body_.data(), scales_.data(), type_, n_rows_, dim_}; }
    const device::vector<uint8_t>& body() const { return body_; }
    const device::vector<uint8_t>& scales() const { return scales_; }

private:
    DType type_;
    int n_rows_;
    int dim_;
    device::vector<uint8_t> body_;
    device::vector<uint8_t> scales_;
};

// Room for rounded activations of n elements.
struct PackedRoom {
    explicit PackedRoom(size_t n) : low(n), high(n), blocks(n / 32) {}

    Packed view() { return {low.data(), high.data(), blocks.data()}; }

    device::vector<int8_t> low;
    device::vector<int8_t> high;
    device::vector<BlockScale> blocks;
};

// Inputs for both kinds of weights; packed where dim allows it.
class Tokens {
public:
    explicit Tokens(const op_cases::Inputs& in)
        : n_tokens_(in.n_tokens), dim_(in.dim), f32_(device::copy(in.f32)),
          packed_(32 * in.blocks.size()) {
        for (size_t b = 0; b < in.blocks.size(); ++b) {
            BlockScale& block = packed_.blocks[b];
            block = {in.blocks[b].scale, {0, 0}, 0};
            for (size_t j = 0; j < 32; ++j) {
                const int q = in.blocks[b].q[j];
                const auto low = static_cast<int8_t>(q);
                packed_.low[32 * b + j] = low;
                packed_.high[32 * b + j] = static_cast<int8_t>((q - low) / 256);
                block.sums[j / 16] += q;
            }
        }
    }

    DeviceActivations view() { return {f32_.data(), packed_.view(), n_tokens_, dim_}; }

private:
    int n_tokens_;
    int dim_;
    device::vector<float> f32_;
    PackedRoom packed_;
};

} // namespace cuda_cases
