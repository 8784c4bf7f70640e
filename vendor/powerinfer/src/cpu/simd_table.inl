// The table of the instruction set whose file includes this.
#pragma once

#include "simd_attend.inl"
#include "simd_axpy.inl"
#include "simd_axpy_floats.inl"
#include "simd_columns.inl"
#include "simd_dot.inl"
#include "simd_math.inl"
#include "simd_select.inl"

namespace powerinfer::cpu {
namespace {

template <typename W>
constexpr TypeOps kFloatOps = {dot_floats<W>, axpy_floats<W>, dequantize<W>};

template <typename W>
constexpr TypeOps kBlockOps = {dot_blocks<W>, axpy_rows<W>, dequantize<W>};

constexpr Ops kTable = {
    Simd::kName,
    {kFloatOps<WeightF32>,
     kFloatOps<WeightF16>,
     kFloatOps<WeightBf16>,
     kBlockOps<WeightQ4_0>,
     kBlockOps<WeightQ5_0>,
     kBlockOps<WeightQ8_0>,
     kBlockOps<WeightQ4K>,
     kBlockOps<WeightQ5K>,
     kBlockOps<SelectQ6K<Simd>::Type>},
    packed_bytes,
    pack,
    rms_norm,
    layer_norm,
    softmax,
    attend,
    silu,
    dot_columns,
    select,
};

} // namespace
} // namespace powerinfer::cpu
