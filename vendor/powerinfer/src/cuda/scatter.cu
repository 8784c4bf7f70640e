// Puts rows in the places that a list gives them.
#include "kernels.h"

#include <algorithm>
#include <cstdint>

namespace powerinfer::cuda {

namespace {

constexpr int kThreads = 128;

struct Scatters {
    RowScatter all[kMaxScatters];
};

template <typename Word>
__device__ void copy_row(const RowScatter& op, size_t to, size_t from) {
    const size_t n = op.row_bytes / sizeof(Word);
    auto* target = reinterpret_cast<Word*>(op.to) + to * n;
    const auto* source = reinterpret_cast<const Word*>(op.from) + from * n;
    for (size_t i = threadIdx.x; i < n; i += kThreads) {
        target[i] = source[i];
    }
}

// A block for each row (x) of each operation (y).
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const __grid_constant__ Scatters scatters) {
    const RowScatter& op = scatters.all[blockIdx.y];
    if (blockIdx.x >= static_cast<unsigned>(op.n)) {
        return;
    }
    const auto row = static_cast<size_t>(op.rows[blockIdx.x]);
    if (op.row_bytes % sizeof(uint4) == 0) {
        copy_row<uint4>(op, row, blockIdx.x);
    } else if (op.row_bytes % sizeof(uint32_t) == 0) {
        copy_row<uint32_t>(op, row, blockIdx.x);
    } else {
        copy_row<uint16_t>(op, row, blockIdx.x);
    }
}

} // namespace

void scatter_rows(Stream stream, std::span<const RowScatter> scatters) {
    PI_CHECK(
        scatters.size() <= kMaxScatters, internal, "%zu lists of rows in one call", scatters.size()
    );
    Scatters all{};
    int n_rows = 0;
    for (size_t i = 0; i < scatters.size(); ++i) {
        PI_CHECK(
            scatters[i].row_bytes % sizeof(uint16_t) == 0,
            internal,
            "rows of %zu bytes are not copied by words",
            scatters[i].row_bytes
        );
        all.all[i] = scatters[i];
        n_rows = std::max(n_rows, scatters[i].n);
    }
    if (n_rows == 0) {
        return;
    }
    const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(scatters.size()));
    PI_LAUNCH((scatter_kernel), grid, kThreads, 0, stream)(all);
    check_launch("scatter");
}

} // namespace powerinfer::cuda
