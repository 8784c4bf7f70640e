// Untrusted bytes made fit for a one-line error message.
#pragma once

#include <string>
#include <string_view>

namespace powerinfer {

// `text` in single quotes; what is not printable ASCII becomes \xNN, and from `max_chars` on it is
// cut with "...".
std::string quoted(std::string_view text, size_t max_chars = 80);

} // namespace powerinfer
