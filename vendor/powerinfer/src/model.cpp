#include "model.h"

#include "error.h"
#include "placement.h"

#include <string>
#include <unordered_set>

namespace powerinfer {

namespace {

constexpr int kAnyRows = -1;
constexpr size_t kNamedUnknownTensors = 5; // the rest is counted

// Looks tensors up by name, checks them, and remembers which ones the model uses.
class Tensors {
public:
    explicit Tensors(const Weights& weights) : weights_(weights), file_(weights.file()) {}

    bool contains(const std::string& name) const { return file_.find_tensor(name) != nullptr; }

    Matrix matrix(const std::string& name, int rows, int cols) {
        const TensorInfo& info = require(name);
        const bool fits = info.n_dims <= 2 && info.ne[0] == static_cast<uint64_t>(cols) &&
                          info.ne[1] >= 1 && info.ne[1] <= INT32_MAX &&
                          (rows == kAnyRows || info.ne[1] == static_cast<uint64_t>(rows));
        PI_CHECK(
            fits,
            format,
            "tensor %s: want shape (%s, %d), file has (%llu, %llu)",
            name.c_str(),
            rows == kAnyRows ? "any" : std::to_string(rows).c_str(),
            cols,
            static_cast<unsigned long long>(info.ne[1]),
            static_cast<unsigned long long>(info.ne[0])
        );
        const DTypeInfo& type = dtype_info(info.type);
        PI_CHECK(
            type.is_weight,
            unsupported,
            "tensor %s has type %s; weights may be f32, f16, bf16, q4_0, q5_0, q8_0, q4_k, q5_k, "
            "q6_k",
            name.c_str(),
            type.name
        );
        return {weights_.data(info), info.type, static_cast<int>(info.ne[1]), cols};
    }

    const float* vector(const std::string& name, int n) {
        const TensorInfo& info = require(name);
        PI_CHECK(
            info.n_dims == 1 && info.ne[0] == static_cast<uint64_t>(n) && info.type == DType::f32,
            format,
            "tensor %s: want %d values of f32, file has %llu x %llu of %s",
            name.c_str(),
            n,
            static_cast<unsigned long long>(info.ne[0]),
            static_cast<unsigned long long>(info.ne[1]),
            dtype_info(info.type).name
        );
        return reinterpret_cast<const float*>(weights_.data(info));
    }

    NormWeights norm(const std::string& prefix, int dim, bool has_bias) {
        return {
            vector(prefix + ".weight", dim), has_bias ? vector(prefix + ".bias", dim) : nullptr
        };
    }

    void warn_unknown(const Log& log) const {
        size_t n_unknown = 0;
        for (const TensorInfo& info : file_.tensors()) {
            if (used_.contains(info.name)) {
                continue;
            }
            if (++n_unknown <= kNamedUnknownTensors) {
                log(LogLevel::warn, "unknown tensor " + std::string(info.name) + " is ignored");
            }
        }
        if (n_unknown > kNamedUnknownTensors) {
            const size_t rest = n_unknown - kNamedUnknownTensors;
            log(LogLevel::warn, std::to_string(rest) + " more unknown tensors are ignored");
        }
    }

    uint64_t used_bytes() const noexcept { return used_bytes_; }

private:
    const TensorInfo& require(const std::string& name) {
        const TensorInfo* info = file_.find_tensor(name);
        PI_CHECK(info != nullptr, format, "tensor %s is missing", name.c_str());
        if (used_.insert(info->name).second) {
            used_bytes_ += info->n_bytes;
        }
        return *info;
    }

    const Weights& weights_;
    const GgufFile& file_;
    std::unordered_set<std::string_view> used_;
    uint64_t used_bytes_ = 0;
};

void read_attention(
    Tensors& tensors, const Config& config, const std::string& block, Layer& layer
) {
    const int dim = config.dim;
    const int kv_dim = config.kv_dim;
    if (config.family->has_fused_qkv) {
        const Matrix qkv = tensors.matrix(block + "attn_qkv.weight", dim + 2 * kv_dim, dim);
        layer.q = qkv.range(0, dim);
        layer.k = qkv.range(dim, kv_dim);
        layer.v = qkv.range(dim + kv_dim, kv_dim);
    } else {
        layer.q = tensors.matrix(block + "attn_q.weight", dim, dim);
        layer.k = tensors.matrix(block + "attn_k.weight", kv_dim, dim);
        layer.v = tensors.matrix(block + "attn_v.weight", kv_dim, dim);
    }
    layer.o = tensors.matrix(block + "attn_output.weight", dim, dim);
    if (config.family->has_biases) {
        layer.q_bias = tensors.vector(block + "attn_q.bias", dim);
        layer.k_bias = tensors.vector(block + "attn_k.bias", kv_dim);
        layer.v_bias = tensors.vector(block + "attn_v.bias", kv_dim);
        layer.o_bias = tensors.vector(block + "attn_output.bias", dim);
    }
}

void read_ffn(Tensors& tensors, const Config& config, const std::string& block, Layer& layer) {
    const int dim = config.dim;
    const int hidden_dim = config.hidden_dim;
    if (config.family->is_gated) {
        layer.gate = tensors.matrix(block + "ffn_gate.weight", hidden_dim, dim);
    }
    layer.up = tensors.matrix(block + "ffn_up.weight", hidden_dim, dim);
    const std::string down = block + (config.is_sparse ? "ffn_down_t" : "ffn_down");
    if (config.is_sparse) {
        layer.down_t = tensors.matrix(down + ".weight", hidden_dim, dim);
    } else {
        layer.down = tensors.matrix(down + ".weight", dim, hidden_dim);
    }
    if (config.family->has_biases) {
        layer.up_bias = tensors.vector(block + "ffn_up.bias", hidden_dim);
        layer.down_bias = tensors.vector(down + ".bias", dim);
    }
}

void read_predictor(
    Tensors& tensors, const Config& config, const std::string& block, Layer& layer
) {
    layer.fc1 = tensors.matrix(block + "fc1.weight", kAnyRows, config.dim);
    layer.fc2 = tensors.matrix(block + "fc2.weight", config.hidden_dim, layer.fc1.rows);
}

Layer read_layer(Tensors& tensors, const Config& config, int index) {
    const std::string block = "blk." + std::to_string(index) + ".";
    const bool has_norm_bias = config.family->norm == Norm::layer;
    Layer layer;
    layer.attn_norm = tensors.norm(block + "attn_norm", config.dim, has_norm_bias);
    if (config.family->is_parallel) {
        if (tensors.contains(block + "attn_norm_2.weight")) {
            layer.attn_norm_2 = tensors.norm(block + "attn_norm_2", config.dim, has_norm_bias);
        }
    } else {
        layer.ffn_norm = tensors.norm(block + "ffn_norm", config.dim, has_norm_bias);
    }
    read_attention(tensors, config, block, layer);
    read_ffn(tensors, config, block, layer);
    return layer;
}

Strategy resolve_strategy(const Config& config, bool has_predictor, const ModelOptions& options) {
    if (!options.strategy.has_value()) {
        if (has_predictor) {
            return Strategy::predictor;
        }
        return config.is_sparse ? Strategy::exact : Strategy::dense;
    }
    switch (*options.strategy) {
    case Strategy::dense:
        break;
    case Strategy::automatic: // without zeros there is nothing to decide
        return config.has_zeros() ? Strategy::automatic : Strategy::dense;
    case Strategy::exact:
        PI_CHECK(
            config.has_zeros(),
            unsupported,
            "strategy exact needs an activation with exact zeros; this model's is %s: use dense",
            activation_name(config)
        );
        break;
    case Strategy::predictor:
        PI_CHECK(
            has_predictor,
            unsupported,
            "strategy predictor needs the tensors blk.*.fc1 and fc2 of a PWRI file; this file has "
            "none: use exact or dense"
        );
        break;
    }
    return *options.strategy;
}

void check_vocabulary(const GgufFile& file, int vocab_size) {
    const MetaValue* tokens = file.find("tokenizer.ggml.tokens");
    PI_CHECK(
        tokens == nullptr || tokens->n == static_cast<uint64_t>(vocab_size),
        format,
        "tensor token_embd.weight has %d rows, the vocabulary %llu tokens",
        vocab_size,
        static_cast<unsigned long long>(tokens == nullptr ? 0 : tokens->n)
    );
}

} // namespace

const char* strategy_name(Strategy strategy) noexcept {
    switch (strategy) {
    case Strategy::dense:
        return "dense";
    case Strategy::exact:
        return "exact";
    case Strategy::predictor:
        return "predictor";
    case Strategy::automatic:
        break;
    }
    return "auto";
}

Model::Model(std::shared_ptr<const Weights> weights, const ModelOptions& options)
    : weights_(std::move(weights)), config_(read_config(weights_->file())) {
    Tensors tensors(*weights_);
    const int dim = config_.dim;
    token_embd_ = tensors.matrix("token_embd.weight", kAnyRows, dim);
    check_vocabulary(weights_->file(), token_embd_.rows);
    if (config_.family->has_position_table) {
        position_embd_ = tensors.matrix("position_embd.weight", kAnyRows, dim);
    }
    output_norm_ = tensors.norm("output_norm", dim, config_.family->norm == Norm::layer);
    const bool is_tied = !tensors.contains("output.weight");
    output_ = is_tied ? token_embd_ : tensors.matrix("output.weight", token_embd_.rows, dim);

    has_predictor_ = config_.is_sparse && tensors.contains("blk.0.fc1.weight");
    layers_.reserve(static_cast<size_t>(config_.n_layers));
    for (int i = 0; i < config_.n_layers; ++i) {
        Layer layer = read_layer(tensors, config_, i);
        ffn_bytes_ += layer.gate.n_bytes() + layer.up.n_bytes() + layer.down.n_bytes() +
                      layer.down_t.n_bytes();
        if (has_predictor_) {
            read_predictor(tensors, config_, "blk." + std::to_string(i) + ".", layer);
            predictor_bytes_ += layer.fc1.n_bytes() + layer.fc2.n_bytes();
            max_rank_ = std::max(max_rank_, layer.fc1.rows);
        }
        layers_.push_back(layer);
    }
    weight_bytes_ = tensors.used_bytes();
    strategy_ = resolve_strategy(config_, has_predictor_, options);
    PI_CHECK(
        !options.sparse_threshold.has_value() || may_predict(),
        invalid_argument,
        "sparse_threshold is for the strategies predictor and auto with a predictor in the file; "
        "this load takes %s%s",
        strategy_name(strategy_),
        has_predictor_ ? "" : ", and the file has none"
    );
    config_.sparse_threshold = options.sparse_threshold.value_or(config_.sparse_threshold);
    PI_CHECK(
        options.placement == nullptr || strategy_ != Strategy::automatic,
        unsupported,
        "strategy auto decides by what it measured of the CPU; on a GPU take dense, exact or "
        "predictor"
    );
    choose_layout(options.placement);
    tensors.warn_unknown(options.log);
}

// About half of a predictor's hidden layer is zero, so that of its second matrix only some columns
// are needed; a device takes rows. Rows that are read for the same neurons lie side by side: the
// addresses of one page are then looked up for all of them. In a mapped file everything is where it
// is.
void Model::choose_layout(const Placement* placement) {
    if (weights_->copied_bytes() == 0) {
        return;
    }
    const bool is_gated = config_.family->is_gated;
    for (size_t i = 0; i < layers_.size(); ++i) {
        Layer& layer = layers_[i];
        const bool is_on_device = placement != nullptr && placement->layers[i].has_predictor;
        if (may_predict() && !is_on_device && fits_columns(layer.fc2.type, layer.fc2.rows)) {
            layer.fc2.is_by_columns = true;
            layout_.by_columns.push_back({layer.fc2.data, layer.fc2.rows, layer.fc2.cols});
        }
        if (layer.down_t.data == nullptr || strategy_ == Strategy::dense) {
            continue;
        }
        // All rows of the first matrix are read where no predictor chooses them.
        if (may_predict() && is_gated) {
            bundle(std::array{&layer.gate, &layer.up, &layer.down_t});
        } else if (may_predict() || is_gated) {
            bundle(std::array{&layer.up, &layer.down_t});
        }
    }
}

// Where they follow each other in the file, in any order.
void Model::bundle(std::span<Matrix* const> matrices) {
    std::vector<Matrix*> in_file(matrices.begin(), matrices.end());
    std::sort(in_file.begin(), in_file.end(), [](const Matrix* a, const Matrix* b) {
        return a->data < b->data;
    });
    const Matrix& first = *in_file.front();
    const std::byte* end = first.data;
    for (const Matrix* w : in_file) {
        if (w->data != end || w->type != first.type || w->cols != first.cols) {
            return;
        }
        end += w->n_bytes();
    }
    const int n = static_cast<int>(in_file.size());
    layout_.bundles.push_back({first.data, n, first.rows, first.n_row_bytes()});
    const std::byte* data = first.data;
    for (Matrix* w : in_file) {
        w->data = data;
        w->stride = n;
        data += w->n_row_bytes();
    }
}

} // namespace powerinfer
