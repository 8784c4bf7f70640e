// Whole models against reference logits: every family, sparse and dense, F16 and Q4_0.
#include "check.h"
#include "golden.h"

#include <algorithm>
#include <set>

namespace {

namespace fs = std::filesystem;
using golden::Case;

// The strategy auto, with the predictors that the default uses, whatever it measures.
void check_auto(const Case& test, const std::vector<float>& wanted) {
    const engine::Model model = engine::load(test.model.string(), PI_STRATEGY_AUTO);
    if (engine::info(model.get()).strategy != PI_STRATEGY_AUTO) {
        return; // a SiLU model
    }
    engine::Measured measured = engine::measure(model.get());
    const bool has_predictor = engine::info(model.get()).has_predictor != 0;
    for (pi_layer_plan& layer : measured.layers) {
        layer.uses_predictor = has_predictor && !test.is_fullmask ? 1 : 0;
    }
    const engine::Context one = engine::context(model.get(), measured.options());
    const std::vector<float> decode = engine::decode_logits(one.get(), model.get(), test.tokens);
    const engine::Context all = engine::context(model.get(), measured.options());
    const std::vector<float> batch = engine::batch_logits(all.get(), model.get(), test.tokens);
    CHECK_MSG(decode == wanted, "%s: auto decodes other bits", test.name.c_str());
    CHECK_MSG(batch == wanted, "%s: auto has other bits in a batch", test.name.c_str());
}

void run_case(const Case& test) {
    const engine::Model model = engine::load(test.model.string(), test.strategy());
    const engine::Context one = engine::context(model.get());
    const std::vector<float> decode = engine::decode_logits(one.get(), model.get(), test.tokens);
    const engine::Context all = engine::context(model.get());
    const std::vector<float> batch = engine::batch_logits(all.get(), model.get(), test.tokens);
    const double distance = engine::distance(decode, test.reference);
    std::printf("  %-44s %.3e (limit %.3e)\n", test.name.c_str(), distance, test.limit);
    CHECK_MSG(distance <= test.limit, "%s: %g", test.name.c_str(), distance);
    const engine::Context rounded = engine::context(model.get(), {.kv_dtype = 1});
    const double f16_cache = engine::distance(
        engine::batch_logits(rounded.get(), model.get(), test.tokens), test.reference
    );
    CHECK_MSG(f16_cache <= test.limit, "%s with an f16 cache: %g", test.name.c_str(), f16_cache);
    CHECK_MSG(decode == batch, "%s: decode and batch differ", test.name.c_str());
    pi_model_options options = engine::model_options(PI_REPACK_ALWAYS);
    options.strategy = engine::info(model.get()).strategy;
    const engine::File file = engine::open_file(test.model.string());
    const engine::Model copied = engine::load(file.get(), options);
    const engine::Context large = engine::context(copied.get());
    CHECK_MSG(engine::info(copied.get()).repacked_bytes > 0, "%s", test.name.c_str());
    CHECK_MSG(
        engine::batch_logits(large.get(), copied.get(), test.tokens) == batch,
        "%s: copied and mapped weights differ",
        test.name.c_str()
    );
    check_auto(test, decode);
}

void families_match_the_reference() {
    golden::for_families(run_case);
}

void internals_match_the_reference() {
    golden::for_internals(run_case);
}

std::vector<int32_t> greedy(
    pi_context* context, const pi_model* model, const std::vector<int32_t>& prompt, size_t n
) {
    std::vector<float> logits = engine::batch_logits(context, model, prompt);
    const auto vocab_size = static_cast<std::ptrdiff_t>(engine::info(model).vocab_size);
    std::vector<int32_t> tokens;
    while (tokens.size() < n) {
        const auto last = logits.end() - vocab_size;
        tokens.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
        logits = engine::decode_logits(context, model, {tokens.back()});
    }
    return tokens;
}

void greedy_tokens_equal_the_recorded_ones() {
    const auto root = test_data::root();
    if (!root) {
        return;
    }
    int n_cases = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(*root / "golden/internals")) {
        const std::string name = entry.path().filename().string();
        if (!fs::exists(entry.path() / "greedy_tokens.npy") || name.starts_with("llamacpp")) {
            continue;
        }
        const auto prompt = test_data::read_npy<int32_t>(entry.path() / "greedy_prompt.npy", "<i4");
        const auto wanted = test_data::read_npy<int32_t>(entry.path() / "greedy_tokens.npy", "<i4");
        const bool is_fullmask = name.find("fullmask") != std::string::npos;
        const engine::Model model = engine::load(
            golden::internals_model(*root, name).string(),
            is_fullmask ? PI_STRATEGY_EXACT : PI_STRATEGY_DEFAULT
        );
        const engine::Context context = engine::context(model.get());
        const auto tokens = greedy(context.get(), model.get(), prompt, wanted.size());
        CHECK_MSG(tokens == wanted, "%s", name.c_str());
        ++n_cases;
    }
    CHECK(n_cases >= 4);
}

} // namespace

int main() {
    CHECK_RUN(families_match_the_reference);
    CHECK_RUN(internals_match_the_reference);
    CHECK_RUN(greedy_tokens_equal_the_recorded_ones);
    return check::finish();
}
