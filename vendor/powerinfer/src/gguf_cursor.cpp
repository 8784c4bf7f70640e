#include "gguf_cursor.h"

#include "error.h"
#include "text.h"

#include <cinttypes>
#include <string>

namespace powerinfer {

namespace {

std::string text_of(const Field& field) {
    std::string text = field.what;
    if (field.index) {
        text += " " + std::to_string(*field.index);
    }
    if (!field.owner.empty()) {
        text += " of " + quoted(field.owner);
    }
    return text;
}

} // namespace

std::string_view Cursor::name(size_t max_bytes, const Field& field) {
    const std::string_view name = string(field);
    PI_CHECK(!name.empty(), format, "%s is empty", text_of(field).c_str());
    PI_CHECK(
        name.size() <= max_bytes,
        format,
        "%s has %zu bytes, want at most %zu: %s",
        text_of(field).c_str(),
        name.size(),
        max_bytes,
        quoted(name).c_str()
    );
    PI_CHECK(
        name.find('\0') == std::string_view::npos,
        format,
        "%s contains a NUL byte: %s",
        text_of(field).c_str(),
        quoted(name).c_str()
    );
    return name;
}

void Cursor::throw_truncated(uint64_t n_bytes, const Field& field) const {
    PI_THROW(
        format,
        "%s needs %" PRIu64 " bytes at offset %zu, but the file ends after %zu bytes: the download "
        "is probably incomplete",
        text_of(field).c_str(),
        n_bytes,
        offset_,
        bytes_.size()
    );
}

} // namespace powerinfer
