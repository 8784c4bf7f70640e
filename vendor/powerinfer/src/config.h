// Hyper-parameters of a model, read from metadata and validated once, and the table of facts in
// which the model families differ. Facts: spec sections 1.2, 2 and 11.
#pragma once

#include "gguf.h"

#include <cstdint>

namespace powerinfer {

enum class Norm : uint8_t { rms, layer };

enum class Rope : uint8_t {
    none,
    pairs,  // rotates (2i, 2i+1)
    halves, // rotates (i, i + head_dim/2)
};

enum class Activation : uint8_t {
    relu,  // gated: f(g) * u, ungated: f(u); f is 0 up to the FATReLU threshold
    drelu, // relu(g) * relu(u)
    silu,  // silu(g) * u
};

// One row per architecture; a new family is a new row and, if it is wired differently, a branch in
// forward.cpp.
struct Family {
    const char* name;
    Norm norm;
    const char* norm_eps_key; // without the architecture prefix; nullptr: always 1e-5
    Rope rope;
    bool is_gated;
    bool is_parallel; // attention and feed-forward read the same input (falcon)
    bool has_fused_qkv;
    bool has_biases;              // of attention, feed-forward and norms
    bool has_position_table;      // learned positions, looked up at position + 2
    Activation sparse_activation; // in PWRI files
    Activation dense_activation;  // in GGUF files
};

struct RopeScaling {
    float freq_base = 10000.0F;
    float freq_scale = 1.0F; // 1 / factor
    bool is_yarn = false;
    int original_context = 0;
};

struct Config {
    const Family* family = nullptr;
    bool is_sparse = false; // PWRI
    int n_layers = 0;
    int dim = 0;
    int hidden_dim = 0;
    int n_heads = 0;
    int n_kv_heads = 0;
    int head_dim = 0;
    int kv_dim = 0; // n_kv_heads * head_dim
    int context_length = 0;
    float norm_eps = 1e-5F;
    RopeScaling rope;
    Activation activation = Activation::relu;
    float fatrelu_threshold = 0.0F;
    float sparse_threshold = 0.0F;

    int group() const noexcept { return n_heads / n_kv_heads; }
    bool has_zeros() const noexcept { return activation != Activation::silu; }
};

// Throws Error(format) for missing or impossible values, Error(unsupported) for other architectures
// and mixtures of experts.
Config read_config(const GgufFile& file);

const char* activation_name(const Config& config) noexcept;

} // namespace powerinfer
