// Reads every byte that a parsed container says is readable, and asks every typed question.
#pragma once

#include "error.h"
#include "gguf.h"

#include <cstdint>
#include <span>

namespace test {

inline uint64_t sum(std::span<const std::byte> bytes) {
    uint64_t total = 0;
    for (const std::byte byte : bytes) {
        total += std::to_integer<uint64_t>(byte);
    }
    return total;
}

inline uint64_t sum(std::string_view text) {
    return sum(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

// A look-up answers or throws Error; anything else leaves the function.
template <typename Ask>
uint64_t asked(Ask&& ask) {
    try {
        return ask() ? 1 : 0;
    } catch (const powerinfer::Error& error) {
        return sum(error.what());
    }
}

inline bool is_inside(const powerinfer::GgufFile& file, const std::byte* data, uint64_t n_bytes) {
    const std::span<const std::byte> all = file.file().bytes();
    const auto begin = reinterpret_cast<uintptr_t>(all.data());
    const auto at = reinterpret_cast<uintptr_t>(data);
    return at >= begin && at - begin <= all.size() && n_bytes <= all.size() - (at - begin);
}

inline uint64_t walk_value(const powerinfer::GgufFile& file, const powerinfer::MetaValue& value) {
    using powerinfer::GgufFile;
    const std::string_view key = value.key;
    uint64_t total = sum(key);
    for (const std::string_view text : value.strings) {
        total += sum(text);
    }
    for (uint64_t j = 0; j < value.n; j++) {
        total += static_cast<uint64_t>(GgufFile::integer(value, j));
        total += GgufFile::number(value, j) > 0 ? 1 : 0;
    }
    total += asked([&] { return file.u32(key).has_value(); });
    total += asked([&] { return file.u64(key).has_value(); });
    total += asked([&] { return file.f32(key).has_value(); });
    total += asked([&] { return file.boolean(key).has_value(); });
    return total + asked([&] { return file.string(key).has_value(); });
}

struct Walk {
    uint64_t total = 0;        // of all bytes, so that no read can be left out
    bool is_consistent = true; // names find their items; all views are inside the file
};

inline Walk walk(const powerinfer::GgufFile& file) {
    Walk result;
    for (const powerinfer::MetaValue& value : file.metadata()) {
        result.total += walk_value(file, value);
        const uint64_t n_bytes = value.n * powerinfer::meta_type_bytes(value.type);
        result.is_consistent &= file.find(value.key) == &value;
        result.is_consistent &= is_inside(file, value.data, n_bytes);
    }
    for (const powerinfer::TensorInfo& tensor : file.tensors()) {
        result.total += sum(tensor.name);
        result.is_consistent &= file.find_tensor(tensor.name) == &tensor;
        if (is_inside(file, tensor.data, tensor.n_bytes)) {
            result.total += sum({tensor.data, static_cast<size_t>(tensor.n_bytes)});
        } else {
            result.is_consistent = false;
        }
    }
    return result;
}

} // namespace test
