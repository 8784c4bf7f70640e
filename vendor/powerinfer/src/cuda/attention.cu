// Attention over the paged cache, in two kernels. The first gives every chunk of positions of a
// sequence to a block, so that a long sequence keeps the whole device busy; the second merges the
// chunks.
#include "attention_chunk.cuh"
#include "packed.cuh"
#include "pages.cuh"

namespace powerinfer::cuda {

namespace {

constexpr int kMergeThreads = 128;

// Of a block that sums a chunk. A warp takes a page at a time.
constexpr int kWarps = kLeastChunk / kPageTokens;

// Of one head over the warps of a block.
template <int kHeads>
__device__ __forceinline__ float maximum(const float (&maxima)[kWarps][kHeads], int head) {
    float max = maxima[0][head];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) {
        max = fmaxf(max, maxima[w][head]);
    }
    return max;
}

struct Chunks {
    int n_heads;
    int n_kv_heads;
    int head_dim;
    int n_head_tiles;   // of a group, kHeads query heads each
    int n_column_tiles; // of a head, kColumns each
    int chunk;          // positions
    int n_chunks;
    float scale; // of the scores
};

// partial (T, n_chunks, dim): weighted values; stats (T, n_chunks, n_heads): the maximum score and
// the sum of the weights, both relative to that maximum. Nothing is written of chunks that begin
// beyond a token's position.
template <typename T, int kPiece, int kLanes, int kHeads>
__global__ void __launch_bounds__(kWarps* kWarp, kHeads <= 4 ? 2 : 1) attend_chunk_kernel(
    float* __restrict__ partial,
    float2* __restrict__ stats,
    const float* __restrict__ q,
    const T* __restrict__ keys,
    const T* __restrict__ values,
    DeviceTokens tokens,
    Chunks shape
) {
    using Warp = ChunkOfWarp<T, kPiece, kLanes, kHeads>;
    constexpr int kColumns = Warp::kColumns;
    constexpr int kMost = 16384 / (kWarps * kColumns * static_cast<int>(sizeof(float)));
    constexpr int kExchanged = kMost < kHeads ? kMost : kHeads; // heads that warps add up at once
    static_assert(kHeads % kExchanged == 0);
    PI_DYNAMIC_SHARED(float, queries); // (kHeads, query_stride)
    __shared__ __align__(16) float scores[kWarps][kWarp * kHeads];
    __shared__ float maxima[kWarps][kHeads];
    __shared__ float sums[kWarps][kHeads];
    __shared__ __align__(16) float sums_of_values[kWarps][kExchanged * kColumns];

    // A block has no more memory unless it is asked for. Only few heads have several column tiles.
    constexpr size_t kQueries = kHeads * (kHeads <= 4 ? kMaxHeadDim : kColumns) * sizeof(float);
    static_assert(kMaxHeadDim % kColumns == 0);
    static_assert(
        kQueries + sizeof scores + sizeof maxima + sizeof sums + sizeof sums_of_values <= 48 << 10
    );

    const int chunk = static_cast<int>(blockIdx.x);
    const int t = static_cast<int>(blockIdx.z);
    const int begin = chunk * shape.chunk;
    const int end = min(begin + shape.chunk, tokens.positions[t] + 1);
    if (begin >= end) {
        return;
    }
    const int tile = static_cast<int>(blockIdx.y);
    const int column_tile = tile % shape.n_column_tiles;
    const int head_tile = tile / shape.n_column_tiles % shape.n_head_tiles;
    const int kv_head = tile / shape.n_column_tiles / shape.n_head_tiles;
    const int group = shape.n_heads / shape.n_kv_heads;
    const int n_active = min(kHeads, group - head_tile * kHeads);
    const int first_head = kv_head * group + head_tile * kHeads;
    const int dim = shape.n_heads * shape.head_dim;
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / kWarp;
    const int lane = thread % kWarp;

    const int query_stride = shape.n_column_tiles * kColumns;
    q += static_cast<size_t>(t) * static_cast<size_t>(dim) +
         static_cast<size_t>(first_head) * static_cast<size_t>(shape.head_dim);
#pragma unroll 1
    for (int i = thread; i < kHeads * query_stride; i += kWarps * kWarp) {
        const int head = i / query_stride;
        const int column = i % query_stride;
        const bool is_query = head < n_active && column < shape.head_dim;
        queries[i] = is_query ? q[head * shape.head_dim + column] : 0.0f;
    }
    __syncthreads(); // of `queries`

    const int n_pieces = shape.head_dim / kPiece;
    const int piece = column_tile * kLanes + lane % kLanes;
    PageRows page = {0, shape.n_kv_heads * shape.head_dim, 0};
    Warp state;
#pragma unroll 1
    for (int position = begin + warp * kPageTokens; position < end;
         position += kWarps * kPageTokens) {
        page.offset = page_row(tokens, t, position) * static_cast<size_t>(page.stride) +
                      static_cast<size_t>(kv_head * shape.head_dim);
        page.n = min(kPageTokens, end - position);
        state.score(scores[warp], queries, query_stride, keys, page, n_pieces, shape.scale);
        __syncwarp(); // of `scores`: a lane reads what others wrote, three times
        state.weigh(scores[warp], page.n);
        __syncwarp();
        const T* columns = values + piece * kPiece;
        state.add(scores[warp], columns, page, piece < n_pieces);
        __syncwarp();
    }
    state.gather();

    if (lane == 0) {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            maxima[warp][h] = state.max[h];
            sums[warp][h] = state.sum[h];
        }
    }
    __syncthreads(); // of `maxima` and `sums`

    const size_t row =
        static_cast<size_t>(t) * static_cast<size_t>(shape.n_chunks) + static_cast<size_t>(chunk);
    partial += row * static_cast<size_t>(dim);
    stats += row * static_cast<size_t>(shape.n_heads);
    const int first_column = column_tile * kColumns;
#pragma unroll
    for (int first = 0; first < kHeads; first += kExchanged) {
#pragma unroll
        for (int e = 0; e < kExchanged; ++e) {
            const float shrink = exp_below(state.max[first + e], maximum(maxima, first + e));
            if (lane < kLanes) {
#pragma unroll
                for (int i = 0; i < kPiece; ++i) {
                    sums_of_values[warp][e * kColumns + lane * kPiece + i] =
                        state.value[first + e][i] * shrink;
                }
            }
        }
        __syncthreads(); // of `sums_of_values`
        for (int i = thread; i < kExchanged * kColumns; i += kWarps * kWarp) {
            const int head = first + i / kColumns;
            const int column = first_column + i % kColumns;
            float total = sums_of_values[0][i];
#pragma unroll
            for (int w = 1; w < kWarps; ++w) {
                total += sums_of_values[w][i];
            }
            if (head < n_active && column < shape.head_dim) {
                partial[(first_head + head) * shape.head_dim + column] = total;
            }
        }
        __syncthreads(); // the next heads are written where these are read
    }
    if (thread < n_active && column_tile == 0) {
        const float most = maximum(maxima, thread);
        float total = 0;
        for (int w = 0; w < kWarps; ++w) {
            total += sums[w][thread] * exp_below(maxima[w][thread], most);
        }
        stats[first_head + thread] = float2{most, total};
    }
}

// A thread for each column of a token.
__global__ void __launch_bounds__(kMergeThreads) merge_chunks_kernel(
    float* __restrict__ out,
    Packed packed,
    const float* __restrict__ partial,
    const float2* __restrict__ stats,
    const int32_t* __restrict__ positions,
    int n_heads,
    int head_dim,
    int chunk,
    int n_chunks,
    int max_step
) {
    const int t = static_cast<int>(blockIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int dim = n_heads * head_dim;
    if (column >= dim) {
        return; // a whole warp, where the row is packed
    }
    const int n = positions[t] / chunk + 1;
    const size_t row = static_cast<size_t>(t) * static_cast<size_t>(n_chunks);
    partial += row * static_cast<size_t>(dim) + static_cast<size_t>(column);
    stats += row * static_cast<size_t>(n_heads) + static_cast<size_t>(column / head_dim);
    float max = -INFINITY;
    for (int c = 0; c < n; ++c) {
        max = fmaxf(max, stats[static_cast<size_t>(c) * static_cast<size_t>(n_heads)].x);
    }
    float total = 0;
    float value = 0;
#pragma unroll 4
    for (int c = 0; c < n; ++c) {
        const float2 stat = stats[static_cast<size_t>(c) * static_cast<size_t>(n_heads)];
        const float shrink = exp_below(stat.x, max);
        total += stat.y * shrink;
        value += partial[static_cast<size_t>(c) * static_cast<size_t>(dim)] * shrink;
    }
    const float result = value / total; // NaN where all scores are -inf: 0 / 0
    const size_t offset = static_cast<size_t>(t) * static_cast<size_t>(dim);
    out[offset + static_cast<size_t>(column)] = result;
    if (packed.low != nullptr) {
        pack_lane(packed, offset + static_cast<size_t>(column - lane_id()), result, max_step);
    }
}

int n_chunks_of(int n_ctx) noexcept {
    return ceil_div(n_ctx, attention_chunk(n_ctx));
}

struct Attention {
    Stream stream;
    float* partial;
    float2* stats;
    const float* q;
    const DeviceCache& cache;
    const DeviceTokens& tokens;
    const Heads& heads;
    int n_ctx;

    template <typename T, int kPiece, int kLanes, int kHeads>
    void run() const {
        const Chunks shape = {
            .n_heads = heads.n_heads,
            .n_kv_heads = heads.n_kv_heads,
            .head_dim = heads.head_dim,
            .n_head_tiles = ceil_div(heads.n_heads / heads.n_kv_heads, kHeads),
            .n_column_tiles = ceil_div(heads.head_dim, kLanes * kPiece),
            .chunk = attention_chunk(n_ctx),
            .n_chunks = n_chunks_of(n_ctx),
            .scale = 1.0f / std::sqrt(static_cast<float>(heads.head_dim)),
        };
        const dim3 grid(
            static_cast<unsigned>(shape.n_chunks),
            static_cast<unsigned>(heads.n_kv_heads * shape.n_head_tiles * shape.n_column_tiles),
            static_cast<unsigned>(tokens.n)
        );
        const size_t shared =
            static_cast<size_t>(kHeads * shape.n_column_tiles * kLanes * kPiece) * sizeof(float);
        PI_LAUNCH(
            (attend_chunk_kernel<T, kPiece, kLanes, kHeads>), grid, kWarps * kWarp, shared, stream
        )
        (partial,
         stats,
         q,
         reinterpret_cast<const T*>(cache.keys),
         reinterpret_cast<const T*>(cache.values),
         tokens,
         shape);
        check_launch("attention");
    }

    // Groups of more heads than kMostHeads are split: the second tile finds keys and values in the
    // cache of the device.
    template <typename T, int kPiece, int kLanes, int kMostHeads>
    void run_group() const {
        const int group = heads.n_heads / heads.n_kv_heads;
        if (group == 1) {
            run<T, kPiece, kLanes, 1>();
        } else if (group <= 4) {
            run<T, kPiece, kLanes, 4>();
        } else {
            run<T, kPiece, kLanes, kMostHeads>();
        }
    }

    // Fast kernels for heads whose rows are words of 16 bytes, one for all the others.
    void run_f16() const {
        if (heads.head_dim % 8 != 0) {
            run<__half, 2, 32, 4>();
        } else if (heads.head_dim <= 64) {
            run_group<__half, 8, 8, 8>();
        } else if (heads.head_dim <= 128) {
            run_group<__half, 8, 16, 8>();
        } else {
            run_group<__half, 8, 32, 4>();
        }
    }

    void run_f32() const {
        if (heads.head_dim % 4 != 0) {
            run<float, 2, 32, 4>();
        } else if (heads.head_dim <= 64) {
            run_group<float, 4, 16, 4>();
        } else {
            run_group<float, 4, 32, 4>();
        }
    }
};

} // namespace
void attend(
    Stream stream,
    float* out,
    const Packed& packed,
    const float* q,
    const DeviceCache& cache,
    const DeviceTokens& tokens,
    const Heads& heads,
    int n_ctx,
    int max_step,
    float* scratch
) {
    const int n_chunks = n_chunks_of(n_ctx);
    // The values come first: there are an even number of them, which keeps the pairs aligned.
    const size_t n_values = static_cast<size_t>(tokens.n) * static_cast<size_t>(n_chunks) *
                            static_cast<size_t>(heads.dim());
    float2* stats = reinterpret_cast<float2*>(scratch + n_values);
    const Attention attention = {stream, scratch, stats, q, cache, tokens, heads, n_ctx};
    if (cache.type == DType::f16) {
        attention.run_f16();
    } else {
        attention.run_f32();
    }
    const dim3 grid(
        static_cast<unsigned>(ceil_div(heads.dim(), kMergeThreads)), static_cast<unsigned>(tokens.n)
    );
    PI_LAUNCH((merge_chunks_kernel), grid, kMergeThreads, 0, stream)
    (out,
     packed,
     scratch,
     stats,
     tokens.positions,
     heads.n_heads,
     heads.head_dim,
     attention_chunk(n_ctx),
     n_chunks,
     max_step);
    check_launch("attention");
}

} // namespace powerinfer::cuda
