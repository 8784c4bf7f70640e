// The rounding of activations on the device against the CPU's, and sums over warps and blocks.
#include "check.h"
#include "cpu/rounded.h"
#include "cuda/packed.cuh"
#include "test_device.h"
#include "twin.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace {

using namespace powerinfer;
using namespace powerinfer::cuda;

constexpr int kWarps = 3;

__global__ void pack_kernel(Packed out, const float* x, int n_blocks, int max_step) {
    const unsigned block = blockIdx.x * kWarps + threadIdx.x / kWarp;
    if (block < static_cast<unsigned>(n_blocks)) {
        const size_t offset = static_cast<size_t>(block) * 32;
        pack_lane(out, offset, x[offset + threadIdx.x % kWarp], max_step);
    }
}

__global__ void sum_kernel(int* groups, float* maxima, float* blocks, const float* x) {
    const unsigned i = threadIdx.x;
    groups[i] = warp_sum<8>(static_cast<int>(i));
    maxima[i] = warp_max(x[i]);
    // Twice: the second sum must not overtake the first.
    blocks[i] = block_sum<kWarps>(x[i]) - 2 * block_sum<kWarps>(x[i] / 4);
}

// Ordinary blocks, and those where something is special.
std::vector<float> inputs() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    twin::Random random(7);
    std::vector<float> x;
    for (const float factor : {1.0f, 1e-3f, 1e30f, 1e-36f, 1e-39f, 3e-41f, 1.5e-45f, 0.0f}) {
        for (int i = 0; i < 4 * 32; ++i) {
            x.push_back(factor * random.normal());
        }
    }
    for (const float bad : {std::nanf(""), kInfinity, -kInfinity}) {
        for (const int at : {0, 15, 16, 31}) {
            for (int i = 0; i < 32; ++i) {
                x.push_back(i == at ? bad : random.normal());
            }
        }
    }
    for (int i = 0; i < 2 * 32; ++i) { // ties, and the ends of both signs
        x.push_back(i % 32 == 0 ? (i == 0 ? 32639.0f : -32639.0f) : static_cast<float>(i) + 0.5f);
    }
    for (const float value : {1.0f, -1.0f, std::numeric_limits<float>::max()}) {
        x.insert(x.end(), 32, value);
    }
    return x;
}

void packing_gives_the_bits_of_the_cpu() {
    const device::vector<float> x = device::copy(inputs());
    const size_t n_blocks = x.size() / 32;
    for (const int bits : {16, 8}) {
        device::in_all_orders([&] {
            device::vector<int8_t> low(x.size());
            device::vector<int8_t> high(x.size());
            device::vector<BlockScale> blocks(n_blocks);
            const Packed packed = {low.data(), high.data(), blocks.data()};
            const int n = static_cast<int>(n_blocks);
            const auto grid = static_cast<unsigned>(ceil_div(n, kWarps));
            PI_LAUNCH((pack_kernel), grid, kWarps * kWarp, 0, nullptr)
            (packed, x.data(), n, cpu::max_step(bits));
            check_launch("pack");
            device::wait();
            for (size_t b = 0; b < n_blocks; ++b) {
                const cpu::RoundedBlock wanted = cpu::round_block(x.data() + 32 * b, bits);
                int sums[2] = {0, 0};
                bool same = true;
                for (size_t j = 0; j < 32; ++j) {
                    const int q = 256 * high[32 * b + j] + low[32 * b + j];
                    same = same && q == wanted.q[j];
                    sums[j / 16] += wanted.q[j];
                }
                CHECK_MSG(same, "steps of block %zu, %d bits", b, bits);
                CHECK_MSG(
                    std::memcmp(&blocks[b].scale, &wanted.scale, sizeof wanted.scale) == 0,
                    "scale of block %zu, %d bits: %g, not %g",
                    b,
                    bits,
                    static_cast<double>(blocks[b].scale),
                    static_cast<double>(wanted.scale)
                );
                CHECK_MSG(
                    blocks[b].sums[0] == sums[0] && blocks[b].sums[1] == sums[1],
                    "sums of block %zu, %d bits",
                    b,
                    bits
                );
            }
        });
    }
}

void sums_reach_every_thread() {
    constexpr size_t kThreads = kWarps * kWarp;
    device::vector<float> x(kThreads);
    twin::Random random(8);
    for (float& value : x) {
        value = static_cast<float>(random.below(1000) - 900);
    }
    x[5] = std::nanf("");
    float total = 0;
    device::in_all_orders([&] {
        device::vector<int> groups(kThreads);
        device::vector<float> maxima(kThreads);
        device::vector<float> blocks(kThreads);
        PI_LAUNCH((sum_kernel), 1, kThreads, 0, nullptr)
        (groups.data(), maxima.data(), blocks.data(), x.data());
        check_launch("sum");
        device::wait();
        for (size_t i = 0; i < kThreads; ++i) {
            CHECK_EQ(groups[i], static_cast<int>(i / 8 * 64 + 28));
            float wanted = -1000;
            for (size_t j = 0; j < kWarp; ++j) {
                wanted = std::fmax(wanted, x[i / kWarp * kWarp + j]);
            }
            CHECK_EQ(maxima[i], wanted);
            CHECK(std::isnan(blocks[i]));
        }
    });
    x[5] = 0;
    for (const float value : x) {
        total += value; // whole numbers: exact in any order
    }
    device::in_all_orders([&] {
        device::vector<int> groups(kThreads);
        device::vector<float> maxima(kThreads);
        device::vector<float> blocks(kThreads);
        PI_LAUNCH((sum_kernel), 1, kThreads, 0, nullptr)
        (groups.data(), maxima.data(), blocks.data(), x.data());
        check_launch("sum");
        device::wait();
        for (const float sum : blocks) {
            CHECK_EQ(sum, total / 2);
        }
    });
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(packing_gives_the_bits_of_the_cpu);
    CHECK_RUN(sums_reach_every_thread);
    return check::finish();
}
