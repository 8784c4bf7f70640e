// One trained model in its two containers: which activation each of them means, and that the plain
// and the transposed down matrix give the same model.
#include "check.h"
#include "engine.h"
#include "test_data.h"
#include "tiny_engine.h"

#include <cstring>
#include <string_view>

namespace {

namespace fs = std::filesystem;

std::optional<fs::path> folder() {
    const auto root = test_data::root();
    return root ? std::optional(*root / "models/stories-relu") : std::nullopt;
}

std::vector<float> logits_of(const pi_model* model) {
    std::vector<int32_t> tokens;
    for (uint32_t i = 0; i < 24; ++i) {
        tokens.push_back(static_cast<int32_t>((i * 977 + 1) % engine::info(model).vocab_size));
    }
    const engine::Context context = engine::context(model);
    return engine::batch_logits(context.get(), model, tokens);
}

double distance(const std::vector<float>& values, const std::vector<float>& reference) {
    return engine::distance(values, std::vector<double>(reference.begin(), reference.end()));
}

std::string_view activation(const engine::Model& model) {
    return engine::info(model.get()).activation;
}

template <typename T>
void append(std::string& bytes, T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The file with the key that says that its gate is a ReLU. The two pairs before all others have 64
// bytes together, so that what follows keeps its alignment.
std::string with_relu_key(const fs::path& path) {
    std::string bytes = test_data::read_text(path);
    uint64_t n_pairs = 0;
    std::memcpy(&n_pairs, bytes.data() + 16, sizeof n_pairs);
    n_pairs += 2;
    std::memcpy(bytes.data() + 16, &n_pairs, sizeof n_pairs);
    std::string pairs;
    for (const std::string_view key : {"powerinfer.fatrelu_threshold", "fill"}) {
        append(pairs, uint64_t{key.size()});
        pairs += key;
        append(pairs, static_cast<uint32_t>(powerinfer::MetaType::f32));
        append(pairs, 0.0F);
    }
    CHECK_EQ(pairs.size(), 64U);
    return bytes.insert(24, pairs);
}

void a_plain_llama_is_silu_and_a_sparse_one_relu() {
    const auto root = folder();
    if (!root) {
        return;
    }
    const engine::Model plain = engine::load((*root / "stories-relu.f16.gguf").string());
    CHECK_EQ(activation(plain), "silu");
    CHECK_EQ(engine::info(plain.get()).strategy, PI_STRATEGY_DENSE);
    const engine::Model sparse =
        engine::load((*root / "stories-relu.f16.powerinfer.gguf").string(), PI_STRATEGY_EXACT);
    CHECK_EQ(activation(sparse), "relu");
    CHECK(distance(logits_of(plain.get()), logits_of(sparse.get())) > 0.1);
}

void the_same_weights_give_the_same_model_in_both_containers() {
    const auto root = folder();
    if (!root) {
        return;
    }
    const std::string path = (*root / "stories-relu.f16.powerinfer.gguf").string();
    const auto exact = logits_of(engine::load(path, PI_STRATEGY_EXACT).get());
    CHECK(logits_of(engine::load(path, PI_STRATEGY_DENSE).get()) == exact);

    const test::Bytes bytes = test::bytes_of(with_relu_key(*root / "stories-relu.f16.gguf"));
    const engine::Model plain = engine::load(engine::file_of(bytes).get());
    CHECK_EQ(activation(plain), "relu");
    const double error = distance(logits_of(plain.get()), exact);
    CHECK_MSG(error < 1e-5, "another order of summation is all that differs: %g", error);
    const engine::Model plain_exact = engine::load(engine::file_of(bytes).get(), PI_STRATEGY_EXACT);
    CHECK(logits_of(plain_exact.get()) == logits_of(plain.get()));
}

// Trained predictors find what matters: not the same numbers, but close to them.
void the_predictor_is_close_to_exact() {
    const auto root = folder();
    if (!root) {
        return;
    }
    const std::string path = (*root / "stories-relu.f16.powerinfer.gguf").string();
    const engine::Model predictor = engine::load(path);
    CHECK_EQ(engine::info(predictor.get()).strategy, PI_STRATEGY_PREDICTOR);
    const auto exact = logits_of(engine::load(path, PI_STRATEGY_EXACT).get());
    const double error = distance(logits_of(predictor.get()), exact);
    CHECK_MSG(error > 0.0 && error < 0.3, "%g", error);
}

} // namespace

int main() {
    CHECK_RUN(a_plain_llama_is_silu_and_a_sparse_one_relu);
    CHECK_RUN(the_same_weights_give_the_same_model_in_both_containers);
    CHECK_RUN(the_predictor_is_close_to_exact);
    return check::finish();
}
