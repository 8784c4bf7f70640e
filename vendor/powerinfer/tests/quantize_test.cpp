// The quantisers: half precision, blocks computed by hand from the rules of the format, and bounds
// on the error of a round trip.
#include "check.h"
#include "half.h"
#include "quantize.h"
#include "twin.h"

#include <algorithm>
#include <limits>

using namespace powerinfer;
using twin::Random;

namespace {

std::vector<uint8_t> quantize(DType type, const std::vector<float>& x) {
    const auto n = static_cast<int64_t>(x.size());
    std::vector<uint8_t> out(row_bytes(type, n));
    quantize_row(type, reinterpret_cast<std::byte*>(out.data()), x.data(), n);
    return out;
}

uint16_t half_at(const std::vector<uint8_t>& bytes, size_t offset) {
    return static_cast<uint16_t>(bytes[offset] | bytes[offset + 1] << 8);
}

double relative_rms(DType type, const std::vector<float>& x) {
    const auto bytes = quantize(type, x);
    const auto y = twin::row_values(type, bytes.data(), static_cast<int>(x.size()));
    double error = 0;
    double size = 0;
    for (size_t j = 0; j < x.size(); ++j) {
        const auto value = static_cast<double>(x[j]);
        error += (y[j] - value) * (y[j] - value);
        size += value * value;
    }
    return std::sqrt(error / size);
}

void every_half_survives_the_round_trip() {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<uint16_t>(bits);
        const uint8_t bytes[2] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
        const float value = f16_to_f32(half);
        const double exact = twin::half(bytes);
        if (std::isnan(exact)) {
            CHECK(std::isnan(value) && std::isnan(f16_to_f32(f32_to_f16(value))));
            CHECK_EQ(f32_to_f16(value) >> 15, half >> 15);
        } else {
            CHECK_EQ(static_cast<double>(value), exact);
            CHECK_EQ(std::signbit(value), std::signbit(exact));
            CHECK_EQ(f32_to_f16(value), half);
        }
    }
}

void halves_round_to_nearest_even() {
    for (uint16_t half = 0; half < 0x7c00; ++half) {
        const float low = f16_to_f32(half);
        const float high = half == 0x7bff ? 65536.0f : f16_to_f32(static_cast<uint16_t>(half + 1));
        const float middle = (low + high) / 2; // exact
        const auto even = static_cast<uint16_t>(half % 2 == 0 ? half : half + 1);
        CHECK_EQ(f32_to_f16(middle), even);
        CHECK_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), half);
        CHECK_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), half + 1);
        CHECK_EQ(f32_to_f16(-middle), even | 0x8000);
    }
    CHECK_EQ(f32_to_f16(1e30f), 0x7c00);
    CHECK_EQ(f32_to_f16(-HUGE_VALF), 0xfc00);
    CHECK_EQ(f32_to_f16(1e-45f), 0);
}

void bfloats_round_to_nearest_even() {
    CHECK_EQ(f32_to_bf16(1.0f), 0x3f80);
    CHECK_EQ(f32_to_bf16(bits_float(0x3f808000u)), 0x3f80);
    CHECK_EQ(f32_to_bf16(bits_float(0x3f808001u)), 0x3f81);
    CHECK_EQ(f32_to_bf16(bits_float(0x3f818000u)), 0x3f82);
    CHECK_EQ(f32_to_bf16(-HUGE_VALF), 0xff80);
    CHECK_EQ(f32_to_bf16(3.4e38f), 0x7f80);
    CHECK(std::isnan(bf16_to_f32(f32_to_bf16(bits_float(0x7f800001u)))));
    CHECK_EQ(bf16_to_f32(0xc0a0), -5.0f);
}

// max = -8 gives d = 1: q = trunc(x + 8.5).
void q4_0_follows_its_rule() {
    std::vector<float> x(32, 0.0f);
    x[3] = -8.0f;
    x[4] = 8.0f;  // as large, but later: does not choose the sign; 16.5 is cut to 15
    x[5] = 1.5f;  // 10.0: a tie goes up
    x[6] = -1.5f; // 7.0
    x[19] = 3.4f; // the high nibble of byte 3: 11
    const auto b = quantize(DType::q4_0, x);
    CHECK_EQ(half_at(b, 0), 0x3c00);
    CHECK_EQ(int{b[2 + 3]}, 0 | 11 << 4);
    CHECK_EQ(int{b[2 + 4]}, 15 | 8 << 4);
    CHECK_EQ(int{b[2 + 5]}, 10 | 8 << 4);
    CHECK_EQ(int{b[2 + 6]}, 7 | 8 << 4);
}

// d is stored rounded, but the steps come from the unrounded one.
void q4_0_uses_the_unrounded_scale() {
    std::vector<float> x(32, 0.0f);
    x[0] = -8.0f * 1.0009f; // d = 1.0009, stored as 1.0009766
    x[1] = 1.0009f * 0.49999f;
    x[2] = 1.0009f * 0.50001f; // 0.49996 of a stored step
    const auto b = quantize(DType::q4_0, x);
    CHECK_EQ(half_at(b, 0), 0x3c01);
    CHECK_EQ(b[2] & 15, 0);
    CHECK_EQ(b[3] & 15, 8);
    CHECK_EQ(b[4] & 15, 9);
}

// max = 16 gives d = -1: q = trunc(16.5 - x).
void q5_0_follows_its_rule() {
    std::vector<float> x(32, 0.0f);
    x[0] = 16.0f;   // 0
    x[1] = -16.0f;  // 32.5 is cut to 31
    x[17] = -2.25f; // 18.75: 18, fifth bit set
    x[18] = 5.0f;   // 11, fifth bit clear
    const auto b = quantize(DType::q5_0, x);
    CHECK_EQ(half_at(b, 0), 0xbc00);
    uint32_t fifth = 0;
    std::memcpy(&fifth, b.data() + 2, 4);
    CHECK_EQ(fifth, 0xffffffffu & ~(1u << 0) & ~(1u << 18)); // zeros are q = 16
    CHECK_EQ(int{b[6]}, 0);
    CHECK_EQ(int{b[7]}, 15 | 2 << 4);
    CHECK_EQ(int{b[8]}, 0 | 11 << 4);
}

// amax = 127 gives d = 1: q = x rounded half away from zero.
void q8_0_follows_its_rule() {
    std::vector<float> x(32, 0.0f);
    x[0] = -127.0f;
    x[1] = 2.5f;
    x[2] = -2.5f;
    x[31] = 100.4f;
    const auto b = quantize(DType::q8_0, x);
    CHECK_EQ(half_at(b, 0), 0x3c00);
    const int expected[] = {-127, 3, -3, 0};
    for (size_t j = 0; j < 4; ++j) {
        CHECK_EQ(int{static_cast<int8_t>(b[2 + j])}, expected[j]);
    }
    CHECK_EQ(int{b[33]}, 100);
}

// Multiples of 1/64 with all groups equal: the fit is exact, scale = 1/64 and S = that, d = -2^-13,
// all scales -128.
void q6_k_follows_its_rule() {
    std::vector<float> x(256);
    for (size_t j = 0; j < 256; ++j) {
        x[j] = static_cast<float>(static_cast<int>(j % 16) * 4 - 32) / 64.0f;
    }
    const auto b = quantize(DType::q6_k, x);
    CHECK_EQ(half_at(b, 208), f32_to_f16(-0x1p-13f));
    for (size_t i = 0; i < 16; ++i) {
        CHECK_EQ(int{static_cast<int8_t>(b[192 + i])}, -128);
    }
    for (size_t l = 0; l < 32; ++l) { // the four runs of a half are equal here
        const int q = static_cast<int>(l % 16) * 4;
        const int high = q >> 4;
        CHECK_EQ(int{b[l]}, (q & 15) | (q & 15) << 4);
        CHECK_EQ(int{b[128 + l]}, high | high << 2 | high << 4 | high << 6);
    }
    CHECK(relative_rms(DType::q6_k, x) == 0);
}

// Values on a grid of 6-bit scales and minima come back exactly. The grid: d = 1, dmin = 0.5.
void k_grids_survive(DType type, int top) {
    std::vector<float> x(256);
    for (size_t j = 0; j < 256; ++j) {
        const size_t sub = j / 32;
        const auto scale = static_cast<float>(sub == 5 ? 63 : 8 * sub + 1);
        const auto min = static_cast<float>(sub == 2 ? 63 : 9 * sub) * 0.5f;
        const auto q = static_cast<float>(j % 32 * static_cast<size_t>(top) / 31);
        x[j] = scale * q - min;
    }
    CHECK_MSG(relative_rms(type, x) < 1e-6, "%s: %g", dtype_info(type).name, relative_rms(type, x));
}

void k_blocks_on_the_grid_are_exact() {
    k_grids_survive(DType::q4_k, 15);
    k_grids_survive(DType::q5_k, 31);
}

struct Bound {
    DType type;
    double normal;  // on normal weights
    double shifted; // on weights of one sign
};

void round_trips_stay_within_bounds() {
    const Bound bounds[] = {
        {DType::f32, 0, 0},
        {DType::f16, 2.2e-4, 2.2e-4},
        {DType::bf16, 1.7e-3, 1.7e-3},
        {DType::q4_0, 8.7e-2, 5.1e-2},
        {DType::q5_0, 4.3e-2, 2.55e-2},
        {DType::q8_0, 5.4e-3, 3.2e-3},
        {DType::q4_k, 7.2e-2, 2.35e-2},
        {DType::q5_k, 3.6e-2, 1.25e-2},
        {DType::q6_k, 1.8e-2, 1.08e-2},
    };
    Random random(1);
    auto x = random.normals(65536);
    for (float& value : x) {
        value *= 0.02f;
    }
    auto shifted = x;
    for (float& value : shifted) {
        value -= 0.1f;
    }
    for (const Bound& bound : bounds) {
        const double normal = relative_rms(bound.type, x);
        const double one_sided = relative_rms(bound.type, shifted);
        const char* name = dtype_info(bound.type).name;
        std::printf("       %-5s %.3e normal, %.3e one-sided\n", name, normal, one_sided);
        CHECK_MSG(normal <= bound.normal, "%s: %g", name, normal);
        CHECK_MSG(one_sided <= bound.shifted, "%s: %g", name, one_sided);
    }
}

void zeros_stay_zeros() {
    for (DType type : twin::kWeightTypes) {
        const auto bytes = quantize(type, std::vector<float>(512, 0.0f));
        for (double value : twin::row_values(type, bytes.data(), 512)) {
            CHECK_EQ(value, 0.0);
        }
    }
}

// No value may trap, overflow an integer or leave the block; the sanitizers watch.
void odd_values_are_survived() {
    Random random(2);
    const float odd[] = {1e-45f, 1e-39f, 3e38f, -3e38f, HUGE_VALF, std::nanf(""), 65504.0f, 1e6f};
    for (DType type : twin::kWeightTypes) {
        for (float value : odd) {
            auto x = random.normals(512);
            x[7] = value;
            x[300] = -value;
            CHECK_EQ(quantize(type, x).size(), row_bytes(type, 512));
            const auto same = quantize(type, std::vector<float>(256, value));
            CHECK_EQ(same.size(), row_bytes(type, 256));
        }
    }
}

void types_are_known_by_id() {
    CHECK_EQ(dtype_info(DType::q6_k).name, std::string("q6_k"));
    CHECK_EQ(row_bytes(DType::q4_0, 64), size_t{36});
    CHECK_EQ(row_bytes(DType::bf16, 3), size_t{6});
    const int known[] = {0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30};
    for (int id = 0; id < 64; ++id) {
        const bool listed = std::find(std::begin(known), std::end(known), id) != std::end(known);
        CHECK_EQ(dtype_info(static_cast<uint32_t>(id)) != nullptr, listed);
    }
    CHECK(dtype_info(std::numeric_limits<uint32_t>::max()) == nullptr);
    int n_weights = 0;
    for (int id : known) {
        n_weights += dtype_info(static_cast<uint32_t>(id))->is_weight ? 1 : 0;
    }
    CHECK_EQ(n_weights, 9);
}

} // namespace

int main() {
    CHECK_RUN(every_half_survives_the_round_trip);
    CHECK_RUN(halves_round_to_nearest_even);
    CHECK_RUN(bfloats_round_to_nearest_even);
    CHECK_RUN(q4_0_follows_its_rule);
    CHECK_RUN(q4_0_uses_the_unrounded_scale);
    CHECK_RUN(q5_0_follows_its_rule);
    CHECK_RUN(q8_0_follows_its_rule);
    CHECK_RUN(q6_k_follows_its_rule);
    CHECK_RUN(k_blocks_on_the_grid_are_exact);
    CHECK_RUN(round_trips_stay_within_bounds);
    CHECK_RUN(zeros_stay_zeros);
    CHECK_RUN(odd_values_are_survived);
    CHECK_RUN(types_are_known_by_id);
    return check::finish();
}
