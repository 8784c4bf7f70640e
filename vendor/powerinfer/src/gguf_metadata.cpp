#include "gguf_metadata.h"

#include "error.h"
#include "text.h"

#include <algorithm>
#include <array>
#include <cinttypes>

namespace powerinfer {

namespace {

struct MetaTypeInfo {
    const char* name;
    size_t n_bytes; // of one element; 0 when it varies
};

constexpr uint64_t kStringLengthBytes = 8;

// By id.
constexpr std::array<MetaTypeInfo, 13> kMetaTypes = {{
    {"u8", 1},
    {"i8", 1},
    {"u16", 2},
    {"i16", 2},
    {"u32", 4},
    {"i32", 4},
    {"f32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"u64", 8},
    {"i64", 8},
    {"f64", 8},
}};

uint32_t read_type(Cursor& in, const char* what, std::string_view key) {
    const uint32_t id = in.number<uint32_t>({what, key});
    PI_CHECK(
        meta_type_name(id) != nullptr,
        format,
        "%s of %s is %" PRIu32 ", want 0 (u8) to 12 (f64)",
        what,
        quoted(key).c_str(),
        id
    );
    return id;
}

void read_elements(Cursor& in, MetaValue& value) {
    value.data = in.here();
    const bool is_string = value.type == MetaType::string;
    const uint64_t min_bytes = is_string ? kStringLengthBytes : meta_type_bytes(value.type);
    PI_CHECK(
        value.n <= in.n_left() / min_bytes,
        format,
        "%s wants %" PRIu64 " elements of type %s at offset %" PRIu64
        ", but the file ends after %zu bytes: the download is probably incomplete",
        quoted(value.key).c_str(),
        value.n,
        meta_type_name(static_cast<uint32_t>(value.type)),
        in.offset(),
        in.n_bytes()
    );
    if (is_string) {
        for (uint64_t i = 0; i < value.n; i++) {
            value.strings.push_back(in.string({"string", value.key, i}));
        }
        return;
    }
    in.take(value.n * min_bytes, {"the value", value.key});
    if (value.type == MetaType::boolean) {
        for (uint64_t i = 0; i < value.n; i++) {
            const auto byte = std::to_integer<unsigned>(value.data[i]);
            PI_CHECK(
                byte <= 1,
                format,
                "element %" PRIu64 " of %s is a boolean of value %u, want 0 or 1",
                i,
                quoted(value.key).c_str(),
                byte
            );
        }
    }
}

} // namespace

const char* meta_type_name(uint32_t id) noexcept {
    return id < kMetaTypes.size() ? kMetaTypes[id].name : nullptr;
}

size_t meta_type_bytes(MetaType type) noexcept {
    return kMetaTypes[static_cast<uint32_t>(type)].n_bytes;
}

MetaValue read_meta_value(Cursor& in, uint64_t index) {
    MetaValue value = {};
    value.key = in.name(SIZE_MAX, {"the name of key", {}, index});
    value.type = static_cast<MetaType>(read_type(in, "the value type", value.key));
    value.n = 1;
    if (value.type == MetaType::array) {
        value.is_array = true;
        value.type = static_cast<MetaType>(read_type(in, "the element type", value.key));
        PI_CHECK(
            value.type != MetaType::array,
            unsupported,
            "%s is an array of arrays, which this build cannot read",
            quoted(value.key).c_str()
        );
        value.n = in.number<uint64_t>({"the element count", value.key});
    }
    read_elements(in, value);
    return value;
}

} // namespace powerinfer
