#include "measure.h"

#include "buffer.h"
#include "cpu/ops.h"
#include "quantize.h"
#include "scratch.h"
#include "thread_pool.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

namespace powerinfer {

namespace {

constexpr int kPasses = 5;
constexpr int kKernelBits = 16;
constexpr size_t kReadCols = 4096;
constexpr size_t kReadChunk = 1U << 20;
constexpr size_t kChunkRows = kReadChunk / (kReadCols * sizeof(float));

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

// The reader is the dot product of float rows: it has the widest loads of the instruction set and
// the least to compute for a byte, so that it waits for memory alone. A sum in portable code does
// not: without wide registers it reads a quarter of what the memory gives.
double measure_read_bandwidth(int n_threads, size_t n_bytes) {
    const cpu::TypeOps& ops = cpu::best_ops().of(DType::f32);
    const size_t n_chunks = std::max<size_t>(1, n_bytes / kReadChunk);
    Buffer memory = Buffer::allocate_large(n_chunks * kReadChunk); // as weights lie at their best
    float* const first = memory.as<float>().data();
    std::vector<float> out(n_chunks * kChunkRows);
    const std::vector<float> x = noise(kReadCols);
    const cpu::Activations input{x.data(), nullptr, 0, 1, kReadCols};
    ThreadPool pool(n_threads);
    const auto chunk_at = [&](int64_t i) {
        return first + static_cast<size_t>(i) * kChunkRows * kReadCols;
    };
    pool.parallel_for(static_cast<int64_t>(n_chunks), 1, [&](int64_t begin, int64_t end, int) {
        std::fill(chunk_at(begin), chunk_at(end), 1.0F);
    });
    const double seconds = fastest([&] {
        pool.parallel_for(static_cast<int64_t>(n_chunks), 4, [&](int64_t begin, int64_t end, int) {
            const auto* bytes = reinterpret_cast<const std::byte*>(chunk_at(begin));
            const int n_rows = static_cast<int>(end - begin) * static_cast<int>(kChunkRows);
            const cpu::Rows rows{bytes, kReadCols * sizeof(float), nullptr, n_rows};
            float* chunk_out = out.data() + static_cast<size_t>(begin) * kChunkRows;
            ops.dot_rows(chunk_out, static_cast<size_t>(n_rows), rows, input);
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
        Array<std::byte> packed(ops.packed_bytes(n_cols, kKernelBits));
        if (dtype_info(type).is_quantized) {
            ops.pack(packed.data(), x.data(), 1, n_cols, kKernelBits);
        }
        const cpu::Activations input{x.data(), packed.data(), kKernelBits, 1, n_cols};
        seconds = fastest([&] {
            ops.of(type).dot_rows(out.data(), static_cast<size_t>(n_rows), rows, input);
        });
    }
    return static_cast<double>(stride) * n_rows / seconds;
}

} // namespace powerinfer
