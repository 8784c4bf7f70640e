// Products of rows of weights with many tokens: tiles of 64 x 32 on tensor cores.
//
// The bits are those of the kernels for few tokens. There lane l of a warp sums the chunks l, l +
// 32, l + 64, .. of a row, and the sums of the lanes are added as a tree, neighbours first. Here
// one thread has all chunks of a product: it goes through four neighbouring lanes' chunks at a
// time, a sum for each, adds the four up when they are done, and keeps of the tree what still waits
// for its other half. Integers of a chunk are exact in both.
#include "products.cuh"
#include "tensor.cuh"

namespace powerinfer::cuda {

namespace {

constexpr int kStageChunks = 4; // of a row: what is in shared memory at once
constexpr int kTileRows = 64;
constexpr int kTileTokens = 32;
constexpr int kWarpRows = 16;
constexpr int kWarpTokens = 16;
constexpr int kRowWarps = kTileRows / kWarpRows;
constexpr int kThreads = kRowWarps * (kTileTokens / kWarpTokens) * kWarp;
constexpr int kColumns = kWarpTokens / 8; // matrices of 16 x 8 of a warp
// Every thread brings a chunk of a row, and one of a plane of a token.
static_assert(kTileRows * kStageChunks == kThreads);
static_assert(2 * kTileTokens * kStageChunks == kThreads);

// Chunks of bytes of kN rows. Word k of a chunk goes beside word k + 4, so that a lane reads what
// it multiplies in one go, and the parts of a row are shuffled so that neither the threads that
// write nor those that read meet in a bank.
template <int kN>
struct Bytes {
    uint4 parts[kN][2 * kStageChunks];

    static __device__ __forceinline__ int place(int row, int chunk, int half) {
        return 2 * (chunk ^ row % 4) + (half ^ row % 2);
    }
    __device__ __forceinline__ void put(int row, int chunk, const uint32_t (&q)[8]) {
        parts[row][place(row, chunk, 0)] = make_uint4(q[0], q[4], q[1], q[5]);
        parts[row][place(row, chunk, 1)] = make_uint4(q[2], q[6], q[3], q[7]);
    }
    // Words i and i + 4.
    __device__ __forceinline__ uint2 get(int row, int chunk, int i) const {
        return reinterpret_cast<const uint2*>(&parts[row][place(row, chunk, i / 2)])[i % 2];
    }
};

// Numbers of each chunk of kN rows; longer than needed, so that writing threads meet in no bank.
template <typename T, int kN>
struct PerChunk {
    T values[kStageChunks][kN + 32 / sizeof(T)];
};

// Of a token's chunk: what the offset of the weights makes of its sums, of both halves or, where a
// row has one scale, of the whole in the first.
struct alignas(16) TokenScale {
    float scale;
    float sum;
    int shifts[2];
};

template <DType type>
constexpr bool kHasSecond = Chunks<type>::kHasTwoScales || Chunks<type>::kHasMin;

template <DType type>
struct Stage {
    Bytes<kTileRows> w;
    Bytes<kTileTokens> low;
    Bytes<kTileTokens> high;
    PerChunk<float, kTileRows> scale;
    PerChunk<float, kHasSecond<type> ? kTileRows : 0> second; // the other scale, or the minimum
    PerChunk<TokenScale, kTileTokens> token;
};

// What a thread brings to a stage, on its way from memory.
template <DType type>
struct Fetched {
    typename Chunks<type>::Bytes w;
    uint32_t plane[8];
    uint32_t block[4]; // BlockScale, of the low plane
    int c;
};

// Whether the next stage is on its way while one is computed. It is not where that takes too many
// registers: then the other warps are all that fills the time.
template <DType type>
constexpr bool kReadsAhead = sizeof(typename Chunks<type>::Bytes) < 40;

// Of the thread: the chunk of a row and of a token that it brings.
struct Sources {
    Row row;
    const uint8_t* plane; // of the token
    const BlockScale* blocks;
    int chunk; // of the stage
    int last_chunk;
};

template <DType type>
__device__ __forceinline__ void fetch(Fetched<type>& to, const Sources& from, int first_chunk) {
    // Beyond the last chunk, and after the last stage, something is fetched that nobody reads.
    const int c = min(first_chunk + from.chunk, from.last_chunk);
    to.c = c;
    Chunks<type>::load(to.w, from.row, c, 0);
    load_halves(to.plane, from.plane + static_cast<size_t>(c) * kChunk, 0);
    if (from.blocks != nullptr) {
        load_words(to.block, reinterpret_cast<const uint8_t*>(from.blocks + c));
    }
}

template <DType type>
__device__ __forceinline__ void put(Stage<type>& stage, const Fetched<type>& from) {
    constexpr int kOffset = Chunks<type>::kOffset;
    const int thread = static_cast<int>(threadIdx.x);
    const int chunk = thread % kStageChunks;
    const int row = thread / kStageChunks;
    uint32_t q[8];
    Chunks<type>::words(q, from.w, from.c, 0);
    stage.w.put(row, chunk, q);
    const ChunkScale scale = Chunks<type>::scale(from.w, from.c);
    stage.scale.values[chunk][row] = scale.scale[0];
    if constexpr (kHasSecond<type>) {
        stage.second.values[chunk][row] = Chunks<type>::kHasTwoScales ? scale.scale[1] : scale.min;
    }
    const int token = row % kTileTokens;
    if (row < kTileTokens) {
        stage.low.put(token, chunk, from.plane);
        const int sums[2] = {static_cast<int>(from.block[1]), static_cast<int>(from.block[2])};
        const int sum = sums[0] + sums[1];
        TokenScale& own = stage.token.values[chunk][token];
        own.scale = __int_as_float(static_cast<int>(from.block[0]));
        own.sum = static_cast<float>(sum);
        own.shifts[0] = -kOffset * (Chunks<type>::kHasTwoScales ? sums[0] : sum);
        own.shifts[1] = -kOffset * sums[1];
    } else {
        stage.high.put(token, chunk, from.plane);
    }
}

// Number 4 * column + 2 * h + j of a thread: row g + 8 * h with token 8 * column + 2 * i + j of the
// warp's, where g and i are those of multiply_add.
using Sums = float[4 * kColumns];

// Adds chunk `chunk` of the stage.
template <DType type>
__device__ __forceinline__ void add_stage_chunk(
    Sums& sums, const Stage<type>& stage, int chunk, int first_row, int first_token
) {
    constexpr bool kIsHalved = Chunks<type>::kHasTwoScales;
    const int g = lane_id() / 4;
    const int i = lane_id() % 4;
    uint32_t w[4];
    ChunkScale scales[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = first_row + g + 8 * h;
        const uint2 words = stage.w.get(row, chunk, i);
        w[h] = words.x;
        w[2 + h] = words.y;
        const float scale = stage.scale.values[chunk][row];
        scales[h] = {{scale, scale}, 0.0f};
        if constexpr (kHasSecond<type>) {
            const float second = stage.second.values[chunk][row];
            if constexpr (kIsHalved) {
                scales[h].scale[1] = second;
            } else {
                scales[h].min = second;
            }
        }
    }
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
        const int token = first_token + 8 * column;
        const uint2 low = stage.low.get(token + g, chunk, i);
        const uint2 high = stage.high.get(token + g, chunk, i);
        const TokenScale x[2] = {
            stage.token.values[chunk][token + 2 * i], stage.token.values[chunk][token + 2 * i + 1]
        };
        // Products of the high bytes, to which those of the low ones are added.
        constexpr int kParts = kIsHalved ? 2 : 1;
        int steps[kParts][4] = {};
        if constexpr (kIsHalved) {
            multiply_add<1>(steps[0], {w[0], w[1]}, {high.x});
            multiply_add<1>(steps[1], {w[2], w[3]}, {high.y});
        } else {
            multiply_add<2>(steps[0], w, {high.x, high.y});
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                steps[part][k] = 256 * steps[part][k] + x[k % 2].shifts[part];
            }
        }
        if constexpr (kIsHalved) {
            multiply_add<1>(steps[0], {w[0], w[1]}, {low.x});
            multiply_add<1>(steps[1], {w[2], w[3]}, {low.y});
        } else {
            multiply_add<2>(steps[0], w, {low.x, low.y});
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int halves[2] = {steps[0][k], kIsHalved ? steps[kParts - 1][k] : 0};
            float& sum = sums[4 * column + k];
            const TokenScale& token_scale = x[k % 2];
            sum = add_scaled<type>(sum, halves, scales[k / 2], token_scale.scale, token_scale.sum);
        }
    }
}

// The sums of the groups of kStageChunks lanes are added as a tree; groups come in order. Each
// thread has its own sums.
struct Tree {
    static constexpr int kLevels = 3;
    static_assert(kWarp / kStageChunks == 1 << kLevels);
    float waiting[kLevels][4 * kColumns][kThreads]; // of 1, 2 and 4 groups, for the next as many

    // `sums` of group `group`; afterwards of all groups that end with it.
    __device__ __forceinline__ void add(Sums& sums, int group) {
        const auto thread = threadIdx.x;
        int level = 0;
        for (; (group >> level & 1) != 0; ++level) {
#pragma unroll
            for (int k = 0; k < 4 * kColumns; ++k) {
                sums[k] = waiting[level][k][thread] + sums[k];
            }
        }
        if (level < kLevels) {
#pragma unroll
            for (int k = 0; k < 4 * kColumns; ++k) {
                waiting[level][k][thread] = sums[k];
            }
        }
    }
};

// Block (x, y) computes token tile x of the row tile y of the group: those that read the same
// weights run at the same time.
template <DType type>
__global__ void __launch_bounds__(kThreads, 2) multiply_tiles_kernel(
    const __grid_constant__ ProductGroup group, const __grid_constant__ DeviceActivations x
) {
    __shared__ Stage<type> stage;
    __shared__ Tree tree;
    const auto [product, block] = own_product(group, static_cast<int>(blockIdx.y));
    const int first_row = block * kTileRows;
    const int first_token = static_cast<int>(blockIdx.x) * kTileTokens;
    const int n_chunks = x.dim / kChunk;
    const int thread = static_cast<int>(threadIdx.x);
    const int own_row = thread / kStageChunks;
    const auto token =
        static_cast<size_t>(min(first_token + own_row % kTileTokens, x.n_tokens - 1));
    const bool is_low = own_row < kTileTokens;
    const int8_t* plane = is_low ? x.packed.low : x.packed.high;
    const Sources sources = {
        row_of<type>(product.w, min(first_row + own_row, product.w.rows - 1)),
        reinterpret_cast<const uint8_t*>(plane) + token * static_cast<size_t>(x.dim),
        is_low ? x.packed.blocks + token * static_cast<size_t>(n_chunks) : nullptr,
        thread % kStageChunks,
        n_chunks - 1,
    };
    const int warp = thread / kWarp;
    const int warp_row = warp % kRowWarps * kWarpRows;
    const int warp_token = warp / kRowWarps * kWarpTokens;

    Fetched<type> fetched{};
    fetch<type>(fetched, sources, 0);
    put<type>(stage, fetched);
    __syncthreads();
    Sums total;
#pragma unroll 1
    for (int lanes = 0; lanes < kWarp; lanes += kStageChunks) {
        Sums sums[kStageChunks] = {}; // of each lane
#pragma unroll 1
        for (int c = lanes; c < n_chunks; c += kWarp) {
            const int next = c + kWarp < n_chunks ? c + kWarp : lanes + kStageChunks;
            if (kReadsAhead<type>) {
                fetch<type>(fetched, sources, next);
            }
#pragma unroll
            for (int chunk = 0; chunk < kStageChunks; ++chunk) {
                if (c + chunk < n_chunks) {
                    add_stage_chunk<type>(sums[chunk], stage, chunk, warp_row, warp_token);
                }
            }
            if (!kReadsAhead<type>) {
                fetch<type>(fetched, sources, next);
            }
            __syncthreads(); // the stage has been read
            put<type>(stage, fetched);
            __syncthreads(); // the next one is there
        }
#pragma unroll
        for (int k = 0; k < 4 * kColumns; ++k) {
            total[k] = (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]);
        }
        tree.add(total, lanes / kStageChunks);
    }

    const int g = lane_id() / 4;
    const int i = lane_id() % 4;
#pragma unroll
    for (int k = 0; k < 4 * kColumns; ++k) {
        const int row = first_row + warp_row + g + 8 * (k / 2 % 2);
        const int t = first_token + warp_token + 8 * (k / 4) + 2 * i + k % 2;
        if (row < product.w.rows && t < x.n_tokens) {
            put_product(product, t, row, total[k]);
        }
    }
}

} // namespace

void multiply_tiles(
    Stream stream,
    const DeviceActivations& x,
    std::span<const DeviceProduct* const> products,
    DType type
) {
    const ProductGroup group = ProductGroup::of(products, kTileRows);
    const dim3 grid(
        static_cast<unsigned>(ceil_div(x.n_tokens, kTileTokens)),
        static_cast<unsigned>(group.n_blocks())
    );
    for_type(type, [&]<DType kType>() {
        if constexpr (kSplit<kType>.elements > 1) {
            PI_LAUNCH((multiply_tiles_kernel<kType>), grid, kThreads, 0, stream)(group, x);
        }
    });
    check_launch("multiply_tiles");
}

} // namespace powerinfer::cuda
