// A file mapped read-only into memory, or a private copy of bytes in its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace powerinfer {

// Move-only; the mapping lives as long as the object.
class MappedFile {
public:
    // Throws Error(io) with the path and the system's reason. Directories and empty files are
    // errors.
    static MappedFile open(const std::string& path);
    // A 64-byte aligned copy of `bytes`.
    static MappedFile from_bytes(std::span<const std::byte> bytes);

    MappedFile() = default;
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const std::byte> bytes() const noexcept;
    // Reads all pages in; `progress(done, total)` returns false to stop -> Error(cancelled).
    template <typename Progress>
    void prefetch(Progress&& progress) const;
    // Locks the pages in memory; Error(out_of_memory) names the limit (RLIMIT_MEMLOCK) and how to
    // raise it.
    void lock();

private:
    const std::byte* data_ = nullptr;
    size_t n_bytes_ = 0;
    void* owned_ = nullptr; // heap copy, else a mapping
    bool is_locked_ = false;
};

} // namespace powerinfer
