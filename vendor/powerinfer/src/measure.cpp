#include "measure.h"

#include "cpu/ops.h"
#include "quantize.h"
#include "scratch.h"
#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

namespace powerinfer {

namespace {

constexpr int kPasses = 5;
constexpr size_t kReadChunk = 1U << 20;
constexpr size_t kLineBytes = 64;

// Seconds of the fastest of several calls.
template <typename Body>
double fastest(Body&& body) {
    double best = 1e30;
    for (int pass = 0; pass < kPasses; ++pass) {
        const auto start = std::chrono::steady_clock::now();
        body();
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        best = std::min(best, elapsed.count());
    }
    return best;
}

// Sums of eight lines at a time in independent chains, so that loads overlap as in a kernel.
uint64_t read_all(const uint64_t* words, size_t n) {
    constexpr size_t kStep = 8 * kLineBytes / sizeof(uint64_t);
    uint64_t sums[kStep] = {};
    for (size_t i = 0; i + kStep <= n; i += kStep) {
        for (size_t j = 0; j < kStep; ++j) {
            sums[j] += words[i + j];
        }
    }
    uint64_t total = 0;
    for (const uint64_t sum : sums) {
        total += sum;
    }
    return total;
}

// Deterministic values of about unit size.
std::vector<float> noise(size_t n) {
    std::vector<float> values(n);
    uint32_t state = 1;
    for (float& value : values) {
        state = state * 1664525U + 1013904223U;
        value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
    }
    return values;
}

} // namespace

double measure_read_bandwidth(int n_threads, size_t n_bytes) {
    const size_t n_chunks = std::max<size_t>(1, n_bytes / kReadChunk);
    Array<uint64_t> memory(n_chunks * kReadChunk / sizeof(uint64_t));
    constexpr size_t kWords = kReadChunk / sizeof(uint64_t);
    ThreadPool pool(n_threads);
    pool.parallel_for(static_cast<int64_t>(n_chunks), 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t chunk = begin; chunk < end; ++chunk) {
            std::memset(memory.data() + static_cast<size_t>(chunk) * kWords, 1, kReadChunk);
        }
    });
    std::atomic<uint64_t> sink{0};
    const double seconds = fastest([&] {
        pool.parallel_for(static_cast<int64_t>(n_chunks), 4, [&](int64_t begin, int64_t end, int) {
            const uint64_t* words = memory.data() + static_cast<size_t>(begin) * kWords;
            sink.fetch_add(read_all(words, static_cast<size_t>(end - begin) * kWords));
        });
    });
    return static_cast<double>(n_chunks * kReadChunk) / seconds;
}

double measure_kernel(DType type, bool is_axpy, int n_rows, int n_cols) {
    const cpu::Ops& ops = cpu::best_ops();
    const size_t stride = row_bytes(type, n_cols);
    const size_t cols = static_cast<size_t>(n_cols);
    Array<std::byte> weights(stride * static_cast<size_t>(n_rows));
    const std::vector<float> x = noise(cols);
    quantize_row(type, weights.data(), x.data(), n_cols);
    for (int row = 1; row < n_rows; ++row) {
        std::memcpy(weights.data() + static_cast<size_t>(row) * stride, weights.data(), stride);
    }
    const cpu::Rows rows{weights.data(), stride, nullptr, n_rows};
    std::vector<float> out(std::max(cols, static_cast<size_t>(n_rows)));
    double seconds = 0.0;
    if (is_axpy) {
        const std::vector<float> coef = noise(static_cast<size_t>(n_rows));
        seconds = fastest([&] {
            ops.of(type).axpy_rows(
                out.data(), cols, rows, coef.data(), static_cast<size_t>(n_rows), 1, 0, n_cols
            );
        });
    } else {
        const size_t n_blocks = cols / cpu::kQ16Block + 1;
        std::vector<int16_t> q16(cols);
        std::vector<float> scale(n_blocks);
        std::vector<int32_t> sum(n_blocks);
        if (dtype_info(type).is_quantized) {
            ops.quantize_q16(q16.data(), scale.data(), sum.data(), x.data(), cols);
        }
        const cpu::Activations input{x.data(), q16.data(), scale.data(), sum.data(), 1, n_cols};
        seconds = fastest([&] {
            ops.of(type).dot_rows(out.data(), static_cast<size_t>(n_rows), rows, input);
        });
    }
    return static_cast<double>(stride) * n_rows / seconds;
}

} // namespace powerinfer
