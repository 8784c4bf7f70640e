// The feed-forward of the neurons that live on a device: what each is worth, and the sum of their
// rows of the down matrix.
#include "dot.cuh"

#include <algorithm>
#include <cmath>

namespace powerinfer::cuda {

namespace {

// ---- weigh: a warp for each neuron ----

constexpr int kWeighWarps = 4;
// Blocks that a processor should hold at a time: what the registers allow without spilling.
constexpr int weigh_blocks(int n_tokens) {
    return n_tokens == 1 ? 5 : n_tokens == 2 ? 3 : 2;
}

// Bit t of `tokens`: token t needs it.
struct Neuron {
    int row;
    uint32_t tokens;
};

__device__ __forceinline__ Neuron
find_neuron(const Selection& selection, int segment, int place, int n, int n_tokens) {
    const uint32_t all = 0xffffffffu >> (kMaxTokens - n_tokens);
    const int i = segment * kSegment + place;
    if (selection.counts == nullptr) {
        return {i, i < n ? all : 0u};
    }
    // Read before it is known whether there is one: that saves a wait.
    const int row = __ldg(selection.rows + i);
    const uint32_t needed = __ldg(selection.needed + i);
    return {row, place < __ldg(selection.counts + segment) ? needed & all : 0u};
}

__device__ __forceinline__ float activate(float x, const Rule& rule) {
    if (rule.activation == Activation::silu) {
        return x / (1.0f + expf(-x));
    }
    return x > rule.fatrelu_threshold ? x : 0.0f;
}

__device__ __forceinline__ float join(float gate, float up, const Rule& rule) {
    const float value = rule.activation == Activation::drelu && up <= 0.0f ? 0.0f : up;
    return gate != 0.0f ? gate * value : 0.0f;
}

// A neuron is tested by the first matrix and multiplied by the second. Where the second is absent
// the test is all; where the first is absent `coef` holds the results of the test.
struct Weighing {
    DeviceMatrix test;
    DeviceMatrix factor;
    const float* bias; // of the test, (n,) or nullptr
    DeviceActivations x;
    Selection selection; // counts nullptr: all neurons and tokens
    Rule rule;
    NeuronCounters counters; // layer nullptr: nothing is counted
    int n;
};

// Lane i has that of token first + reversed<kTokens>(i); where both matrices are read, only the
// first kTokens lanes. `tested` is the result of an earlier test.
template <DType kType, int kTokens, bool kReadsBoth>
__device__ __forceinline__ float weigh_tokens(
    const Weighing& op, int row, int first, float tested, bool is_needed
) {
    if constexpr (kReadsBoth) {
        const Row rows[2] = {row_of<kType>(op.test, row), row_of<kType>(op.factor, row)};
        const float product = dot_rows_apart<kType, 2, kTokens>(rows, op.x, first);
        const float up = __shfl_xor_sync(kWholeWarp, product, kTokens);
        return is_needed ? join(activate(product, op.rule), up, op.rule) : 0.0f;
    } else {
        float value = tested;
        if (op.test.body != nullptr) {
            const Row rows[1] = {row_of<kType>(op.test, row)};
            const float product = dot_rows_apart<kType, 1, kTokens>(rows, op.x, first);
            const float bias = op.bias != nullptr ? __ldg(op.bias + row) : 0.0f;
            value = is_needed ? activate(product + bias, op.rule) : 0.0f;
        }
        const bool is_zero = __all_sync(kWholeWarp, value == 0.0f) != 0;
        if (op.factor.body == nullptr || (is_zero && !op.rule.reads_all)) {
            return value;
        }
        const Row rows[1] = {row_of<kType>(op.factor, row)};
        return join(value, dot_rows_apart<kType, 1, kTokens>(rows, op.x, first), op.rule);
    }
}

__device__ __forceinline__ void count(
    const NeuronCounters& counters, const Neuron& neuron, uint32_t n_active, bool reads_all
) {
    __shared__ uint32_t sums[kLayerCounters][kWeighWarps];
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / kWarp;
    if (lane_id() == 0) {
        const bool is_tested = neuron.tokens != 0;
        sums[kActive][warp] = n_active;
        sums[kCandidate][warp] = static_cast<uint32_t>(__popc(neuron.tokens));
        sums[kTested][warp] = is_tested ? 1u : 0u;
        sums[kRead][warp] = is_tested && (reads_all || n_active != 0) ? 1u : 0u;
        if (counters.fired != nullptr && n_active != 0) {
            counters.fired[neuron.row] += n_active; // no other warp has this neuron
        }
    }
    __syncthreads();
    if (thread < kLayerCounters) {
        uint32_t sum = 0;
        for (const uint32_t part : sums[thread]) {
            sum += part;
        }
        if (sum != 0) {
            atomicAdd(counters.layer + thread, sum);
        }
    }
}

template <DType kType, int kTokens, bool kReadsBoth>
__global__ void __launch_bounds__(kWeighWarps* kWarp, weigh_blocks(kTokens))
    weigh_kernel(float* __restrict__ coef, const __grid_constant__ Weighing op) {
    const int lane = lane_id();
    const int n_tokens = op.x.n_tokens;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int place = static_cast<int>(blockIdx.y) * kWeighWarps + warp;
    const Neuron neuron =
        find_neuron(op.selection, static_cast<int>(blockIdx.x), place, op.n, n_tokens);
    uint32_t n_active = 0;
    for (int first = 0; neuron.tokens != 0 && first < n_tokens; first += kTokens) {
        const int token = first + reversed<kTokens>(lane);
        const bool is_needed = token < n_tokens && (neuron.tokens >> token & 1u) != 0;
        const bool writes = lane < kTokens && token < n_tokens;
        float* own = coef + static_cast<size_t>(token) * static_cast<size_t>(op.n) + neuron.row;
        float value = 0.0f;
        if (__any_sync(kWholeWarp, is_needed) != 0) {
            const float tested = is_needed && op.test.body == nullptr ? *own : 0.0f;
            value =
                weigh_tokens<kType, kTokens, kReadsBoth>(op, neuron.row, first, tested, is_needed);
        }
        if (op.test.body == nullptr) {
            __syncwarp(); // other lanes have read the test where this one writes
        }
        if (writes) {
            *own = value;
        }
        const uint32_t active = __ballot_sync(kWholeWarp, writes && value != 0.0f);
        n_active += static_cast<uint32_t>(__popc(active));
    }
    if (op.counters.layer != nullptr) {
        count(op.counters, neuron, n_active, op.rule.reads_all);
    }
}

void launch_weigh(Stream stream, float* coef, const Weighing& op) {
    const dim3 grid(static_cast<unsigned>(n_hot_segments(op.n)), kSegment / kWeighWarps);
    const bool has_both = op.test.body != nullptr && op.factor.body != nullptr;
    for_type(op.test.body != nullptr ? op.test.type : op.factor.type, [&]<DType kType>() {
        for_tokens(op.x.n_tokens, [&]<int kTokens>() {
            const auto run = [&]<bool kReadsBoth>() {
                PI_LAUNCH(
                    (weigh_kernel<kType, kTokens, kReadsBoth>), grid, kWeighWarps * kWarp, 0, stream
                )
                (coef, op);
            };
            if (has_both && op.rule.reads_all) {
                run.template operator()<true>();
            } else {
                run.template operator()<false>();
            }
        });
    });
    check_launch("weigh");
}

// ---- project_down: a strand of segments for each warp ----

constexpr int kDownWarps = 8;
constexpr int kLaneColumns = 8;
static_assert(kDownColumns == kLaneColumns * kWarp); // of a block,
static_assert(kDownColumns == kDownWarps * kWarp);   // whose threads finish one each
// Segment s belongs to strand s % kStrands: neighbours, which are busy alike, go to all blocks.
constexpr int kStrands = kDownParts * kDownWarps;

// The 8 columns of a lane, of one row.
template <DType kType, bool kIsQuantized = (kSplit<kType>.elements > 1)>
struct Piece;

template <DType kType>
struct Piece<kType, true> {
    static constexpr bool kIsScaled = kSplit<kType>.elements == kChunk; // the scale goes to coef
    uint32_t q[2];
    ChunkScale scale;

    // Words k and k + 4 of a chunk. Lanes beyond the last one read that.
    static __device__ __forceinline__ int first_column(int lane) {
        return lane / 4 * kChunk + lane % 4 * 4;
    }
    static constexpr int kSecondFour = 16; // columns after the first four

    template <int kRows>
    static __device__ __forceinline__ void read(
        Piece (&pieces)[kRows], const Row (&rows)[kRows], int column, int dim
    ) {
        const int c = min(column / kChunk, dim / kChunk - 1);
        const int k = column % kChunk / 4;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            pieces[r].q[0] = Chunks<kType>::word(rows[r], c, k);
            pieces[r].q[1] = Chunks<kType>::word(rows[r], c, k + 4);
            pieces[r].scale = Chunks<kType>::scale(rows[r], c);
        }
    }

    __device__ __forceinline__ void values(float (&out)[kLaneColumns]) const {
        constexpr bool kIsSigned = kType == DType::q8_0;
        constexpr int kOffset = kIsSigned ? 128 : Chunks<kType>::kOffset;
#pragma unroll
        for (int i = 0; i < kLaneColumns; ++i) {
            const uint32_t word = kIsSigned ? q[i / 4] ^ 0x80808080u : q[i / 4];
            // A byte below the bits of 2^23 is 2^23 more: cheaper than a conversion, and exact.
            const uint32_t bits =
                __byte_perm(word, 0x4b000000u, 0x7650u + static_cast<unsigned>(i) % 4);
            out[i] =
                __int_as_float(static_cast<int>(bits)) - static_cast<float>(0x800000 + kOffset);
            if constexpr (!kIsScaled) {
                out[i] = fmaf(scale.scale[i / 4], out[i], -scale.min); // the product is exact
            }
        }
    }
};

template <DType kType>
struct Piece<kType, false> {
    static constexpr bool kIsScaled = false;
    float w[kLaneColumns];
    ChunkScale scale; // not used

    static __device__ __forceinline__ int first_column(int lane) { return lane * kLaneColumns; }
    static constexpr int kSecondFour = 4;

    template <int kRows>
    static __device__ __forceinline__ void read(
        Piece (&pieces)[kRows], const Row (&rows)[kRows], int column, int dim
    ) {
        if (dim % kLaneColumns == 0) {
            const int j = min(column, dim - kLaneColumns);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                Floats<kType>::eight(pieces[r].w, rows[r].body, j);
            }
        } else {
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
#pragma unroll
                for (int i = 0; i < kLaneColumns; ++i) {
                    pieces[r].w[i] = Floats<kType>::get(rows[r].body, min(column + i, dim - 1));
                }
            }
        }
    }

    __device__ __forceinline__ void values(float (&out)[kLaneColumns]) const {
#pragma unroll
        for (int i = 0; i < kLaneColumns; ++i) {
            out[i] = w[i];
        }
    }
};

// Neurons of a strand whose coefficient is not zero for some token, ascending.
template <int kTokens>
struct Terms {
    static constexpr int kSegments = kTokens <= 2 ? 4 : 8 / kTokens; // listed at once
    int32_t rows[kSegments * kSegment];
    float coef[kTokens][kSegments * kSegment];

    // Those of segments s, s + kStrands, ..; returns their number. Lists and coefficients of all
    // the segments are requested before the first one is looked at.
    __device__ __forceinline__ int fill(
        const float* all, const Selection& selection, int s, int segments, int n, int n_tokens
    ) {
        const int lane = lane_id();
        int row[kSegments];
        bool is_listed[kSegments];
#pragma unroll
        for (int u = 0; u < kSegments; ++u) {
            const int segment = min(s + u * kStrands, segments - 1);
            const int i = segment * kSegment + lane;
            const bool is_own = s + u * kStrands == segment;
            if (selection.counts == nullptr) {
                row[u] = i;
                is_listed[u] = is_own && i < n;
            } else {
                row[u] = __ldg(selection.rows + i);
                is_listed[u] = is_own && lane < __ldg(selection.counts + segment);
            }
        }
        float values[kSegments][kTokens];
#pragma unroll
        for (int u = 0; u < kSegments; ++u) {
#pragma unroll
            for (int t = 0; t < kTokens; ++t) {
                const size_t offset = static_cast<size_t>(t) * static_cast<size_t>(n);
                values[u][t] = is_listed[u] && t < n_tokens ? __ldg(all + offset + row[u]) : 0.0f;
            }
        }
        int n_terms = 0;
#pragma unroll
        for (int u = 0; u < kSegments; ++u) {
            bool is_term = false;
#pragma unroll
            for (int t = 0; t < kTokens; ++t) {
                is_term = is_term || values[u][t] != 0.0f;
            }
            const uint32_t found = __ballot_sync(kWholeWarp, is_term);
            if (is_term) {
                const int at = n_terms + __popc(found & ((1u << lane) - 1));
                rows[at] = row[u];
#pragma unroll
                for (int t = 0; t < kTokens; ++t) {
                    coef[t][at] = values[u][t];
                }
            }
            n_terms += __popc(found);
        }
        return n_terms;
    }
};

// sums[t] += coefficients of token t times the lane's columns, term after term.
template <DType kType, int kTokens>
__device__ __forceinline__ void add_terms(
    float (&sums)[kTokens][kLaneColumns],
    const Terms<kTokens>& terms,
    int n_terms,
    const DeviceMatrix& w,
    int column
) {
    // Rows in flight: many small pieces, or fewer of those that take more registers.
    constexpr int kRows = kSplit<kType>.elements == kChunk && kTokens <= 2 ? 8 : 4;
    for (int first = 0; first < n_terms; first += kRows) {
        Row rows[kRows];
        Piece<kType> pieces[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            rows[r] = row_of<kType>(w, terms.rows[min(first + r, n_terms - 1)]);
        }
        Piece<kType>::read(pieces, rows, column, w.cols);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (first + r < n_terms) {
                float values[kLaneColumns];
                pieces[r].values(values);
#pragma unroll
                for (int t = 0; t < kTokens; ++t) {
                    const float coef = terms.coef[t][first + r];
                    // One token's terms are not zero; other tokens' zeros add nothing, not even +0.
                    if (kTokens == 1 || coef != 0.0f) {
                        const float factor =
                            Piece<kType>::kIsScaled ? coef * pieces[r].scale.scale[0] : coef;
#pragma unroll
                        for (int i = 0; i < kLaneColumns; ++i) {
                            sums[t][i] = fmaf(factor, values[i], sums[t][i]);
                        }
                    }
                }
            }
        }
    }
}

// Block (x, y, z) adds part y of the neurons to columns tile x of tokens group z. The last of the
// parts to be ready adds them all, in order: the same bits whichever it is.
template <DType kType, int kTokens>
__global__ void __launch_bounds__(kDownColumns) project_down_kernel(
    float* __restrict__ x,
    float* partial,
    uint32_t* arrived,
    DeviceMatrix w,
    const float* __restrict__ coef,
    Selection selection,
    const float* __restrict__ bias,
    int segments,
    int n_tokens
) {
    __shared__ Terms<kTokens> all_terms[kDownWarps];
    __shared__ float4 warp_sums[kDownWarps][kDownColumns / 4];
    __shared__ bool is_last;
    const int n = w.rows;
    const auto dim = static_cast<size_t>(w.cols);
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / kWarp;
    const int lane = lane_id();
    const int part = static_cast<int>(blockIdx.y);
    const int first = static_cast<int>(blockIdx.z) * kTokens;
    const int n_own = min(kTokens, n_tokens - first);
    const int tile = static_cast<int>(blockIdx.x) * kDownColumns;
    const int own = Piece<kType>::first_column(lane);

    float sums[kTokens][kLaneColumns] = {};
    Terms<kTokens>& terms = all_terms[warp];
    const float* coefs = coef + static_cast<size_t>(first) * static_cast<size_t>(n);
    constexpr int kStep = Terms<kTokens>::kSegments * kStrands;
    for (int s = part + kDownParts * warp; s < segments; s += kStep) {
        const int n_terms = terms.fill(coefs, selection, s, segments, n, n_own);
        __syncwarp();
        add_terms<kType, kTokens>(sums, terms, n_terms, w, tile + own);
        __syncwarp(); // the next list is written where this one is read
    }

    const int column = tile + thread;
    const bool is_column = column < w.cols;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
        const float(&s)[kLaneColumns] = sums[t];
        warp_sums[warp][own / 4] = make_float4(s[0], s[1], s[2], s[3]);
        warp_sums[warp][(own + Piece<kType>::kSecondFour) / 4] =
            make_float4(s[4], s[5], s[6], s[7]);
        __syncthreads();
        if (is_column && t < n_own) {
            float sum = 0.0f;
#pragma unroll
            for (int i = 0; i < kDownWarps; ++i) {
                sum += reinterpret_cast<const float*>(warp_sums[i])[thread];
            }
            const auto place = static_cast<size_t>(part * n_tokens + first + t);
            partial[place * dim + static_cast<size_t>(column)] = sum;
        }
        __syncthreads(); // the next token's sums are written where these are read
    }

    __threadfence(); // before it is announced that they are there
    __syncthreads();
    if (thread == 0) {
        uint32_t* counter = arrived + blockIdx.z * gridDim.x + blockIdx.x;
        is_last = atomicAdd(counter, 1u) + 1 == gridDim.y;
        if (is_last) {
            *counter = 0;
        }
    }
    __syncthreads();
    if (!is_last || !is_column) {
        return;
    }
    __threadfence();
    const float shift = bias != nullptr ? bias[column] : 0.0f;
    for (int t = 0; t < n_own; ++t) {
        float sum = 0.0f;
#pragma unroll 16
        for (int p = 0; p < static_cast<int>(gridDim.y); ++p) {
            const auto place = static_cast<size_t>(p * n_tokens + first + t);
            sum += partial[place * dim + static_cast<size_t>(column)];
        }
        x[static_cast<size_t>(first + t) * dim + static_cast<size_t>(column)] += sum + shift;
    }
}

} // namespace

void weigh(
    Stream stream,
    float* coef,
    const DeviceNeurons& neurons,
    const DeviceActivations& x,
    const Selection* selection,
    const Rule& rule,
    const NeuronCounters& counters
) {
    const Selection lists = selection != nullptr ? *selection : Selection{};
    const DeviceMatrix none;
    const DeviceMatrix& gate = neurons.gate;
    const DeviceMatrix& up = neurons.up;
    if (gate.body == nullptr) {
        launch_weigh(
            stream, coef, {up, none, neurons.up_bias, x, lists, rule, counters, neurons.n}
        );
    } else if (gate.type == up.type) {
        launch_weigh(stream, coef, {gate, up, nullptr, x, lists, rule, counters, neurons.n});
    } else { // one kernel for each type, instead of one for each pair of types
        launch_weigh(stream, coef, {gate, none, nullptr, x, lists, rule, {}, neurons.n});
        launch_weigh(stream, coef, {none, up, nullptr, x, lists, rule, counters, neurons.n});
    }
}

void project_down(
    Stream stream,
    float* x,
    const DeviceNeurons& neurons,
    const float* coef,
    const Selection* selection,
    const float* bias,
    int n_tokens,
    float* partial,
    uint32_t* arrived
) {
    const DeviceMatrix& w = neurons.down_t;
    const Selection lists = selection != nullptr ? *selection : Selection{};
    for_type(w.type, [&]<DType kType>() {
        for_tokens(n_tokens, [&]<int kTokens>() {
            const int segments = n_hot_segments(neurons.n);
            const dim3 grid(
                static_cast<unsigned>(ceil_div(w.cols, kDownColumns)),
                static_cast<unsigned>(std::min(kDownParts, segments)),
                static_cast<unsigned>(ceil_div(n_tokens, kTokens))
            );
            PI_LAUNCH((project_down_kernel<kType, kTokens>), grid, kDownColumns, 0, stream)
            (x, partial, arrived, w, coef, lists, bias, segments, n_tokens);
        });
    });
    check_launch("project_down");
}

} // namespace powerinfer::cuda
