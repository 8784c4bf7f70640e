// Checks for the tests: a failed one prints file, line and values and lets the test continue.
// A program runs its cases with CHECK_RUN and returns check::finish() from main.
#pragma once

#include "error.h"

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

namespace check {

inline int n_failures = 0;
inline int n_checks = 0;
inline int n_skips = 0;
inline const char* current_case = "";

template <typename T>
std::string text_of(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
        return value ? "true" : "false";
    } else if constexpr (std::is_enum_v<T>) {
        return std::to_string(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_floating_point_v<T>) {
        char text[64];
        std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
        return text;
    } else if constexpr (std::is_integral_v<T>) {
        return std::to_string(value);
    } else if constexpr (std::is_convertible_v<T, std::string_view>) {
        return "\"" + std::string(std::string_view(value)) + "\"";
    } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
        return value == nullptr ? "nullptr" : "a pointer";
    } else {
        return "(value)";
    }
}

inline void report(bool ok, const char* file, int line, const std::string& what) {
    n_checks += 1;
    if (!ok) {
        n_failures += 1;
        std::printf("%s:%d: %s: %s\n", file, line, current_case, what.c_str());
    }
}

template <typename F>
void expect_error(
    const char* file,
    int line,
    const char* expression,
    powerinfer::ErrorKind kind,
    std::string_view part,
    F&& run
) {
    const std::string what(expression);
    try {
        run();
    } catch (const powerinfer::Error& error) {
        const std::string message(error.what());
        report(error.kind() == kind, file, line, what + " threw another kind: " + message);
        report(
            message.find(part) != std::string::npos,
            file,
            line,
            what + " threw \"" + message + "\" without \"" + std::string(part) + "\""
        );
        return;
    }
    report(false, file, line, what + " threw nothing");
}

template <typename F>
void run(const char* name, F&& test) {
    current_case = name;
    const int before = n_failures;
    try {
        test();
    } catch (const std::exception& error) {
        report(false, "uncaught exception", 0, error.what());
    }
    std::printf("%s %s\n", n_failures == before ? "ok    " : "FAILED", name);
}

// Says that a case cannot run here.
inline void skip(const char* why) {
    n_skips += 1;
    std::printf("skipped: %s\n", why);
}

// The exit code of the program: failures, or no check at all, are an error, unless all was skipped.
inline int finish() {
    std::printf("%d checks, %d failures, %d skipped\n", n_checks, n_failures, n_skips);
    return n_failures == 0 && n_checks + n_skips > 0 ? 0 : 1;
}

} // namespace check

#define CHECK(condition) ::check::report(bool(condition), __FILE__, __LINE__, #condition)

// With a printf-style message that names the case at hand.
#define CHECK_MSG(condition, ...)                                                                  \
    do {                                                                                           \
        const bool check_ok = bool(condition);                                                     \
        ::check::report(                                                                           \
            check_ok,                                                                              \
            __FILE__,                                                                              \
            __LINE__,                                                                              \
            check_ok ? std::string()                                                               \
                     : std::string(#condition ": ") + ::powerinfer::format_message(__VA_ARGS__)    \
        );                                                                                         \
    } while (false)

#define CHECK_EQ(left, right)                                                                      \
    do {                                                                                           \
        const auto check_left = (left);                                                            \
        const auto check_right = (right);                                                          \
        const bool check_ok = check_left == check_right;                                           \
        ::check::report(                                                                           \
            check_ok,                                                                              \
            __FILE__,                                                                              \
            __LINE__,                                                                              \
            check_ok ? std::string()                                                               \
                     : #left " == " #right ": " + ::check::text_of(check_left) + " vs " +          \
                           ::check::text_of(check_right)                                           \
        );                                                                                         \
    } while (false)

#define CHECK_NEAR(left, right, tolerance)                                                         \
    do {                                                                                           \
        const double check_left = double(left);                                                    \
        const double check_right = double(right);                                                  \
        ::check::report(                                                                           \
            std::abs(check_left - check_right) <= double(tolerance),                               \
            __FILE__,                                                                              \
            __LINE__,                                                                              \
            #left " ~ " #right ": " + ::check::text_of(check_left) + " vs " +                      \
                ::check::text_of(check_right)                                                      \
        );                                                                                         \
    } while (false)

// CHECK_ERROR(format, "part of the message", expression)
#define CHECK_ERROR(kind, part, ...)                                                               \
    ::check::expect_error(                                                                         \
        __FILE__,                                                                                  \
        __LINE__,                                                                                  \
        #__VA_ARGS__,                                                                              \
        ::powerinfer::ErrorKind::kind,                                                             \
        part,                                                                                      \
        [&] { static_cast<void>(__VA_ARGS__); }                                                    \
    )

#define CHECK_RUN(test) ::check::run(#test, test)
