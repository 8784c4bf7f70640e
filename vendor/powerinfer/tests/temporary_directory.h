// A directory for the files of one case, removed at the end.
#pragma once

#include "error.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace test {

class TemporaryDirectory {
public:
    TemporaryDirectory()
        : path_((std::filesystem::temp_directory_path() / "powerinfer-XXXXXX").string()) {
        PI_CHECK(::mkdtemp(path_.data()) != nullptr, io, "cannot make %s", path_.c_str());
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored; // nothing depends on what is left behind
        std::filesystem::remove_all(path_, ignored);
    }

    const std::string& path() const { return path_; }
    std::string at(const std::string& name) const { return path_ + "/" + name; }
    // The path of a new file, in folders that are made for it.
    std::string write(const std::string& name, std::string_view content) const {
        const std::string path = at(name);
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream file(path, std::ios::binary);
        file << content;
        PI_CHECK(file.flush().good(), io, "cannot write %s", path.c_str());
        return path;
    }
    std::string write(const std::string& name, std::span<const std::byte> content) const {
        return write(name, {reinterpret_cast<const char*>(content.data()), content.size()});
    }

private:
    std::string path_;
};

} // namespace test
