// Speed of the row operators on one core: GB/s of weight bytes per operator, type and table beside
// the machine's plain read bandwidth, and for many tokens billions of products of a weight with an
// activation a second. Median of 20 passes over a matrix larger than any cache; of 5 over an eighth
// of it for 60 tokens.
//   ops_bench [table] [type]   e.g. ops_bench avx512 q4_0
#include "buffer.h"
#include "columns.h"
#include "cpu/ops.h"
#include "quantize.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <numeric>
#include <string_view>
#include <vector>

using namespace powerinfer;
using cpu::Ops;

namespace {

constexpr int kDim = 4096;
constexpr size_t kMatrixBytes = size_t{128} << 20;
constexpr int kPasses = 20;
// A predictor's second matrix.
constexpr int kNeurons = 8192;
constexpr int kRank = 512;
constexpr int kManyTokens = 60; // of a prompt
constexpr int kHeadDim = 128;
constexpr int kPastPages = 32;

struct Timing {
    double median; // GB/s, or billions of products a second
    double low;
    double high;
};

// Time that this thread ran: other programs on the same cores disturb it less.
double thread_seconds() {
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename F>
Timing measure(double units, F&& pass, size_t n_passes = kPasses) {
    pass(); // warm up
    std::vector<double> speeds;
    for (size_t i = 0; i < n_passes; ++i) {
        const double begin = thread_seconds();
        pass();
        speeds.push_back(units / (thread_seconds() - begin) / 1e9);
    }
    std::sort(speeds.begin(), speeds.end());
    return {speeds[n_passes / 2], speeds.front(), speeds.back()};
}

// Eight independent sums, which the compiler turns into wide loads.
uint64_t read_all(const std::byte* data, size_t bytes) {
    uint64_t sums[8] = {};
    for (size_t i = 0; i + 64 <= bytes; i += 64) {
        uint64_t words[8];
        std::memcpy(words, data + i, 64);
        for (size_t k = 0; k < 8; ++k) {
            sums[k] += words[k];
        }
    }
    uint64_t sum = 0;
    for (uint64_t part : sums) {
        sum += part;
    }
    return sum;
}

struct Bench {
    std::vector<std::byte> matrix = std::vector<std::byte>(kMatrixBytes);
    std::vector<float> x = std::vector<float>(kManyTokens * kDim);
    std::vector<int32_t> half_of_rows; // about every second row, irregularly
    std::vector<float> out;
    double read_speed = 0;
    uint64_t guard = 0;

    void fill(DType type) {
        uint64_t state = 1;
        for (float& value : x) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            value = static_cast<float>(static_cast<int64_t>(state) >> 40) * 0x1p-23f;
        }
        const size_t row = row_bytes(type, kDim);
        std::vector<std::byte> rows(8 * row);
        for (size_t i = 0; i < 8; ++i) {
            quantize_row(type, rows.data() + i * row, x.data() + i * kDim, kDim);
        }
        for (size_t i = 0; i + row <= matrix.size(); i += row) {
            std::memcpy(matrix.data() + i, rows.data() + i / row % 8 * row, row);
        }
        half_of_rows.clear();
        for (size_t i = 0; i < matrix.size() / row; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            if (state >> 63 != 0) {
                half_of_rows.push_back(static_cast<int32_t>(i));
            }
        }
        out.assign(std::max<size_t>(8 * (matrix.size() / row), 8 * kNeurons), 0.001f);
    }

    void report(const Ops& ops, DType type, const char* what, const Timing& t) const {
        std::printf(
            "%-7s %-5s %-14s %7.2f GB/s (%6.2f..%6.2f)  %3.0f %% of read\n",
            ops.name,
            dtype_info(type).name,
            what,
            t.median,
            t.low,
            t.high,
            100 * t.median / read_speed
        );
    }

    void dots(const Ops& ops, DType type, const char* what, bool listed) {
        const size_t stride = row_bytes(type, kDim);
        const int n = static_cast<int>(listed ? half_of_rows.size() : matrix.size() / stride);
        const cpu::Rows rows = {matrix.data(), stride, listed ? half_of_rows.data() : nullptr, n};
        Buffer packed = Buffer::allocate(1, ops.packed_bytes(kDim, 16));
        ops.pack(packed.data(), x.data(), 1, kDim, 16);
        const cpu::Activations in = {x.data(), packed.data(), 16, 1, kDim};
        const double bytes = static_cast<double>(stride) * n;
        const Timing t = measure(bytes, [&] {
            ops.of(type).dot_rows(out.data(), static_cast<size_t>(n), rows, in);
        });
        report(ops, type, what, t);
    }

    // Half of the columns of matrices as predictors have them.
    void columns(const Ops& ops, const char* what, int n_tokens) {
        std::vector<int32_t> ids;
        std::vector<int32_t> ends;
        for (int block = 0; block < kRank; block += kColumnBlock) {
            for (int column = 0; column < kColumnBlock; column += 2) {
                ids.push_back(block + column + block / kColumnBlock % 2);
            }
            ends.push_back(static_cast<int32_t>(ids.size()));
        }
        const size_t stride = kNeurons * row_bytes(DType::q4_0, kRank);
        const size_t n = matrix.size() / stride;
        Buffer packed =
            Buffer::allocate(static_cast<size_t>(n_tokens), ops.packed_bytes(kRank, 16));
        std::vector<float> gathered(static_cast<size_t>(n_tokens) * kRank);
        for (size_t i = 0; i < gathered.size(); ++i) {
            gathered[i] = i % kColumnBlock < kColumnBlock / 2 ? x[i] : 0.0f;
        }
        ops.pack(packed.data(), gathered.data(), n_tokens, kRank, 16);
        const cpu::Activations in = {gathered.data(), packed.data(), 16, n_tokens, kRank};
        const auto blocks = static_cast<double>(ends.size());
        const double bytes =
            blocks * static_cast<double>(column_bytes(kNeurons, kColumnBlock / 2) * n);
        const Timing t = measure(bytes, [&] {
            for (size_t i = 0; i < n; ++i) {
                const cpu::Columns w = {
                    matrix.data() + i * stride, kNeurons, ids.data(), ends.data()
                };
                ops.dot_columns(out.data(), kNeurons, w, 0, kNeurons, in);
            }
        });
        report(ops, DType::q4_0, what, t);
    }

    // In the pieces that a thread takes, which stay in the second cache.
    void products(const Ops& ops, DType type, const char* what, int n_tokens, int bits) {
        const size_t stride = row_bytes(type, kDim);
        const int n = static_cast<int>(matrix.size() / stride / (n_tokens == kManyTokens ? 8 : 1));
        const int piece = static_cast<int>((size_t{256} << 10) / stride / 8 * 8);
        Buffer packed =
            Buffer::allocate(static_cast<size_t>(n_tokens), ops.packed_bytes(kDim, bits));
        ops.pack(packed.data(), x.data(), n_tokens, kDim, bits);
        const cpu::Activations in = {x.data(), packed.data(), bits, n_tokens, kDim};
        out.resize(std::max(out.size(), static_cast<size_t>(n_tokens) * static_cast<size_t>(n)));
        const Timing t = measure(
            static_cast<double>(n) * kDim * n_tokens,
            [&] {
                for (int i = 0; i < n; i += piece) {
                    const cpu::Rows rows = {
                        matrix.data() + static_cast<size_t>(i) * stride,
                        stride,
                        nullptr,
                        std::min(piece, n - i)
                    };
                    ops.of(type).dot_rows(out.data() + i, static_cast<size_t>(n), rows, in);
                }
            },
            n_tokens == kManyTokens ? 5 : kPasses
        );
        std::printf(
            "%-7s %-5s %-14s %7.2f G products/s (%6.2f..%6.2f)\n",
            ops.name,
            dtype_info(type).name,
            what,
            t.median,
            t.low,
            t.high
        );
    }

    void axpys(const Ops& ops, DType type, const char* what, int n_tokens, bool listed) {
        const size_t stride = row_bytes(type, kDim);
        const int n = static_cast<int>(listed ? half_of_rows.size() : matrix.size() / stride);
        const cpu::Rows rows = {matrix.data(), stride, listed ? half_of_rows.data() : nullptr, n};
        const auto coef_stride = static_cast<size_t>(n);
        const std::vector<float> coef(8 * coef_stride, 1e-6f);
        const double bytes = static_cast<double>(stride) * n;
        const Timing t = measure(bytes, [&] {
            ops.of(type).axpy_rows(
                out.data(), kDim, rows, coef.data(), coef_stride, n_tokens, 0, kDim
            );
        });
        report(ops, type, what, t);
    }

    // Heads of 128 elements, each with a past of 1024 positions.
    void attention(const Ops& ops, DType type, const char* what, int n_queries) {
        const size_t page_bytes = kPageTokens * row_bytes(type, kHeadDim);
        const size_t head_bytes = kPastPages * page_bytes;
        const size_t n_heads = matrix.size() / (2 * head_bytes);
        std::vector<int32_t> pages(kPastPages);
        std::iota(pages.begin(), pages.end(), 0);
        const size_t n_positions = kPastPages * kPageTokens;
        std::vector<float> scores(static_cast<size_t>(n_queries) * n_positions);
        const Timing t = measure(static_cast<double>(matrix.size()), [&] {
            for (size_t head = 0; head < n_heads; ++head) {
                const std::byte* keys = matrix.data() + head * 2 * head_bytes;
                ops.attend(
                    out.data(),
                    {type, keys, keys + head_bytes, page_bytes, pages.data()},
                    {.vectors = x.data(),
                     .token_stride = 0,
                     .n_tokens = 1,
                     .n_heads = n_queries,
                     .head_dim = kHeadDim,
                     .n_positions = n_positions,
                     .scores = scores.data(),
                     .score_stride = n_positions}
                );
            }
        });
        report(ops, type, what, t);
    }

    void read() {
        const Timing t = measure(static_cast<double>(matrix.size()), [&] {
            guard += read_all(matrix.data(), matrix.size());
        });
        read_speed = t.median;
        std::printf(
            "plain read                    %7.2f GB/s (%6.2f..%6.2f)\n", t.median, t.low, t.high
        );
    }
};

bool chosen(int argc, char** argv, int i, std::string_view name) {
    return argc <= i || name == argv[i] || std::string_view(argv[i]) == "all";
}

} // namespace

int main(int argc, char** argv) {
    Bench bench;
    bench.fill(DType::f16);
    bench.read();
    for (const Ops* ops :
         {&cpu::scalar_ops(),
          cpu::avx2_ops(),
          cpu::avx512_ops(),
          cpu::neon_ops(),
          cpu::neon_dotprod_ops()}) {
        if (ops == nullptr || !chosen(argc, argv, 1, ops->name)) {
            continue;
        }
        for (DType type : powerinfer::kWeightTypes) {
            if (!chosen(argc, argv, 2, dtype_info(type).name)) {
                continue;
            }
            bench.fill(type);
            bench.dots(*ops, type, "dot", false);
            bench.dots(*ops, type, "dot half", true);
            bench.products(*ops, type, "dot x8", 8, 16);
            bench.products(*ops, type, "dot x8 8-bit", 8, 8);
            bench.products(*ops, type, "dot x60", kManyTokens, 16);
            bench.products(*ops, type, "dot x60 8-bit", kManyTokens, 8);
            if (type == DType::q4_0) {
                bench.columns(*ops, "columns half", 1);
                bench.columns(*ops, "columns x8", 8);
            }
            if (type == DType::f16 || type == DType::f32) {
                bench.attention(*ops, type, "attend", 1);
                bench.attention(*ops, type, "attend x4", 4);
                bench.attention(*ops, type, "attend x8", 8);
            }
            bench.axpys(*ops, type, "axpy", 1, false);
            bench.axpys(*ops, type, "axpy half", 1, true);
            bench.axpys(*ops, type, "axpy x8", 8, false);
        }
    }
    std::printf("check %llx\n", static_cast<unsigned long long>(bench.guard));
    return 0;
}
