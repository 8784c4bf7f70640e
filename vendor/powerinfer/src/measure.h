// What this machine can do: plain read bandwidth and the speed of single kernels.
#pragma once

#include "dtype.h"

#include <cstddef>

namespace powerinfer {

// Bytes per second at which n_threads threads read n_bytes together; the best of several passes.
double measure_read_bandwidth(int n_threads, size_t n_bytes);

// Bytes of weights per second of one kernel on one thread; the best of several passes.
double measure_kernel(DType type, bool is_axpy, int n_rows, int n_cols);

} // namespace powerinfer
