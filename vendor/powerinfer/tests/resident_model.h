// A model of a file with its weights where `repack` wants them.
#pragma once

#include "model.h"

#include <memory>
#include <string>

namespace test {

inline std::shared_ptr<const powerinfer::Model> load_resident(
    const std::string& path,
    powerinfer::Repack repack,
    powerinfer::Strategy strategy = powerinfer::Strategy::predictor
) {
    using namespace powerinfer;
    auto file = std::make_shared<const GgufFile>(GgufFile::open(path));
    auto weights = std::make_shared<Weights>(file, WeightOptions{.repack = repack});
    auto model =
        std::make_shared<const Model>(weights, ModelOptions{strategy, std::nullopt, Log{}});
    weights->make_resident(model->layout(), [](uint64_t, uint64_t) { return true; }, Log{});
    return model;
}

} // namespace test
