// The emulator of the device: the functions that kernels call.
#include "check.h"
#include "cuda/runtime.h"
#include "twin.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

using namespace powerinfer;

bool is_nan(uint16_t half) {
    return (half & 0x7fff) > 0x7c00;
}

double value_of(uint16_t half) {
    const uint8_t bytes[2] = {static_cast<uint8_t>(half), static_cast<uint8_t>(half >> 8)};
    return twin::half(bytes);
}

void halves_are_converted_as_the_standard_says() {
    int wrong = 0;
    for (int i = 0; i < 65536; ++i) {
        const auto bits = static_cast<uint16_t>(i);
        const float value = __half2float(__ushort_as_half(bits));
        const uint16_t back = __half_as_ushort(__float2half(value));
        if (is_nan(bits)) {
            wrong += !std::isnan(value) || !is_nan(back);
            continue;
        }
        wrong += static_cast<double>(value) != value_of(bits) || back != bits;
        // Up to the next one: the middle goes to the even one, all else to the nearer one.
        if ((bits & 0x7fff) >= 0x7bff) {
            continue;
        }
        const auto next = static_cast<uint16_t>(bits + 1);
        const auto middle = static_cast<float>((value_of(bits) + value_of(next)) / 2);
        const float away = std::copysign(std::numeric_limits<float>::infinity(), value);
        wrong += __half_as_ushort(__float2half_rn(middle)) != (bits % 2 == 0 ? bits : next);
        wrong += __half_as_ushort(__float2half_rn(std::nextafter(middle, away))) != next;
        wrong += __half_as_ushort(__float2half_rn(std::nextafter(middle, -away))) != bits;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(__half_as_ushort(__float2half(65519.99f)), 0x7bff);
    CHECK_EQ(__half_as_ushort(__float2half(-65520.0f)), 0xfc00);
}

void bfloats_are_rounded_to_nearest_even() {
    const auto bits = [](float value) { return __float2bfloat16(value).bits; };
    CHECK_EQ(bits(1.0f), 0x3f80);
    CHECK_EQ(bits(__uint_as_float(0x3f808000)), 0x3f80);
    CHECK_EQ(bits(__uint_as_float(0x3f818000)), 0x3f82);
    CHECK_EQ(bits(__uint_as_float(0x3f808001)), 0x3f81);
    CHECK_EQ(bits(std::numeric_limits<float>::max()), 0x7f80);
    CHECK(std::isnan(__bfloat162float(__float2bfloat16(std::nanf("")))));
    CHECK_EQ(__bfloat162float(__float2bfloat16(-2.5f)), -2.5f);
}

void words_are_taken_apart() {
    CHECK_EQ(__byte_perm(0x33221100, 0x77665544, 0x7410), 0x77441100u);
    CHECK_EQ(__byte_perm(0x80ff7f01, 0, 0xba98), 0xffff0000u); // signs
    CHECK_EQ(__funnelshift_r(0x11223344, 0xaabbccdd, 8), 0xdd112233u);
    CHECK_EQ(__funnelshift_l(0x11223344, 0xaabbccdd, 8), 0xbbccdd11u);
    CHECK_EQ(__funnelshift_r(5, 7, 32), 5u);
    CHECK_EQ(__ffs(0), 0);
    CHECK_EQ(__ffs(0x50), 5);
    CHECK_EQ(__clz(1), 31);
    CHECK_EQ(__clz(0), 32);
    CHECK_EQ(__popc(0xf0f0u), 8);
    CHECK_EQ(__brev(0x1u), 0x80000000u);
    CHECK_EQ(__brev(0xf0000001u), 0x8000000fu);
    CHECK_EQ(__dp4a(0x01ff807f, 0x02030405, 10), 10 + 2 - 3 - 512 + 635);
    CHECK_EQ(__dp4a(0x01ff807fu, 0x02030405u, 10u), 10u + 2 + 765 + 512 + 635);
    CHECK_EQ(__float2int_rn(2.5f), 2);
    CHECK_EQ(__float2int_rn(-3.5f), -4);
    CHECK_EQ(__float2int_rz(-3.5f), -3);
    CHECK_EQ(__float2int_rd(-3.5f), -4);
    CHECK_EQ(__float2int_ru(-3.5f), -3);
}

} // namespace

int main() {
    CHECK_RUN(halves_are_converted_as_the_standard_says);
    CHECK_RUN(bfloats_are_rounded_to_nearest_even);
    CHECK_RUN(words_are_taken_apart);
    return check::finish();
}
