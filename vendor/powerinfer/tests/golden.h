// The models with reference logits, and what they must reach.
#pragma once

#include "engine.h"
#include "test_data.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace golden {

namespace fs = std::filesystem;

inline constexpr double kF16Distance = 1e-3; // relative L2 of all logits to the float64 reference

struct Case {
    std::string name;
    fs::path model;
    std::vector<int32_t> tokens;
    std::vector<double> reference; // (tokens, vocab_size)
    double limit;
    bool is_fullmask = false; // every neuron selected

    pi_strategy strategy() const { return is_fullmask ? PI_STRATEGY_EXACT : PI_STRATEGY_DEFAULT; }
};

inline fs::path model_in(const fs::path& folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
        if (entry.path().extension() == ".gguf") {
            return entry.path();
        }
    }
    PI_THROW(io, "no model in %s", folder.c_str());
}

// "upstream-sparse-tiny-f16" was made with "tiny-f16.powerinfer.gguf".
inline fs::path internals_model(const fs::path& root, const std::string& name) {
    const bool is_sparse = name.starts_with("upstream-sparse");
    const std::string stem = name.substr(name.find("tiny"));
    return root / "golden/internals/models" /
           (stem + (is_sparse ? ".powerinfer.gguf" : ".dense.gguf"));
}

// Every family, sparse and dense.
inline std::vector<Case> families(const fs::path& root) {
    std::vector<Case> cases;
    for (const fs::directory_entry& entry : fs::directory_iterator(root / "golden/families")) {
        const fs::path& folder = entry.path();
        const std::string json = test_data::read_text(folder / "case.json");
        const bool is_f16 = folder.filename().string().ends_with("-f16");
        const double upstream =
            test_data::json_number(json, "upstream_decode_vs_f64").value_or(1.0);
        cases.push_back({
            .name = folder.filename().string(),
            .model = model_in(folder),
            .tokens = test_data::read_npy<int32_t>(folder / "tokens.npy", "<i4"),
            .reference = test_data::read_npy<double>(folder / "logits_f64.npy", "<f8"),
            .limit = is_f16 ? kF16Distance : upstream,
        });
    }
    return cases;
}

// One shape in several types, with and without a predictor's mask.
inline std::vector<Case> internals(const fs::path& root) {
    std::vector<Case> cases;
    for (const fs::directory_entry& entry : fs::directory_iterator(root / "golden/internals")) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("upstream-")) {
            continue;
        }
        const auto rounded =
            test_data::read_npy<float>(entry.path() / "logits_numpy_f64.npy", "<f4");
        const std::vector<double> reference(rounded.begin(), rounded.end());
        const auto upstream = test_data::read_npy<float>(entry.path() / "logits_decode.npy", "<f4");
        cases.push_back({
            .name = name,
            .model = internals_model(root, name),
            .tokens = test_data::read_npy<int32_t>(entry.path() / "tokens.npy", "<i4"),
            .reference = reference,
            .limit = name.ends_with("-f16") ? kF16Distance : engine::distance(upstream, reference),
            .is_fullmask = name.find("fullmask") != std::string::npos,
        });
    }
    return cases;
}

// Skips without the data.
template <typename Run>
void for_families(Run&& run) {
    if (const auto root = test_data::root()) {
        const std::vector<Case> cases = families(*root);
        CHECK(cases.size() >= 12);
        std::for_each(cases.begin(), cases.end(), run);
    }
}

template <typename Run>
void for_internals(Run&& run) {
    if (const auto root = test_data::root()) {
        const std::vector<Case> cases = internals(*root);
        CHECK(!cases.empty());
        std::for_each(cases.begin(), cases.end(), run);
    }
}

} // namespace golden
