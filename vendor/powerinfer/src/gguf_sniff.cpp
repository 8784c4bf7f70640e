#include "gguf_sniff.h"

#include "error.h"
#include "text.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace powerinfer {

namespace {

using namespace std::string_view_literals;

// Enough to see through leading blanks and comments of a web page.
constexpr size_t kLookBytes = 512;

struct Signature {
    std::string_view begin;
    ErrorKind kind;
    const char* message;
};

constexpr Signature kSignatures[] = {
    {"version https://git-lfs.github.com/spec/"sv,
     ErrorKind::format,
     "it is a git-lfs pointer, not the model itself; run `git lfs pull` beside it"},
    {"FUGG"sv,
     ErrorKind::unsupported,
     "it is a big-endian GGUF file; write it again for little-endian machines"},
    {"IRWP"sv,
     ErrorKind::unsupported,
     "it is a big-endian PowerInfer file; write it again for little-endian machines"},
    {"PK\x03\x04"sv,
     ErrorKind::unsupported,
     "it is a zip archive (a PyTorch checkpoint?); convert it to GGUF, or unpack it, first"},
    {"\x80\x02"sv, ErrorKind::unsupported, "it is a Python pickle; convert it to GGUF first"},
    {"\x80\x03"sv, ErrorKind::unsupported, "it is a Python pickle; convert it to GGUF first"},
    {"\x80\x04"sv, ErrorKind::unsupported, "it is a Python pickle; convert it to GGUF first"},
    {"\x80\x05"sv, ErrorKind::unsupported, "it is a Python pickle; convert it to GGUF first"},
    {"\x93NUMPY"sv, ErrorKind::unsupported, "it is a NumPy array; convert the model to GGUF first"},
    {"\x89HDF"sv, ErrorKind::unsupported, "it is an HDF5 file; convert the model to GGUF first"},
    {"lmgg"sv, ErrorKind::unsupported, "it is a GGML file older than GGUF; convert it first"},
    {"fmgg"sv, ErrorKind::unsupported, "it is a GGML file older than GGUF; convert it first"},
    {"tjgg"sv, ErrorKind::unsupported, "it is a GGML file older than GGUF; convert it first"},
    {"\x1f\x8b"sv, ErrorKind::unsupported, "it is compressed with gzip; unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, ErrorKind::unsupported, "it is compressed with zstd; unpack it first"},
    {"\xfd"
     "7zXZ"sv,
     ErrorKind::unsupported,
     "it is compressed with xz; unpack it first"},
};

bool is_printable(char c) {
    return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';
}

std::string_view without_blanks(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3); // byte order mark
    }
    const size_t begin = text.find_first_not_of(" \t\r\n");
    return begin == std::string_view::npos ? std::string_view{} : text.substr(begin);
}

// Downloads that got a page or a message of the server instead of the file.
void refuse_text(std::string_view head) {
    const std::string_view text = without_blanks(head);
    std::string lower(text.substr(0, 16));
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (lower.starts_with("<!doctype") || lower.starts_with("<html") ||
        lower.starts_with("<?xml") || lower.starts_with("<head") || lower.starts_with("<!--")) {
        PI_THROW(
            format,
            "not a GGUF file: it is a web page; use the link to the raw file and log in if the "
            "model asks for it"
        );
    }
    if (!text.empty() && std::all_of(head.begin(), head.end(), is_printable)) {
        PI_THROW(
            format,
            "not a GGUF file: it is text that begins with %s, probably an answer of the download "
            "server",
            quoted(text, 100).c_str()
        );
    }
}

// u64 length of a JSON header, then the header.
bool is_safetensors(std::span<const std::byte> file) {
    if (file.size() < 10 || file[8] != std::byte{'{'}) {
        return false;
    }
    uint64_t n_bytes = 0;
    std::memcpy(&n_bytes, file.data(), sizeof n_bytes);
    // The largest header that the format's own readers accept.
    constexpr uint64_t kMaxHeaderBytes = 100'000'000;
    return n_bytes >= 2 && n_bytes <= kMaxHeaderBytes;
}

} // namespace

void throw_not_gguf(std::span<const std::byte> file) {
    PI_CHECK(!file.empty(), format, "the file is empty: its download probably failed");
    const std::string_view head(
        reinterpret_cast<const char*>(file.data()), std::min(file.size(), kLookBytes)
    );
    if ("GGUF"sv.starts_with(head) || "PWRI"sv.starts_with(head)) {
        PI_THROW(
            format,
            "the magic needs 4 bytes at offset 0, but the file ends after %zu bytes: the download "
            "is probably incomplete",
            file.size()
        );
    }
    for (const Signature& signature : kSignatures) {
        if (head.starts_with(signature.begin)) {
            throw Error(signature.kind, format_message("not a GGUF file: %s", signature.message));
        }
    }
    if (is_safetensors(file)) {
        PI_THROW(
            unsupported, "not a GGUF file: it is a safetensors file; convert it to GGUF first"
        );
    }
    refuse_text(head);
    PI_CHECK(
        !std::all_of(head.begin(), head.end(), [](char c) { return c == '\0'; }),
        format,
        "not a GGUF file: it begins with %zu zero bytes; the download reserved the space and was "
        "probably not finished",
        head.size()
    );
    PI_THROW(
        format,
        "not a GGUF file: want it to begin with 'GGUF' or 'PWRI', found %s; a later part of a "
        "split "
        "model, or damaged",
        quoted(head.substr(0, 4)).c_str()
    );
}

} // namespace powerinfer
