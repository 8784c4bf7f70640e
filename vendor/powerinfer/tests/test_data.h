// Reference data outside this repository: where it is, and readers for its .npy and .json files.
#pragma once

#include "check.h"
#include "error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace test_data {

// The folder named by POWERINFER_TEST_DATA. Without it the caller skips, which is an error where
// POWERINFER_REQUIRE_TEST_DATA is set.
inline std::optional<std::filesystem::path> root() {
    const char* path = std::getenv("POWERINFER_TEST_DATA");
    if (path != nullptr && *path != '\0') {
        return std::filesystem::path(path);
    }
    if (std::getenv("POWERINFER_REQUIRE_TEST_DATA") != nullptr) {
        PI_THROW(io, "POWERINFER_TEST_DATA is not set, and this run must not skip");
    }
    check::skip("POWERINFER_TEST_DATA is not set");
    return std::nullopt;
}

inline std::string read_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    PI_CHECK(file.good(), io, "cannot open %s", path.c_str());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The data of a version 1 .npy file whose elements are of type T ("<f4", "<f8", "<i4").
template <typename T>
std::vector<T> read_npy(const std::filesystem::path& path, const char* descr) {
    const std::string bytes = read_text(path);
    constexpr size_t kPrefix = 10;
    PI_CHECK(bytes.size() > kPrefix, format, "%s is too short", path.c_str());
    const size_t header =
        static_cast<uint8_t>(bytes[8]) + static_cast<size_t>(static_cast<uint8_t>(bytes[9])) * 256;
    PI_CHECK(
        bytes.substr(kPrefix, header).find(descr) != std::string::npos,
        format,
        "%s: want elements %s",
        path.c_str(),
        descr
    );
    std::vector<T> values((bytes.size() - kPrefix - header) / sizeof(T));
    std::memcpy(values.data(), bytes.data() + kPrefix + header, values.size() * sizeof(T));
    return values;
}

// The number behind "key": in a flat JSON file; absent when it is null or missing.
inline std::optional<double> json_number(const std::string& text, const std::string& key) {
    const size_t at = text.find('"' + key + '"');
    if (at == std::string::npos) {
        return std::nullopt;
    }
    const char* value = text.c_str() + text.find(':', at) + 1;
    char* end = nullptr;
    const double number = std::strtod(value, &end);
    return end == value ? std::nullopt : std::optional<double>(number);
}

} // namespace test_data
