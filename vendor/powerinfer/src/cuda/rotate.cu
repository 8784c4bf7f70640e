// Rotation of the new tokens' rows, which are stored in the paged cache.
#include "pages.cuh"

namespace powerinfer::cuda {

namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ void store(float* out, float x) {
    *out = x;
}

__device__ __forceinline__ void store(__half* out, float x) {
    *out = __float2half_rn(x);
}

// A thread for each pair of elements that turn together: those of q (none without rope), of k and
// of v, in this order.
template <typename T>
__global__ void __launch_bounds__(kThreads) rotate_and_store_kernel(
    float* __restrict__ q,
    T* __restrict__ keys,
    T* __restrict__ values,
    const float* __restrict__ k,
    const float* __restrict__ v,
    DeviceTokens tokens,
    Heads heads
) {
    const int half = heads.head_dim / 2;
    const int dim = heads.n_heads * heads.head_dim;
    const int kv_dim = heads.n_kv_heads * heads.head_dim;
    const bool turns = heads.rope != Rope::none;
    const int n_q = turns ? dim / 2 : 0;
    const int n_kv = kv_dim / 2;
    const int t = static_cast<int>(blockIdx.y);
    int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (pair >= n_q + 2 * n_kv) {
        return;
    }
    const bool is_q = pair < n_q;
    const bool is_v = pair >= n_q + n_kv;
    pair -= is_q ? 0 : is_v ? n_q + n_kv : n_q;

    const int i = pair % half;
    const int first = pair / half * heads.head_dim;
    const int a = first + (heads.rope == Rope::halves ? i : 2 * i);
    const int b = a + (heads.rope == Rope::halves ? half : 1);
    const float* in = is_q ? q + static_cast<size_t>(t) * static_cast<size_t>(dim)
                           : (is_v ? v : k) + static_cast<size_t>(t) * static_cast<size_t>(kv_dim);
    float x = in[a];
    float y = in[b];
    if (turns && !is_v) {
        const float* rotation =
            tokens.rotation + static_cast<size_t>(t) * static_cast<size_t>(heads.head_dim);
        const float cosine = rotation[i];
        const float sine = rotation[half + i];
        const float turned = x * cosine - y * sine;
        y = x * sine + y * cosine;
        x = turned;
    }
    if (is_q) {
        float* out = q + static_cast<size_t>(t) * static_cast<size_t>(dim);
        out[a] = x;
        out[b] = y;
        return;
    }
    const int position = tokens.positions[t];
    const size_t row = page_row(tokens, t, position) + static_cast<size_t>(position % kPageTokens);
    T* out = (is_v ? values : keys) + row * static_cast<size_t>(kv_dim);
    store(out + a, x);
    store(out + b, y);
}

} // namespace

void rotate_and_store(
    Stream stream,
    float* q,
    const float* k,
    const float* v,
    const DeviceCache& cache,
    const DeviceTokens& tokens,
    const Heads& heads
) {
    const int n_pairs =
        (heads.rope != Rope::none ? heads.dim() / 2 : 0) + heads.kv_dim(); // of q, k and v
    const dim3 grid(
        static_cast<unsigned>(ceil_div(n_pairs, kThreads)), static_cast<unsigned>(tokens.n)
    );
    if (cache.type == DType::f16) {
        PI_LAUNCH((rotate_and_store_kernel<__half>), grid, kThreads, 0, stream)
        (q,
         reinterpret_cast<__half*>(cache.keys),
         reinterpret_cast<__half*>(cache.values),
         k,
         v,
         tokens,
         heads);
    } else {
        PI_LAUNCH((rotate_and_store_kernel<float>), grid, kThreads, 0, stream)
        (q,
         reinterpret_cast<float*>(cache.keys),
         reinterpret_cast<float*>(cache.values),
         k,
         v,
         tokens,
         heads);
    }
    check_launch("rotary positions");
}
} // namespace powerinfer::cuda
