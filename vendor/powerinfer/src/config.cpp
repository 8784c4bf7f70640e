#include "config.h"

#include "error.h"

#include <array>
#include <cmath>
#include <string>

namespace powerinfer {

namespace {

constexpr uint32_t kMaxDim = 1U << 20; // keeps every product of two dimensions far inside 64 bits
constexpr uint32_t kMaxLayers = 1U << 12;
constexpr int kPositionOffset = 2; // rows of opt's position table before position 0

constexpr std::array kFamilies = {
    Family{
        .name = "llama",
        .norm = Norm::rms,
        .norm_eps_key = "attention.layer_norm_rms_epsilon",
        .rope = Rope::pairs,
        .is_gated = true,
        .is_parallel = false,
        .has_fused_qkv = false,
        .has_biases = false,
        .has_position_table = false,
        .sparse_activation = Activation::relu,
        .dense_activation = Activation::silu,
    },
    Family{
        .name = "bamboo",
        .norm = Norm::rms,
        .norm_eps_key = "attention.layer_norm_rms_epsilon",
        .rope = Rope::pairs,
        .is_gated = true,
        .is_parallel = false,
        .has_fused_qkv = false,
        .has_biases = false,
        .has_position_table = false,
        .sparse_activation = Activation::drelu,
        .dense_activation = Activation::drelu,
    },
    Family{
        .name = "falcon",
        .norm = Norm::layer,
        .norm_eps_key = "attention.layer_norm_epsilon",
        .rope = Rope::halves,
        .is_gated = false,
        .is_parallel = true,
        .has_fused_qkv = true,
        .has_biases = false,
        .has_position_table = false,
        .sparse_activation = Activation::relu,
        .dense_activation = Activation::relu,
    },
    Family{
        .name = "opt",
        .norm = Norm::layer,
        .norm_eps_key = nullptr,
        .rope = Rope::none,
        .is_gated = false,
        .is_parallel = false,
        .has_fused_qkv = false,
        .has_biases = true,
        .has_position_table = true,
        .sparse_activation = Activation::relu,
        .dense_activation = Activation::relu,
    },
};

const Family& find_family(std::string_view name) {
    std::string known;
    for (const Family& family : kFamilies) {
        if (name == family.name) {
            return family;
        }
        known += known.empty() ? "" : ", ";
        known += family.name;
    }
    PI_THROW(
        unsupported,
        "architecture \"%.*s\" is not supported; this build knows %s",
        static_cast<int>(std::min<size_t>(name.size(), 64)),
        name.data(),
        known.c_str()
    );
}

// Reads keys below "<architecture>.".
class Keys {
public:
    Keys(const GgufFile& file, std::string_view architecture) : file_(file), prefix_(architecture) {
        prefix_ += '.';
    }

    std::string full(const char* key) const { return prefix_ + key; }

    int dimension(const char* key, uint32_t limit) const {
        const std::optional<uint32_t> value = file_.u32(full(key));
        PI_CHECK(value.has_value(), format, "metadata key %s is missing", full(key).c_str());
        return checked(key, *value, limit);
    }

    int dimension_or(const char* key, uint32_t limit, int fallback) const {
        const std::optional<uint32_t> value = file_.u32(full(key));
        return value.has_value() ? checked(key, *value, limit) : fallback;
    }

    std::optional<float> number(const char* key) const {
        const std::optional<float> value = file_.f32(full(key));
        PI_CHECK(
            !value.has_value() || std::isfinite(*value),
            format,
            "metadata key %s: want a finite number",
            full(key).c_str()
        );
        return value;
    }

private:
    int checked(const char* key, uint32_t value, uint32_t limit) const {
        PI_CHECK(
            value >= 1 && value <= limit,
            format,
            "metadata key %s: want 1 to %u, file has %u",
            full(key).c_str(),
            limit,
            value
        );
        return static_cast<int>(value);
    }

    const GgufFile& file_;
    std::string prefix_;
};

void refuse_experts(const GgufFile& file, const Keys& keys) {
    const bool has_experts = file.u32(keys.full("expert_count")).value_or(0) > 0 ||
                             file.find_tensor("blk.0.ffn_gate_inp.weight") != nullptr;
    PI_CHECK(!has_experts, unsupported, "not supported yet: mixture of experts");
}

RopeScaling read_rope(const GgufFile& file, const Keys& keys, int context_length) {
    RopeScaling rope;
    rope.freq_base = keys.number("rope.freq_base").value_or(rope.freq_base);
    PI_CHECK(
        rope.freq_base > 1.0F,
        format,
        "metadata key %s: want a value above 1, file has %g",
        keys.full("rope.freq_base").c_str(),
        static_cast<double>(rope.freq_base)
    );
    std::optional<float> factor = keys.number("rope.scaling.factor");
    if (!factor.has_value()) {
        factor = keys.number("rope.scale_linear"); // its older name
    }
    const std::string_view type = file.string(keys.full("rope.scaling.type")).value_or("linear");
    PI_CHECK(
        type == "none" || type == "linear" || type == "yarn",
        unsupported,
        "metadata key %s: want none, linear or yarn, file has \"%.*s\"",
        keys.full("rope.scaling.type").c_str(),
        static_cast<int>(std::min<size_t>(type.size(), 64)),
        type.data()
    );
    const float scale = factor.value_or(0.0F);
    PI_CHECK(
        scale == 0.0F || (scale > 0.0F && std::isfinite(1.0F / scale)),
        format,
        "metadata key %s: want 0 or a factor above 1e-38, file has %g",
        keys.full("rope.scaling.factor").c_str(),
        static_cast<double>(scale)
    );
    rope.freq_scale = type == "none" || scale == 0.0F ? 1.0F : 1.0F / scale;
    rope.is_yarn = type == "yarn";
    rope.original_context =
        keys.dimension_or("rope.scaling.original_context_length", kMaxDim << 10, context_length);
    return rope;
}

// Positions that the file can serve: opt's come from a table whose first rows are unused.
int read_context_length(const GgufFile& file, const Keys& keys, const Family& family) {
    const int stated = keys.dimension("context_length", kMaxDim << 10);
    if (!family.has_position_table) {
        return stated;
    }
    const TensorInfo* table = file.find_tensor("position_embd.weight");
    PI_CHECK(table != nullptr, format, "tensor position_embd.weight is missing");
    PI_CHECK(
        table->ne[1] > kPositionOffset && table->ne[1] <= kMaxDim,
        format,
        "tensor position_embd.weight: want 3 to %u rows, file has %llu",
        kMaxDim,
        static_cast<unsigned long long>(table->ne[1])
    );
    return static_cast<int>(table->ne[1]) - kPositionOffset;
}

void read_activation(const GgufFile& file, Config& config) {
    const Family& family = *config.family;
    // A stated threshold, even 0, says that the file's gate is a ReLU: that is how a plain GGUF of
    // a ReLU-fied llama differs from an ordinary SiLU one.
    const std::optional<float> fatrelu = file.f32("powerinfer.fatrelu_threshold");
    const bool is_relu = config.is_sparse || fatrelu.has_value();
    config.activation = is_relu ? family.sparse_activation : family.dense_activation;
    config.fatrelu_threshold = fatrelu.value_or(0.0F);
    PI_CHECK(
        std::isfinite(config.fatrelu_threshold) && config.fatrelu_threshold >= 0.0F,
        format,
        "metadata key powerinfer.fatrelu_threshold: want a finite value of at least 0, file has %g",
        static_cast<double>(config.fatrelu_threshold)
    );
    config.sparse_threshold = file.f32("powerinfer.sparse_threshold").value_or(0.0F);
    PI_CHECK(
        !std::isnan(config.sparse_threshold),
        format,
        "metadata key powerinfer.sparse_threshold: want a number, file has NaN"
    );
}

} // namespace

Config read_config(const GgufFile& file) {
    const std::optional<std::string_view> architecture = file.string("general.architecture");
    PI_CHECK(architecture.has_value(), format, "metadata key general.architecture is missing");
    const Keys keys(file, *architecture);
    refuse_experts(file, keys);

    Config config;
    config.family = &find_family(*architecture);
    config.is_sparse = file.is_sparse();
    config.n_layers = keys.dimension("block_count", kMaxLayers);
    config.dim = keys.dimension("embedding_length", kMaxDim);
    config.hidden_dim = keys.dimension("feed_forward_length", kMaxDim);
    config.n_heads = keys.dimension("attention.head_count", kMaxDim);
    config.n_kv_heads = keys.dimension_or("attention.head_count_kv", kMaxDim, config.n_heads);
    PI_CHECK(
        config.dim % config.n_heads == 0 && config.n_heads % config.n_kv_heads == 0,
        format,
        "want heads that divide the embedding length and KV heads that divide the heads; file has "
        "embedding length %d, %d heads, %d KV heads",
        config.dim,
        config.n_heads,
        config.n_kv_heads
    );
    config.head_dim = config.dim / config.n_heads;
    config.kv_dim = config.n_kv_heads * config.head_dim;
    config.context_length = read_context_length(file, keys, *config.family);
    if (config.family->norm_eps_key != nullptr) {
        const std::optional<float> eps = keys.number(config.family->norm_eps_key);
        PI_CHECK(
            eps.has_value() && *eps >= 0.0F,
            format,
            "metadata key %s: want a value of at least 0",
            keys.full(config.family->norm_eps_key).c_str()
        );
        config.norm_eps = *eps;
    }
    if (config.family->rope != Rope::none) {
        const int n_rot = keys.dimension_or("rope.dimension_count", kMaxDim, config.head_dim);
        PI_CHECK(
            n_rot == config.head_dim && n_rot % 2 == 0,
            unsupported,
            "rotary embedding of %d of %d dimensions of a head: only whole heads of even size are "
            "supported",
            n_rot,
            config.head_dim
        );
        config.rope = read_rope(file, keys, config.context_length);
    }
    read_activation(file, config);
    return config;
}

const char* activation_name(const Config& config) noexcept {
    switch (config.activation) {
    case Activation::relu:
        return config.fatrelu_threshold > 0.0F ? "fatrelu" : "relu";
    case Activation::drelu:
        return "drelu";
    case Activation::silu:
        return "silu";
    }
    return "";
}

} // namespace powerinfer
