#include "error.h"

#include <cstdarg>
#include <cstdio>

namespace powerinfer {

std::string format_message(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int n = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return n < 0 ? std::string(format) : std::string(text);
}

} // namespace powerinfer
