#include "gguf.h"

#include "error.h"
#include "text.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace powerinfer {

namespace {

template <typename Item>
const Item* find_in(
    const std::vector<Item>& items,
    const std::vector<size_t>& order,
    std::string_view Item::* name,
    std::string_view wanted
) noexcept {
    const auto at =
        std::lower_bound(order.begin(), order.end(), wanted, [&](size_t i, std::string_view text) {
            return items[i].*name < text;
        });
    return at != order.end() && items[*at].*name == wanted ? &items[*at] : nullptr;
}

// "u32", or "array of string".
std::string type_text(const MetaValue& value) {
    const std::string name = meta_type_name(static_cast<uint32_t>(value.type));
    return value.is_array ? "array of " + name : name;
}

[[noreturn]] void throw_wrong_type(const MetaValue& value, const char* wanted) {
    PI_THROW(
        format,
        "key %s: want %s, the file has %s",
        quoted(value.key).c_str(),
        wanted,
        type_text(value).c_str()
    );
}

template <typename T>
T element(const MetaValue& value, uint64_t j) noexcept {
    T number;
    std::memcpy(&number, value.data + j * sizeof(T), sizeof(T));
    return number;
}

// Calls `use` with element j in its own type; strings count as 0.
template <typename Use>
auto with_element(const MetaValue& value, uint64_t j, Use&& use) noexcept {
    switch (value.type) {
    case MetaType::u8:
        return use(element<uint8_t>(value, j));
    case MetaType::i8:
        return use(element<int8_t>(value, j));
    case MetaType::u16:
        return use(element<uint16_t>(value, j));
    case MetaType::i16:
        return use(element<int16_t>(value, j));
    case MetaType::u32:
        return use(element<uint32_t>(value, j));
    case MetaType::i32:
        return use(element<int32_t>(value, j));
    case MetaType::f32:
        return use(element<float>(value, j));
    case MetaType::boolean:
        return use(element<uint8_t>(value, j));
    case MetaType::u64:
        return use(element<uint64_t>(value, j));
    case MetaType::i64:
        return use(element<int64_t>(value, j));
    case MetaType::f64:
        return use(element<double>(value, j));
    case MetaType::string:
    case MetaType::array:
        break;
    }
    return use(uint8_t{0});
}

int64_t clamp_to_integer(double x) noexcept {
    constexpr double kLimit = 9223372036854775808.0; // 2^63, exact
    if (std::isnan(x)) {
        return 0;
    }
    if (x >= kLimit) {
        return std::numeric_limits<int64_t>::max();
    }
    return x < -kLimit ? std::numeric_limits<int64_t>::min() : static_cast<int64_t>(x);
}

bool is_integer(MetaType type) noexcept {
    switch (type) {
    case MetaType::u8:
    case MetaType::i8:
    case MetaType::u16:
    case MetaType::i16:
    case MetaType::u32:
    case MetaType::i32:
    case MetaType::u64:
    case MetaType::i64:
        return true;
    case MetaType::f32:
    case MetaType::boolean:
    case MetaType::string:
    case MetaType::array:
    case MetaType::f64:
        return false;
    }
    return false;
}

template <typename T>
std::optional<T> unsigned_scalar(const MetaValue* value, const char* wanted) {
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->is_array || !is_integer(value->type)) {
        throw_wrong_type(*value, wanted);
    }
    const int64_t number = GgufFile::integer(*value, 0);
    const bool is_negative = number < 0 && value->type != MetaType::u64;
    const uint64_t bits = static_cast<uint64_t>(number);
    PI_CHECK(
        !is_negative && bits <= std::numeric_limits<T>::max(),
        format,
        "key %s: want %s, the file has the value %s of type %s",
        quoted(value->key).c_str(),
        wanted,
        (is_negative ? std::to_string(number) : std::to_string(bits)).c_str(),
        type_text(*value).c_str()
    );
    return static_cast<T>(bits);
}

} // namespace

GgufFile::GgufFile(MappedFile file)
    : file_(std::move(file)), header_(parse_gguf_header(file_.bytes())) {}

GgufFile GgufFile::open(const std::string& path) {
    MappedFile file = MappedFile::open(path);
    try {
        return GgufFile(std::move(file));
    } catch (const Error& error) {
        // The parser sees bytes; only here it is known whose they are.
        throw Error(error.kind(), path + ": " + error.what());
    }
}

GgufFile GgufFile::from_bytes(std::span<const std::byte> bytes) {
    return GgufFile(MappedFile::from_bytes(bytes));
}

const MetaValue* GgufFile::find(std::string_view key) const noexcept {
    return find_in(header_.metadata, header_.by_key, &MetaValue::key, key);
}

const TensorInfo* GgufFile::find_tensor(std::string_view name) const noexcept {
    return find_in(header_.tensors, header_.by_name, &TensorInfo::name, name);
}

std::optional<uint32_t> GgufFile::u32(std::string_view key) const {
    return unsigned_scalar<uint32_t>(find(key), "u32");
}

std::optional<uint64_t> GgufFile::u64(std::string_view key) const {
    return unsigned_scalar<uint64_t>(find(key), "u64");
}

std::optional<float> GgufFile::f32(std::string_view key) const {
    const MetaValue* value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->is_array || (value->type != MetaType::f32 && value->type != MetaType::f64)) {
        throw_wrong_type(*value, "f32");
    }
    if (value->type == MetaType::f32) {
        return element<float>(*value, 0);
    }
    const double wide = element<double>(*value, 0);
    PI_CHECK(
        !std::isfinite(wide) || std::abs(wide) <= std::numeric_limits<float>::max(),
        format,
        "key %s: want f32, the file has the f64 value %g",
        quoted(value->key).c_str(),
        wide
    );
    return static_cast<float>(wide);
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
    const MetaValue* value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->is_array || value->type != MetaType::boolean) {
        throw_wrong_type(*value, "bool");
    }
    return element<uint8_t>(*value, 0) != 0;
}

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
    const MetaValue* value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->is_array || value->type != MetaType::string) {
        throw_wrong_type(*value, "string");
    }
    return value->strings[0];
}

double GgufFile::number(const MetaValue& value, uint64_t j) noexcept {
    return with_element(value, j, [](auto x) { return static_cast<double>(x); });
}

int64_t GgufFile::integer(const MetaValue& value, uint64_t j) noexcept {
    return with_element(value, j, [](auto x) {
        if constexpr (std::is_floating_point_v<decltype(x)>) {
            return clamp_to_integer(static_cast<double>(x));
        } else {
            return static_cast<int64_t>(x);
        }
    });
}

} // namespace powerinfer
