// Random models in memory, opened and run through the C interface.
#pragma once

#include "engine.h"
#include "tiny_model.h"

#include <vector>

namespace engine {

inline const std::vector<int32_t> kTokens = {1, 17, 5, 33, 2, 8, 39, 0, 21, 12};

inline File file_of(const test::Bytes& bytes) {
    pi_file* file = nullptr;
    check(pi_file_from_bytes(bytes.data(), bytes.size(), &file));
    return File(file);
}

inline File file_of(const test::TinyShape& shape) {
    return file_of(test::TinyModel(shape).build());
}

// Logits of kTokens in a context of their own.
inline std::vector<float> run(const pi_model* model, const Options& options = {}) {
    const Context own = context(model, options);
    return batch_logits(own.get(), model, kTokens);
}

} // namespace engine
