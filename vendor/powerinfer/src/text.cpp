#include "text.h"

namespace powerinfer {

std::string quoted(std::string_view text, size_t max_chars) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "'";
    for (const char c : text.substr(0, max_chars)) {
        const unsigned byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f && c != '\\' && c != '\'') {
            out += c;
        } else {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    out += text.size() > max_chars ? "...'" : "'";
    return out;
}

} // namespace powerinfer
