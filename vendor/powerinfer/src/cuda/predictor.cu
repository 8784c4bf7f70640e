// Predictor: its hidden layer, the neurons that it selects, and the list of those that the host
// computes.
#include "dot.cuh"
#include "packed.cuh"

namespace powerinfer::cuda {

namespace {

// Chunks of super-blocks take twice the registers of others.
template <DType type>
constexpr int kRegisterShare = kSplit<type>.elements == kChunk * kChunksK ? 2 : 1;

// ---- hidden layer ----

// Block (x, y) computes 32 rows, one block of rounded activations, for token group y. The hidden
// layer is short, so that blocks are few: groups are small, and the columns of a row are shared by
// several warps, always as many.
constexpr int kHiddenTokens = 4; // of a group, at most
constexpr int kParts = 4;
constexpr int kHiddenRows = 32;

constexpr int kHiddenWarps = 16;
constexpr int kHiddenThreads = kHiddenWarps * kWarp;

template <DType type, int T>
__global__ void __launch_bounds__(kHiddenThreads, 1) hidden_kernel(
    float* __restrict__ hidden,
    const Packed packed,
    const DeviceMatrix fc1,
    const DeviceActivations x,
    int max_step
) {
    constexpr int kRows = kHiddenRows / (kHiddenWarps / kParts); // of one warp
    constexpr int R = T == 1 ? 4 / kRegisterShare<type> : T == 2 ? 2 : 1;
    __shared__ float parts[kParts][T][kHiddenRows];
    const int lane = lane_id();
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int part = warp % kParts;
    const int begin = warp / kParts * kRows;
    const int first_row = static_cast<int>(blockIdx.x) * kHiddenRows;
    const int first = static_cast<int>(blockIdx.y) * T;
#pragma unroll 1
    for (int i = begin; i < begin + kRows; i += R) {
        Row rows[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            rows[r] = row_of<type>(fc1, min(first_row + i + r, fc1.rows - 1));
        }
        const float sum = dot_rows_apart<type, R, T>(rows, x, first, part, kParts);
        if (lane < R * T) {
            const int own = reversed<R * T>(lane);
            parts[part][own / R][i + own % R] = sum;
        }
    }
    __syncthreads(); // all parts are there
    const int t = first + warp;
    if (warp >= T || t >= x.n_tokens) {
        return;
    }
    float sum = parts[0][warp][lane];
#pragma unroll
    for (int k = 1; k < kParts; ++k) {
        sum += parts[k][warp][lane];
    }
    const float value = sum > 0.0f ? sum : 0.0f;
    const size_t offset =
        static_cast<size_t>(t) * static_cast<size_t>(fc1.rows) + static_cast<size_t>(first_row);
    if (first_row + lane < fc1.rows) {
        hidden[offset + static_cast<size_t>(lane)] = value;
    }
    if (packed.low != nullptr) {
        pack_lane(packed, offset, value, max_step);
    }
}

// ---- selection ----

template <int T>
constexpr int kSelectWarps = T == 1 ? 8 : 4;

// Writes the list of a segment. The whole warp takes part: lane i brings the word of the segment's
// row i.
__device__ __forceinline__ void list_segment(
    const Selection& out, int segment, int first_row, uint32_t word
) {
    const int lane = lane_id();
    const uint32_t selected = __ballot_sync(kWholeWarp, word != 0);
    if (word != 0) {
        const int before = __popc(selected & ((1u << lane) - 1));
        const size_t at = static_cast<size_t>(segment) * kSegment + static_cast<size_t>(before);
        out.rows[at] = first_row + lane;
        out.needed[at] = word;
    }
    if (lane == 0) {
        out.counts[segment] = __popc(selected);
    }
}

template <DType type, int T>
__global__ void __launch_bounds__(
    kSelectWarps<T>* kWarp,
    T == 1             ? 4 - kRegisterShare<type>
    : T == kTokenGroup ? 2
                       : 3
)
    select_kernel(
        const Selection out,
        const DeviceMatrix fc2,
        const DeviceActivations hidden,
        float threshold,
        int n_hot,
        int hot_segments
    ) {
    constexpr int kRows = kSegment / kSelectWarps<T>; // of one warp
    constexpr int R = T == 1 ? 4 / kRegisterShare<type> : 2;
    __shared__ uint32_t words[kSegment];
    const int lane = lane_id();
    const int token = reversed<R * T>(lane) / R; // of this lane's product
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int segment = static_cast<int>(blockIdx.x);
    const bool is_hot = segment < hot_segments;
    const int first_row = is_hot ? segment * kSegment : n_hot + (segment - hot_segments) * kSegment;
    const int end = min(first_row + kSegment, is_hot ? n_hot : fc2.rows);
#pragma unroll 1
    for (int i = warp * kRows; i < (warp + 1) * kRows; i += R) {
        Row rows[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            rows[r] = row_of<type>(fc2, min(first_row + i + r, end - 1));
        }
        uint32_t word = 0; // of row i + lane, in the first R lanes
        for (int first = 0; first < end_of_groups<T>(hidden.n_tokens); first += T) {
            const float score = dot_rows_apart<type, R, T>(rows, hidden, first);
            const bool selects = score >= threshold && first + token < hidden.n_tokens;
            const uint32_t votes = __ballot_sync(kWholeWarp, selects);
#pragma unroll
            for (int t = 0; t < T; ++t) {
                const int at = reversed<R * T>(t * R + lane % R);
                word |= (votes >> at & 1u) << (first + t);
            }
        }
        if (lane < R) {
            words[i + lane] = first_row + i + lane < end ? word : 0;
        }
    }
    __syncthreads();
    if (warp == 0) {
        list_segment(out, segment, first_row, words[lane]);
    }
}

// ---- what the host computes ----

constexpr int kListThreads = 1024;
constexpr int kMaxCopyBlocks = 32;

// ends[i] = the sum of the values of threads 0..i. The whole block takes part.
__device__ __forceinline__ void scan(int (&ends)[kListThreads], int (&warps)[kWarp], int value) {
    const int lane = lane_id();
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const auto scan_warp = [lane](int sum) {
        for (int distance = 1; distance < kWarp; distance *= 2) {
            const int before = __shfl_up_sync(kWholeWarp, sum, distance);
            sum += lane >= distance ? before : 0;
        }
        return sum;
    };
    const int sum = scan_warp(value);
    if (lane == kWarp - 1) {
        warps[warp] = sum;
    }
    __syncthreads(); // the sums of all warps are there
    if (warp == 0) {
        warps[lane] = scan_warp(warps[lane]);
    }
    __syncthreads(); // they are sums of all up to them
    ends[threadIdx.x] = sum + (warp == 0 ? 0 : warps[warp - 1]);
    __syncthreads(); // all of `ends` is there
}

// Lists the rows of segments [begin, end), one after the other. Each thread looks for the source of
// its element, so that the bus gets whole lines.
__device__ void list_segments(
    const HostShare& out,
    const Selection& selection,
    const int32_t* __restrict__ neurons,
    int begin,
    int end
) {
    __shared__ int ends[kListThreads];
    __shared__ int warps[kWarp];
    static_assert(kListThreads == kWarp * kWarp);
    const auto thread = static_cast<int>(threadIdx.x);
    int n = 0;
    for (int first = begin; first < end; first += kListThreads) {
        scan(ends, warps, first + thread < end ? selection.counts[first + thread] : 0);
        const int total = ends[kListThreads - 1];
        for (int i = thread; i < total; i += kListThreads) {
            int k = 0; // segments that end at i or before
            for (int step = kListThreads / 2; step > 0; step /= 2) {
                k += ends[k + step - 1] <= i ? step : 0;
            }
            const int at = i - (k == 0 ? 0 : ends[k - 1]);
            const size_t source =
                static_cast<size_t>(first + k) * kSegment + static_cast<size_t>(at);
            out.neurons[n + i] = neurons[selection.rows[source]];
            out.needed[n + i] = selection.needed[source];
        }
        n += total;
        __syncthreads(); // `ends` has been read
    }
    if (thread == 0) {
        *out.n = n;
    }
}

// Block 0 lists, the others copy.
__global__ void __launch_bounds__(kListThreads) hand_over_kernel(
    const HostShare out,
    const Selection selection,
    const int32_t* __restrict__ neurons,
    int begin,
    int end,
    const float* __restrict__ input,
    int n_input
) {
    if (blockIdx.x == 0) {
        list_segments(out, selection, neurons, begin, end);
        return;
    }
    const int n_threads = (static_cast<int>(gridDim.x) - 1) * kListThreads;
    int i = (static_cast<int>(blockIdx.x) - 1) * kListThreads + static_cast<int>(threadIdx.x);
    for (; i < n_input; i += n_threads) {
        out.input[i] = input[i];
    }
}

} // namespace

void predict_hidden(
    Stream stream,
    float* hidden,
    const Packed& packed,
    const DeviceMatrix& fc1,
    const DeviceActivations& x,
    int max_step
) {
    if (fc1.rows == 0) {
        return;
    }
    for_type(fc1.type, [&]<DType kType>() {
        for_tokens(min(x.n_tokens, kHiddenTokens), [&]<int T>() {
            if constexpr (T <= kHiddenTokens) {
                const dim3 grid(
                    static_cast<unsigned>(ceil_div(fc1.rows, kHiddenRows)),
                    static_cast<unsigned>(ceil_div(x.n_tokens, T))
                );
                PI_LAUNCH((hidden_kernel<kType, T>), grid, kHiddenThreads, 0, stream)
                (hidden, packed, fc1, x, max_step);
            }
        });
    });
    check_launch("predict_hidden");
}

void select(
    Stream stream,
    const Selection& out,
    const DeviceMatrix& fc2,
    const DeviceActivations& hidden,
    float threshold,
    int n_hot
) {
    if (fc2.rows == 0) {
        return;
    }
    const auto n_blocks = static_cast<unsigned>(n_segments(n_hot, fc2.rows));
    for_type(fc2.type, [&]<DType kType>() {
        for_tokens(hidden.n_tokens, [&]<int T>() {
            PI_LAUNCH((select_kernel<kType, T>), n_blocks, kSelectWarps<T> * kWarp, 0, stream)
            (out, fc2, hidden, threshold, n_hot, n_hot_segments(n_hot));
        });
    });
    check_launch("select");
}

void hand_over(
    Stream stream,
    const HostShare& out,
    const Selection& selection,
    const int32_t* neurons,
    int n_hot,
    int n_rows,
    const float* input,
    int n_input
) {
    const int n_copy = min(ceil_div(n_input, kListThreads), kMaxCopyBlocks);
    PI_LAUNCH((hand_over_kernel), static_cast<unsigned>(1 + n_copy), kListThreads, 0, stream)
    (out, selection, neurons, n_hot_segments(n_hot), n_segments(n_hot, n_rows), input, n_input);
    check_launch("hand_over");
}

} // namespace powerinfer::cuda
