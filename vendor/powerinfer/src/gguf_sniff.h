// Says what a file that is no GGUF container is instead.
#pragma once

#include <cstddef>
#include <span>

namespace powerinfer {

// `file` does not begin with a magic of ours. Throws Error(format), or Error(unsupported) for a
// model in another format, with a message that says what the file looks like and what to do.
[[noreturn]] void throw_not_gguf(std::span<const std::byte> file);

} // namespace powerinfer
