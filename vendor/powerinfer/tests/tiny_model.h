// Random models of every family, small enough to run a thousand times.
#pragma once

#include "gguf_writer.h"
#include "quantize.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace test {

struct TinyShape {
    std::string family = "llama";
    bool is_sparse = true;
    bool has_predictor = true;
    bool has_second_norm = false; // as falcon 40B
    DType type = DType::f32;
    int dim = 64;
    int hidden_dim = 96;
    int n_layers = 2;
    int n_heads = 4;
    int n_kv_heads = 2;
    int vocab_size = 40;
    int rank = 32;
    int n_ctx = 64;
    uint64_t seed = 1;
};

class TinyModel {
public:
    explicit TinyModel(const TinyShape& shape) : shape_(shape), state_(shape.seed) {
        writer_.magic = shape.is_sparse ? "PWRI" : "GGUF";
        add_metadata();
        matrix("token_embd.weight", shape.vocab_size, shape.dim, 1.0F);
        if (is_opt()) {
            matrix("position_embd.weight", shape.n_ctx + 2, shape.dim, 0.5F);
        } else {
            matrix("output.weight", shape.vocab_size, shape.dim);
        }
        norm("output_norm");
        for (int i = 0; i < shape.n_layers; ++i) {
            add_layer("blk." + std::to_string(i) + ".");
        }
    }

    GgufWriter& writer() { return writer_; }
    Bytes build() { return writer_.build(); }

private:
    bool is_opt() const { return shape_.family == "opt"; }
    bool is_falcon() const { return shape_.family == "falcon"; }
    bool is_gated() const { return !is_opt() && !is_falcon(); }
    bool has_layer_norm() const { return !is_gated(); }

    void add_metadata() {
        const std::string prefix = shape_.family + ".";
        const auto u32 = [&](const char* key, int value) {
            writer_.add_u32(prefix + key, static_cast<uint32_t>(value));
        };
        writer_.add_string("general.architecture", shape_.family);
        u32("context_length", shape_.n_ctx);
        u32("embedding_length", shape_.dim);
        u32("feed_forward_length", shape_.hidden_dim);
        u32("block_count", shape_.n_layers);
        u32("attention.head_count", shape_.n_heads);
        u32("attention.head_count_kv", shape_.n_kv_heads);
        const char* eps =
            is_gated() ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
        writer_.add(prefix + eps, MetaType::f32, 1e-5F);
    }

    void add_layer(const std::string& block) {
        const int dim = shape_.dim;
        const int kv_dim = dim / shape_.n_heads * shape_.n_kv_heads;
        norm(block + "attn_norm");
        if (shape_.has_second_norm) {
            norm(block + "attn_norm_2");
        }
        if (is_falcon()) {
            matrix(block + "attn_qkv.weight", dim + 2 * kv_dim, dim);
        } else {
            norm(block + "ffn_norm");
            biased(block + "attn_q", dim, dim);
            biased(block + "attn_k", kv_dim, dim);
            biased(block + "attn_v", kv_dim, dim);
        }
        biased(block + "attn_output", dim, dim);
        if (is_gated()) {
            matrix(block + "ffn_gate.weight", shape_.hidden_dim, dim);
        }
        biased(block + "ffn_up", shape_.hidden_dim, dim);
        if (shape_.is_sparse) {
            matrix(block + "ffn_down_t.weight", shape_.hidden_dim, dim);
        } else {
            matrix(block + "ffn_down.weight", dim, shape_.hidden_dim);
        }
        if (is_opt()) {
            vector(block + (shape_.is_sparse ? "ffn_down_t.bias" : "ffn_down.bias"), dim, 0.0F);
        }
        if (shape_.is_sparse && shape_.has_predictor) {
            matrix(block + "fc1.weight", shape_.rank, dim);
            matrix(block + "fc2.weight", shape_.hidden_dim, shape_.rank);
        }
    }

    void biased(const std::string& name, int rows, int cols) {
        matrix(name + ".weight", rows, cols);
        if (is_opt()) {
            vector(name + ".bias", rows, 0.0F);
        }
    }

    void norm(const std::string& name) {
        vector(name + ".weight", shape_.dim, 1.0F);
        if (has_layer_norm()) {
            vector(name + ".bias", shape_.dim, 0.0F);
        }
    }

    void matrix(const std::string& name, int rows, int cols, float scale = 0.0F) {
        const float spread = scale > 0.0F ? scale : 1.0F / std::sqrt(static_cast<float>(cols));
        const size_t stride = powerinfer::row_bytes(shape_.type, cols);
        WriterTensor tensor{name, static_cast<uint32_t>(shape_.type), {}, {}};
        tensor.ne = {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)};
        tensor.data.resize(stride * static_cast<size_t>(rows));
        std::vector<float> row(static_cast<size_t>(cols));
        for (int r = 0; r < rows; ++r) {
            for (float& value : row) {
                value = spread * noise();
            }
            std::byte* out = tensor.data.data() + static_cast<size_t>(r) * stride;
            powerinfer::quantize_row(shape_.type, out, row.data(), cols);
        }
        writer_.tensors.push_back(std::move(tensor));
    }

    void vector(const std::string& name, int n, float center) {
        WriterTensor tensor{name, static_cast<uint32_t>(DType::f32), {}, {}};
        tensor.ne = {static_cast<uint64_t>(n)};
        for (int i = 0; i < n; ++i) {
            const float value = center + 0.1F * noise();
            append(tensor.data, &value, sizeof value);
        }
        writer_.tensors.push_back(std::move(tensor));
    }

    // Of unit variance, from four uniform numbers.
    float noise() {
        float sum = 0.0F;
        for (int i = 0; i < 4; ++i) {
            state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
            sum += static_cast<float>(state_ >> 40) / 8388608.0F - 1.0F;
        }
        return sum * 0.8660254F;
    }

    TinyShape shape_;
    uint64_t state_;
    GgufWriter writer_;
};

} // namespace test
