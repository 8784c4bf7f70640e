// A model: its configuration and its weights as shape-checked views, per layer.
// Immutable after load; may be shared between threads and contexts.
#pragma once

#include "config.h"
#include "cpu/ops.h"
#include "gguf.h"
#include "log.h"
#include "weights.h"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace powerinfer {

// Same numbers as PI_STRATEGY_*, without the default; `automatic` is PI_STRATEGY_AUTO.
enum class Strategy : uint32_t { dense = 1, exact = 2, predictor = 3, automatic = 4 };

// As it is written: "dense", ..., "auto".
const char* strategy_name(Strategy strategy) noexcept;

// A weight matrix: row-major, unless it says otherwise.
struct Matrix {
    const std::byte* data = nullptr; // nullptr: the model has no such matrix
    DType type = DType::f32;
    int rows = 0;
    int cols = 0;
    int stride = 1;             // rows of this size from one row to the next, see RowBundle
    bool is_by_columns = false; // see columns.h; it has no rows to slice or select

    size_t n_row_bytes() const noexcept { return row_bytes(type, cols); }
    size_t stride_bytes() const noexcept { return n_row_bytes() * static_cast<size_t>(stride); }
    size_t n_bytes() const noexcept { return n_row_bytes() * static_cast<size_t>(rows); }
    bool is_quantized() const noexcept { return dtype_info(type).is_quantized; }
    // The matrix of rows [begin, begin + n).
    Matrix range(int begin, int n) const noexcept {
        return {data + static_cast<size_t>(begin) * stride_bytes(), type, n, cols, stride};
    }
    cpu::Rows slice(int begin, int end) const noexcept {
        return {range(begin, end - begin).data, stride_bytes(), nullptr, end - begin};
    }
    cpu::Rows select(const int32_t* ids, int n) const noexcept {
        return {data, stride_bytes(), ids, n};
    }
    // Rows [begin, end) of the list `ids`, or of all where it is nullptr.
    cpu::Rows part(const int32_t* ids, int begin, int end) const noexcept {
        return ids == nullptr ? slice(begin, end) : select(ids + begin, end - begin);
    }
};

// Weight and bias of a norm; bias is nullptr where the family has none.
struct NormWeights {
    const float* weight = nullptr; // (dim,)
    const float* bias = nullptr;   // (dim,)
};

struct Layer {
    NormWeights attn_norm;
    NormWeights attn_norm_2; // falcon 40B: input of attention; absent elsewhere
    Matrix q;                // (dim, dim)
    Matrix k;                // (kv_dim, dim)
    Matrix v;                // (kv_dim, dim)
    Matrix o;                // (dim, dim)
    const float* q_bias = nullptr;
    const float* k_bias = nullptr;
    const float* v_bias = nullptr;
    const float* o_bias = nullptr;
    NormWeights ffn_norm;             // absent in parallel blocks
    Matrix gate;                      // (hidden_dim, dim), gated families
    Matrix up;                        // (hidden_dim, dim)
    Matrix down;                      // (dim, hidden_dim), GGUF files
    Matrix down_t;                    // (hidden_dim, dim), PWRI files: row n is what neuron n adds
    const float* up_bias = nullptr;   // (hidden_dim,)
    const float* down_bias = nullptr; // (dim,)
    Matrix fc1;                       // (rank, dim), predictor
    Matrix fc2;                       // (hidden_dim, rank), by columns where it can be
};

struct Placement;

struct ModelOptions {
    std::optional<Strategy> strategy; // absent: the file's natural one
    std::optional<float> sparse_threshold;
    Log log;
    // What a device gets copies of. Throws Error(unsupported) with Strategy::automatic, whose
    // measurements are the host's.
    const Placement* placement = nullptr;
};

class Model {
public:
    // Throws Error(format) for missing or misshapen tensors, Error(unsupported) for types and
    // strategies that the file cannot serve. Reads no weights, so that a wrong file is refused
    // before they are made resident.
    Model(std::shared_ptr<const Weights> weights, const ModelOptions& options);

    const Config& config() const noexcept { return config_; }
    Strategy strategy() const noexcept { return strategy_; }
    bool has_predictor() const noexcept { return has_predictor_; }
    // Whether some layer may use its predictor.
    bool may_predict() const noexcept {
        return has_predictor_ &&
               (strategy_ == Strategy::predictor || strategy_ == Strategy::automatic);
    }
    int vocab_size() const noexcept { return token_embd_.rows; }
    const Matrix& token_embd() const noexcept { return token_embd_; }       // (vocab_size, dim)
    const Matrix& position_embd() const noexcept { return position_embd_; } // (positions + 2, dim)
    const NormWeights& output_norm() const noexcept { return output_norm_; }
    const Matrix& output() const noexcept { return output_; } // (vocab_size, dim)
    const Layer& layer(int i) const noexcept { return layers_[static_cast<size_t>(i)]; }
    // Of the layers that may use their predictor, else 0.
    int max_predictor_rank() const noexcept { return may_predict() ? max_rank_ : 0; }
    uint64_t weight_bytes() const noexcept { return weight_bytes_; }
    uint64_t ffn_bytes() const noexcept { return ffn_bytes_; }
    uint64_t predictor_bytes() const noexcept { return predictor_bytes_; }
    const Weights& weights() const noexcept { return *weights_; }
    // How the matrices are to lie in a copy of the weights.
    const Layout& layout() const noexcept { return layout_; }

private:
    void choose_layout(const Placement* placement);
    void bundle(std::span<Matrix* const> matrices);

    std::shared_ptr<const Weights> weights_;
    Config config_;
    Strategy strategy_ = Strategy::dense;
    bool has_predictor_ = false;
    int max_rank_ = 0;
    Matrix token_embd_;
    Matrix position_embd_;
    NormWeights output_norm_;
    Matrix output_;
    std::vector<Layer> layers_;
    Layout layout_;
    uint64_t weight_bytes_ = 0;
    uint64_t ffn_bytes_ = 0;
    uint64_t predictor_bytes_ = 0;
};

} // namespace powerinfer
