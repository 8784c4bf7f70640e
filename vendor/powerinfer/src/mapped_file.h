// A file mapped read-only into memory, or a private copy of bytes in its place.
#pragma once

#include "buffer.h"

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace powerinfer {

// Move-only; the bytes stay at their address when the object moves and live as long as it.
//
// The mapping shows the file, not a snapshot of it. If another process shortens the file while it
// is mapped, the operating system answers the next access behind the new end with SIGBUS, which
// ends the process; no handler is installed. If it overwrites the file, the bytes change under
// their readers. So: replace a model by writing another file and renaming it over the old one. What
// reads numbers that decide about memory safety (the container reader) checks its own copy of them.
class MappedFile {
public:
    // Throws Error(io) with the path and the system's reason; directories, pipes and devices are
    // refused. An empty file is Error(format). Where the system cannot map the file (some network
    // and user-space file systems, Windows) it is read into memory instead, see is_mapped().
    static MappedFile open(const std::string& path);
    // A 64-byte aligned copy of `bytes`.
    static MappedFile from_bytes(std::span<const std::byte> bytes);

    MappedFile() = default;
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    // Aligned to a page when mapped, else to 64 bytes.
    std::span<const std::byte> bytes() const noexcept { return {data_, n_bytes_}; }
    bool is_mapped() const noexcept { return is_mapped_; }
    bool is_locked() const noexcept { return is_locked_; }

    // Reads all pages in, so that later accesses do not wait for the disk. After each piece
    // `progress(done, total)`, in bytes, says whether to go on; false -> Error(cancelled).
    // Throws Error(io) when the file cannot be read or became shorter.
    template <typename Progress>
        requires std::predicate<Progress&, size_t, size_t>
    void prefetch(Progress&& progress) const {
        for (size_t done = 0; done < n_bytes_;) {
            done += prefetch_piece(done);
            if (!progress(done, n_bytes_)) {
                throw_cancelled(done);
            }
        }
    }

    // Copies bytes [offset, offset + out.size()) of a mapped file, past the mapping: its pages stay
    // untouched, and a file that became shorter is Error(io). Threads may read at once.
    void read(size_t offset, std::span<std::byte> out) const;

    // Takes the mapped pages behind `offset` out of this process's memory; a later access brings
    // them back from the file.
    void release_pages(size_t offset) const noexcept;

    // Locks the pages in memory until the object ends, see lock_pages(). Locking twice is fine,
    // and so is locking from several threads.
    void lock() const;

private:
    size_t prefetch_piece(size_t offset) const; // bytes read in
    [[noreturn]] void throw_cancelled(size_t done) const;
    void release() noexcept;

    const std::byte* data_ = nullptr;
    size_t n_bytes_ = 0;
    std::string path_;       // as it was opened
    int descriptor_ = -1;    // open as long as a file is mapped
    Buffer copy_;            // empty when mapped
    bool is_mapped_ = false; // data_ is a mapping, else it is copy_'s
    mutable std::atomic<bool> is_locked_{false};
};

} // namespace powerinfer
