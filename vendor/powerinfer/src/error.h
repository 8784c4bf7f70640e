// The one exception of the core: a kind that callers can act on and a message that says what was
// wanted, what was found and what to do. It stops at capi.cpp.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace powerinfer {

// Same numbers as PI_ERROR_* of powerinfer.h.
enum class ErrorKind : uint32_t {
    io = 1,               // the operating system refused: missing file, no permission, read error
    format = 2,           // the file contradicts its own format
    unsupported = 3,      // a valid file or request that this build cannot serve
    invalid_argument = 4, // the caller asked for something that makes no sense
    context_full = 5,     // the KV cache cannot hold the batch
    out_of_memory = 6,
    cancelled = 7,
    internal = 8, // a bug in the core
    device = 9,   // no usable device, or it failed
};

class Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    ErrorKind kind() const noexcept { return kind_; }

private:
    ErrorKind kind_;
};

// printf-style; the result is truncated to 1 KiB.
[[gnu::format(printf, 1, 2)]] std::string format_message(const char* format, ...);

} // namespace powerinfer

#define PI_THROW(kind, ...)                                                                        \
    throw ::powerinfer::Error(                                                                     \
        ::powerinfer::ErrorKind::kind, ::powerinfer::format_message(__VA_ARGS__)                   \
    )

#define PI_CHECK(condition, kind, ...)                                                             \
    do {                                                                                           \
        if (!(condition)) [[unlikely]] {                                                           \
            PI_THROW(kind, __VA_ARGS__);                                                           \
        }                                                                                          \
    } while (false)
