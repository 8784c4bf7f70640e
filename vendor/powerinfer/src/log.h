// Messages of a model load, handed to the caller's function. No sink, no output.
#pragma once

#include <cstdint>
#include <string>

namespace powerinfer {

// Same numbers as PI_LOG_*.
enum class LogLevel : uint32_t { error = 1, warn = 2, info = 3, debug = 4 };

struct Log {
    void (*sink)(void* user, uint32_t level, const char* message) = nullptr;
    void* user = nullptr;

    void operator()(LogLevel level, const std::string& message) const {
        if (sink != nullptr) {
            sink(user, static_cast<uint32_t>(level), message.c_str());
        }
    }
};

} // namespace powerinfer
