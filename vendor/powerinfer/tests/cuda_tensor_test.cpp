// Products of matrices of bytes by one warp, against plain sums.
#include "check.h"
#include "cuda/tensor.cuh"
#include "test_device.h"
#include "twin.h"

#include <cstdint>
#include <vector>

namespace {

using namespace powerinfer::cuda;

constexpr int kRows = 16;
constexpr int kColumns = 8;

// c (16, 8) += a (16, 16 * kSteps) times b (8, 16 * kSteps), transposed.
template <int kSteps>
__device__ void multiply_matrices(int* c, const uint32_t* a, const uint32_t* b) {
    const int g = lane_id() / 4;
    const int i = lane_id() % 4;
    int sums[4];
    uint32_t own_a[2 * kSteps];
    uint32_t own_b[kSteps];
    for (int k = 0; k < 4; ++k) {
        sums[k] = c[(g + 8 * (k / 2)) * kColumns + 2 * i + k % 2];
    }
    for (int s = 0; s < kSteps; ++s) {
        for (int h = 0; h < 2; ++h) {
            own_a[2 * s + h] = a[(g + 8 * h) * 4 * kSteps + 4 * s + i];
        }
        own_b[s] = b[g * 4 * kSteps + 4 * s + i];
    }
    multiply_add<kSteps>(sums, own_a, own_b);
    for (int k = 0; k < 4; ++k) {
        c[(g + 8 * (k / 2)) * kColumns + 2 * i + k % 2] = sums[k];
    }
}

__global__ void short_kernel(int* c, const uint32_t* a, const uint32_t* b) {
    multiply_matrices<1>(c, a, b);
}
__global__ void long_kernel(int* c, const uint32_t* a, const uint32_t* b) {
    multiply_matrices<2>(c, a, b);
}

device::vector<uint32_t> random_bytes(int n_rows, int n_terms, twin::Random& random, bool extreme) {
    device::vector<uint32_t> words(static_cast<size_t>(n_rows * n_terms / 4));
    for (uint32_t& word : words) {
        word = extreme ? 0x80808080u : static_cast<uint32_t>(random.bits());
    }
    return words;
}

int byte_of(const device::vector<uint32_t>& words, int row, int term, int n_terms) {
    const auto at = static_cast<size_t>(row * n_terms + term);
    return static_cast<int8_t>(words[at / 4] >> (8 * (at % 4)));
}

void check_steps(int n_steps, bool extreme, twin::Random& random) {
    const int n_terms = 16 * n_steps;
    const device::vector<uint32_t> a = random_bytes(kRows, n_terms, random, extreme);
    const device::vector<uint32_t> b = random_bytes(kColumns, n_terms, random, extreme);
    device::vector<int> before(kRows * kColumns);
    for (int& value : before) {
        value = static_cast<int>(random.below(1000)) - 500;
    }
    device::in_all_orders([&] {
        device::vector<int> c = before;
        if (n_steps == 1) {
            PI_LAUNCH((short_kernel), 1, kWarp, 0, nullptr)(c.data(), a.data(), b.data());
        } else {
            PI_LAUNCH((long_kernel), 1, kWarp, 0, nullptr)(c.data(), a.data(), b.data());
        }
        check_launch("multiply_add");
        device::wait();
        for (int row = 0; row < kRows; ++row) {
            for (int column = 0; column < kColumns; ++column) {
                const auto at = static_cast<size_t>(row * kColumns + column);
                int want = before[at];
                for (int k = 0; k < n_terms; ++k) {
                    want += byte_of(a, row, k, n_terms) * byte_of(b, column, k, n_terms);
                }
                CHECK_EQ(c[at], want);
            }
        }
    });
}

void products_are_exact() {
    twin::Random random(21);
    for (const int n_steps : {1, 2}) {
        check_steps(n_steps, true, random);
        for (int round = 0; round < 5; ++round) {
            check_steps(n_steps, false, random);
        }
    }
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(products_are_exact);
    return check::finish();
}
