#include "gguf_header.h"

#include "error.h"
#include "gguf_cursor.h"
#include "gguf_metadata.h"
#include "gguf_sniff.h"
#include "gguf_tensors.h"
#include "text.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstring>
#include <numeric>
#include <string>

namespace powerinfer {

namespace {

constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kMinAlignment = 8;
constexpr uint32_t kMaxAlignment = 65536;

// Indices of `items`, names ascending. Sorted rather than hashed, so that no file can choose
// colliding names.
template <typename Item>
std::vector<size_t> sorted_by(
    const std::vector<Item>& items, std::string_view Item::* name, const char* what
) {
    std::vector<size_t> order(items.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return items[a].*name < items[b].*name;
    });
    for (size_t i = 1; i < order.size(); i++) {
        const std::string_view text = items[order[i]].*name;
        PI_CHECK(
            text != items[order[i - 1]].*name,
            format,
            "%s %s is in the file twice",
            what,
            quoted(text).c_str()
        );
    }
    return order;
}

class HeaderParser {
public:
    explicit HeaderParser(std::span<const std::byte> file) : file_(file), in_(file) {}

    GgufHeader parse() {
        read_magic_and_version();
        const uint64_t n_tensors = read_count("tensor count", kMinTensorBytes);
        const uint64_t n_pairs = read_count("key/value count", kMinPairBytes);
        for (uint64_t i = 0; i < n_pairs; i++) {
            header_.metadata.push_back(read_meta_value(in_, i));
        }
        header_.by_key = sorted_by(header_.metadata, &MetaValue::key, "key");
        header_.alignment = read_alignment();
        refuse_split_model();
        check_count("tensor count", n_tensors, kMinTensorBytes);
        for (uint64_t i = 0; i < n_tensors; i++) {
            header_.tensors.push_back(read_tensor_info(in_, i));
        }
        header_.by_name = sorted_by(header_.tensors, &TensorInfo::name, "tensor");
        const uint64_t alignment = header_.alignment;
        header_.data_offset = (in_.offset() + alignment - 1) / alignment * alignment;
        place_tensors({file_, header_.data_offset, header_.alignment}, header_.tensors);
        return std::move(header_);
    }

private:
    void read_magic_and_version();
    uint64_t read_count(const char* what, uint64_t min_bytes);
    void check_count(const char* what, uint64_t n, uint64_t min_bytes) const;
    const MetaValue* find(std::string_view key) const;
    uint32_t read_alignment() const;
    void refuse_split_model() const;

    std::span<const std::byte> file_;
    Cursor in_;
    GgufHeader header_;
};

void HeaderParser::read_magic_and_version() {
    const bool is_dense = file_.size() >= 4 && std::memcmp(file_.data(), "GGUF", 4) == 0;
    header_.is_sparse = file_.size() >= 4 && std::memcmp(file_.data(), "PWRI", 4) == 0;
    if (!is_dense && !header_.is_sparse) {
        throw_not_gguf(file_);
    }
    in_.take(4, {"the magic"});
    const uint32_t version = in_.number<uint32_t>({"the version"});
    PI_CHECK(
        version == 0 || (version & 0xffff) != 0,
        unsupported,
        "big-endian GGUF file: its version reads 0x%08" PRIx32
        "; write it again for little-endian machines",
        version
    );
    PI_CHECK(
        version != 1,
        unsupported,
        "GGUF version 1, this build reads 2 and 3; convert the model again with a newer converter"
    );
    PI_CHECK(
        version == 2 || version == 3,
        unsupported,
        "GGUF version %" PRIu32 ", this build reads 2 and 3; damaged, or made by a newer converter",
        version
    );
    header_.version = version;
}

uint64_t HeaderParser::read_count(const char* what, uint64_t min_bytes) {
    const uint64_t n = in_.number<uint64_t>({what});
    check_count(what, n, min_bytes);
    return n;
}

void HeaderParser::check_count(const char* what, uint64_t n, uint64_t min_bytes) const {
    PI_CHECK(
        n <= in_.n_left() / min_bytes,
        format,
        "the %s is %" PRIu64 ", but %" PRIu64 " bytes follow offset %" PRIu64
        " in this file of %zu bytes and can hold at most %" PRIu64
        ": it is damaged, or the download is probably incomplete",
        what,
        n,
        in_.n_left(),
        in_.offset(),
        file_.size(),
        in_.n_left() / min_bytes
    );
}

const MetaValue* HeaderParser::find(std::string_view key) const {
    const auto at = std::lower_bound(
        header_.by_key.begin(),
        header_.by_key.end(),
        key,
        [&](size_t i, std::string_view wanted) { return header_.metadata[i].key < wanted; }
    );
    const bool is_found = at != header_.by_key.end() && header_.metadata[*at].key == key;
    return is_found ? &header_.metadata[*at] : nullptr;
}

uint32_t HeaderParser::read_alignment() const {
    const MetaValue* value = find("general.alignment");
    if (value == nullptr) {
        return kDefaultAlignment;
    }
    PI_CHECK(
        value->type == MetaType::u32 && !value->is_array,
        format,
        "'general.alignment' has type %s%s, want u32",
        value->is_array ? "array of " : "",
        meta_type_name(static_cast<uint32_t>(value->type))
    );
    uint32_t alignment = 0;
    std::memcpy(&alignment, value->data, sizeof alignment);
    PI_CHECK(
        std::has_single_bit(alignment) && alignment >= kMinAlignment && alignment <= kMaxAlignment,
        format,
        "'general.alignment' is %" PRIu32 ", want a power of two from %" PRIu32 " to %" PRIu32,
        alignment,
        kMinAlignment,
        kMaxAlignment
    );
    return alignment;
}

// A part of a split model is a complete container that lacks tensors; loading it would only say
// that some tensor is missing.
void HeaderParser::refuse_split_model() const {
    const auto number_of = [&](std::string_view key) -> unsigned {
        const MetaValue* value = find(key);
        uint16_t number = 0;
        if (value != nullptr && value->type == MetaType::u16 && !value->is_array) {
            std::memcpy(&number, value->data, sizeof number);
        }
        return number;
    };
    const unsigned n_parts = number_of("split.count");
    PI_CHECK(
        n_parts <= 1,
        unsupported,
        "part %u of a model that was split into %u files; merge them into one first",
        number_of("split.no") + 1,
        n_parts
    );
}

} // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> file) {
    return HeaderParser(file).parse();
}

} // namespace powerinfer
