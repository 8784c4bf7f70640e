// Writes GGUF and PWRI containers for the tests, correct ones and, field by field, wrong ones.
#pragma once

#include "dtype.h"
#include "gguf_header.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test {

using powerinfer::DType;
using powerinfer::MetaType;

using Bytes = std::vector<std::byte>;

inline void append(Bytes& out, const void* data, size_t n_bytes) {
    const std::byte* begin = static_cast<const std::byte*>(data);
    out.insert(out.end(), begin, begin + n_bytes);
}

inline Bytes bytes_of(std::string_view text) {
    Bytes out;
    append(out, text.data(), text.size());
    return out;
}

struct WriterTensor {
    std::string name;
    uint32_t type;
    std::vector<uint64_t> ne;
    Bytes data;
    std::optional<uint64_t> offset = {}; // instead of the right one
    std::optional<uint32_t> n_dims = {}; // instead of ne.size()
};

class GgufWriter {
public:
    std::string magic = "GGUF";
    uint32_t version = 3;
    uint32_t alignment = 32;                // of the data; the key is the caller's
    std::optional<uint64_t> n_tensors = {}; // instead of the right counts
    std::optional<uint64_t> n_pairs = {};
    bool pads_last_tensor = true;
    std::vector<WriterTensor> tensors = {};

    // Raw parts of a key/value pair, for the broken ones.
    void begin_pair(std::string_view key, uint32_t type) {
        n_pairs_written_ += 1;
        string(key);
        number(type);
    }
    template <typename T>
    void number(T value) {
        if (sizeof(T) == 8) {
            u64_at_.push_back(pairs_.size());
        }
        append(pairs_, &value, sizeof value);
    }
    void string(std::string_view text) {
        number<uint64_t>(text.size());
        append(pairs_, text.data(), text.size());
    }

    template <typename T>
    void add(std::string_view key, MetaType type, T value) {
        begin_pair(key, static_cast<uint32_t>(type));
        number(value);
    }
    void add_u32(std::string_view key, uint32_t value) { add(key, MetaType::u32, value); }
    void add_string(std::string_view key, std::string_view text) {
        begin_pair(key, static_cast<uint32_t>(MetaType::string));
        string(text);
    }
    void begin_array(std::string_view key, MetaType type, uint64_t n) {
        begin_pair(key, static_cast<uint32_t>(MetaType::array));
        number(static_cast<uint32_t>(type));
        number(n);
    }
    template <typename T>
    void add_array(std::string_view key, MetaType type, std::span<const T> values) {
        begin_array(key, type, values.size());
        for (const T value : values) {
            number(value);
        }
    }
    void add_strings(std::string_view key, std::span<const std::string> values) {
        begin_array(key, MetaType::string, values.size());
        for (const std::string& value : values) {
            string(value);
        }
    }
    // A tensor whose bytes count up from `first`.
    void add_tensor(std::string_view name, DType type, std::vector<uint64_t> ne, int first = 1) {
        uint64_t n_bytes = powerinfer::row_bytes(type, static_cast<int64_t>(ne[0]));
        for (size_t d = 1; d < ne.size(); d++) {
            n_bytes *= ne[d];
        }
        WriterTensor tensor{std::string(name), static_cast<uint32_t>(type), std::move(ne), {}};
        for (uint64_t i = 0; i < n_bytes; i++) {
            tensor.data.push_back(static_cast<std::byte>((static_cast<uint64_t>(first) + i) & 255));
        }
        tensors.push_back(std::move(tensor));
    }

    Bytes build() {
        Bytes out = bytes_of(magic);
        append(out, &version, sizeof version);
        u64_fields_.clear();
        put_u64(out, n_tensors.value_or(tensors.size()));
        put_u64(out, n_pairs.value_or(n_pairs_written_));
        for (const size_t at : u64_at_) {
            u64_fields_.push_back(out.size() + at);
        }
        append(out, pairs_.data(), pairs_.size());
        put_tensor_infos(out);
        header_bytes_ = out.size();
        for (size_t i = 0; i < tensors.size(); i++) {
            pad(out);
            append(out, tensors[i].data.data(), tensors[i].data.size());
        }
        last_byte_ = out.size();
        if (pads_last_tensor) {
            pad(out);
        }
        return out;
    }

    // Of the last build: offsets of all 64-bit fields of the header; its size; the end of the last
    // tensor without padding.
    const std::vector<size_t>& u64_fields() const { return u64_fields_; }
    size_t header_bytes() const { return header_bytes_; }
    size_t last_byte() const { return last_byte_; }

private:
    void put_u64(Bytes& out, uint64_t value) {
        u64_fields_.push_back(out.size());
        append(out, &value, sizeof value);
    }

    void put_tensor_infos(Bytes& out) {
        uint64_t offset = 0;
        for (const WriterTensor& tensor : tensors) {
            put_u64(out, tensor.name.size());
            append(out, tensor.name.data(), tensor.name.size());
            const uint32_t n_dims = tensor.n_dims.value_or(static_cast<uint32_t>(tensor.ne.size()));
            append(out, &n_dims, sizeof n_dims);
            for (const uint64_t n : tensor.ne) {
                put_u64(out, n);
            }
            append(out, &tensor.type, sizeof tensor.type);
            put_u64(out, tensor.offset.value_or(offset));
            offset += (tensor.data.size() + alignment - 1) / alignment * alignment;
        }
    }

    void pad(Bytes& out) const {
        while (out.size() % alignment != 0) {
            out.push_back(std::byte{0});
        }
    }

    Bytes pairs_;
    uint64_t n_pairs_written_ = 0;
    std::vector<size_t> u64_at_; // in pairs_
    std::vector<size_t> u64_fields_;
    size_t header_bytes_ = 0;
    size_t last_byte_ = 0;
};

// A small sparse model's container: every value type, several element types, two layers.
inline GgufWriter model_writer() {
    GgufWriter w;
    w.magic = "PWRI";
    w.add_string("general.architecture", "llama");
    w.add_string("general.name", "");
    w.add_u32("general.alignment", 32);
    w.add_u32("llama.block_count", 2);
    w.add("llama.attention.layer_norm_rms_epsilon", MetaType::f32, 1e-5F);
    w.add("powerinfer.sparse_threshold", MetaType::f32, 0.15F);
    w.add("test.u8", MetaType::u8, uint8_t{200});
    w.add("test.i8", MetaType::i8, int8_t{-100});
    w.add("test.u16", MetaType::u16, uint16_t{50000});
    w.add("test.i16", MetaType::i16, int16_t{-20000});
    w.add("test.i32", MetaType::i32, int32_t{-7});
    w.add("test.bool", MetaType::boolean, uint8_t{1});
    w.add("test.u64", MetaType::u64, uint64_t{1} << 40);
    w.add("test.i64", MetaType::i64, int64_t{-1} << 40);
    w.add("test.f64", MetaType::f64, 0.25);
    const std::vector<std::string> tokens = {"<s>", "", "\xe2\x96\x81the", std::string("\0", 1)};
    w.add_strings("tokenizer.ggml.tokens", tokens);
    const std::vector<float> scores = {0.0F, -1.5F, -2.0F, 3.0F};
    w.add_array<float>("tokenizer.ggml.scores", MetaType::f32, scores);
    const std::vector<uint8_t> flags = {1, 0, 1};
    w.add_array<uint8_t>("test.flags", MetaType::boolean, flags);
    w.add_array<int32_t>("test.none", MetaType::i32, {});
    w.add_tensor("token_embd.weight", DType::f16, {8, 4});
    w.add_tensor("output_norm.weight", DType::f32, {5});
    w.add_tensor("blk.0.ffn_up.weight", DType::q4_0, {32, 3});
    w.add_tensor("blk.1.ffn_up.weight", DType::q8_0, {32, 1, 2, 1});
    w.add_tensor("blk.0.gpu_bucket", DType::i32, {0});
    w.add_tensor("blk.0.fc1.weight", DType::f16, {3, 3});
    return w;
}

// What a tokenizer-only file looks like: no tensors, and no padding behind the header.
inline GgufWriter vocab_writer() {
    GgufWriter w;
    w.version = 2;
    w.pads_last_tensor = false;
    w.add_string("general.architecture", "gpt2");
    w.add_strings("tokenizer.ggml.merges", std::vector<std::string>{"a b", "ab c"});
    return w;
}

// A GPU-index file (spec 3.4).
inline GgufWriter gpu_index_writer() {
    GgufWriter w;
    w.magic = "PWRI";
    w.add_string("general.architecture", "generic.gpu_index");
    w.add_u32("generic.gpu_index.block_count", 2);
    w.add("split.vram_capacity", MetaType::u64, uint64_t{1} << 30);
    w.add_tensor("blk.0.gpu_idx", DType::i32, {6}, 0);
    w.add_tensor("blk.0.gpu_bucket", DType::i32, {2}, 0);
    w.add_tensor("blk.1.gpu_idx", DType::i32, {6}, 0);
    w.add_tensor("blk.1.gpu_bucket", DType::i32, {0}, 0);
    return w;
}

} // namespace test
