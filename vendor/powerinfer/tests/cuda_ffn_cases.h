// What the tests of the feed-forward share: matrices, and lists of which tokens need which neurons.
#pragma once

#include "check.h"
#include "cuda_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace cuda_ffn_cases {

using namespace powerinfer;
using namespace powerinfer::cuda;
using op_cases::same_bits;
using twin::Random;

inline size_t at(int i) {
    return static_cast<size_t>(i);
}

// A matrix as the device has it, and what its elements are.
struct Matrix {
    int n_rows = 0;
    int dim = 0;
    DType type = DType::f32;
    cuda_cases::Weights weights;
    std::vector<double> values; // (n_rows, dim)

    explicit Matrix(const op_cases::Matrix& m)
        : n_rows(m.n_rows), dim(m.dim), type(m.type), weights(m) {
        for (int i = 0; i < n_rows; ++i) {
            const std::vector<double> row = m.values(i);
            values.insert(values.end(), row.begin(), row.end());
        }
    }
    Matrix(DType t, int n, int d, Random& random)
        : Matrix(op_cases::random_matrix(t, n, d, random)) {}
    bool is_quantized() const { return dtype_info(type).is_quantized; }
    double value(int i, int j) const { return values[at(i) * at(dim) + at(j)]; }
};

// Which tokens need which neurons, and the lists of it. After the hot segments come cold ones,
// which are none of the kernels' business.
struct Lists {
    int n;
    std::vector<uint32_t> bits; // (n,) of tokens
    bool is_null = false;
    device::vector<int32_t> counts;
    device::vector<int32_t> rows;
    device::vector<uint32_t> needed;

    Lists(std::vector<uint32_t> tokens, bool null)
        : n(static_cast<int>(tokens.size())), bits(std::move(tokens)), is_null(null) {
        constexpr int kCold = 40;
        constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max() / 2;
        const size_t n_all = at(n_segments(n, n + kCold));
        counts.assign(n_all, kSegment);
        rows.assign(n_all * kSegment, kNoRow);
        needed.assign(n_all * kSegment, ~0u);
        for (int s = 0; s < n_hot_segments(n); ++s) {
            size_t count = 0;
            for (int i = s * kSegment; i < std::min(n, (s + 1) * kSegment); ++i) {
                if (bits[at(i)] != 0) {
                    rows[at(s) * kSegment + count] = i;
                    needed[at(s) * kSegment + count] = bits[at(i)];
                    count += 1;
                }
            }
            counts[at(s)] = static_cast<int32_t>(count);
        }
    }
    Selection view() { return {counts.data(), rows.data(), needed.data()}; }
    bool has(int t, int i) const { return (bits[at(i)] >> t & 1) != 0; }
    Lists token(int t) const {
        std::vector<uint32_t> own;
        for (int i = 0; i < n; ++i) {
            own.push_back(has(t, i) ? 1 : 0);
        }
        return {own, is_null};
    }
};

enum class Kind { null, empty, full, random };
inline constexpr Kind kKinds[] = {Kind::null, Kind::empty, Kind::full, Kind::random};

inline Lists make_lists(Kind kind, int n, int n_tokens, Random& random) {
    const uint32_t all = ~0u >> (32 - n_tokens);
    std::vector<uint32_t> bits(at(n), kind == Kind::empty ? 0 : all);
    for (uint32_t& tokens : bits) {
        for (int t = 0; kind == Kind::random && t < n_tokens; ++t) {
            // The first token needs nothing, others every fifth neuron.
            if (random.below(5) != 0 || (t == 0 && n_tokens > 1)) {
                tokens &= ~(1u << t);
            }
        }
    }
    return {std::move(bits), kind == Kind::null};
}

inline constexpr int kCounts[] = {1, 31, 32, 33, 172, 320};
inline constexpr int kTokens[] = {1, 2, 3, 8, 9, 32};

// Each value of each list meets several of the others.
class Cycle {
public:
    template <typename T, size_t N>
    const T& of(const T (&list)[N]) {
        return list[static_cast<size_t>(random_.below(static_cast<int>(N)))];
    }

private:
    Random random_{99};
};

} // namespace cuda_ffn_cases
