#include "mapped_file.h"

#include "error.h"
#include "page_lock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#ifdef _WIN32
#include <filesystem>
#include <fstream>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace powerinfer {

namespace {

// Large enough to keep a disk busy, small enough to cancel within a tenth of a second on a slow
// one.
constexpr size_t kPrefetchPiece = size_t{16} << 20;

// What one call of the system is asked to read.
constexpr size_t kReadPiece = size_t{1} << 30;

} // namespace

MappedFile MappedFile::from_bytes(std::span<const std::byte> bytes) {
    MappedFile file;
    file.copy_ = Buffer::allocate(bytes.size());
    if (!bytes.empty()) {
        std::memcpy(file.copy_.data(), bytes.data(), bytes.size());
    }
    file.data_ = file.copy_.data();
    file.n_bytes_ = bytes.size();
    return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), n_bytes_(std::exchange(other.n_bytes_, 0)),
      path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)),
      copy_(std::move(other.copy_)), is_mapped_(std::exchange(other.is_mapped_, false)),
      is_locked_(other.is_locked_.exchange(false)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        release();
        data_ = std::exchange(other.data_, nullptr);
        n_bytes_ = std::exchange(other.n_bytes_, 0);
        path_ = std::move(other.path_);
        descriptor_ = std::exchange(other.descriptor_, -1);
        copy_ = std::move(other.copy_);
        is_mapped_ = std::exchange(other.is_mapped_, false);
        is_locked_ = other.is_locked_.exchange(false);
    }
    return *this;
}

MappedFile::~MappedFile() {
    release();
}

void MappedFile::throw_cancelled(size_t done) const {
    PI_THROW(cancelled, "reading the file in was stopped after %zu of %zu bytes", done, n_bytes_);
}

void MappedFile::lock() const {
    if (!is_locked_) {
        lock_pages(bytes());
        is_locked_ = true;
    }
}

#ifdef _WIN32

MappedFile MappedFile::open(const std::string& path) {
    namespace fs = std::filesystem;
    const fs::path native(std::u8string(path.begin(), path.end()));
    std::error_code code;
    const fs::file_status status = fs::status(native, code);
    PI_CHECK(
        fs::is_regular_file(status),
        io,
        "cannot open %s: %s",
        path.c_str(),
        fs::is_directory(status) ? "it is a directory" : code.message().c_str()
    );
    std::ifstream stream(native, std::ios::binary | std::ios::ate);
    PI_CHECK(stream.is_open(), io, "cannot open %s: %s", path.c_str(), std::strerror(errno));
    const std::streamoff n_bytes = stream.tellg();
    PI_CHECK(n_bytes >= 0, io, "cannot read the size of %s", path.c_str());
    PI_CHECK(n_bytes > 0, format, "%s is empty: its download probably failed", path.c_str());
    MappedFile file;
    file.copy_ = Buffer::allocate(static_cast<size_t>(n_bytes));
    stream.seekg(0);
    stream.read(reinterpret_cast<char*>(file.copy_.data()), n_bytes);
    PI_CHECK(stream.gcount() == n_bytes, io, "cannot read all of %s", path.c_str());
    file.data_ = file.copy_.data();
    file.n_bytes_ = file.copy_.n_bytes();
    return file;
}

size_t MappedFile::prefetch_piece(size_t offset) const {
    return std::min(kPrefetchPiece, n_bytes_ - offset); // a copy is in memory already
}

void MappedFile::read(size_t offset, std::span<std::byte> out) const {
    std::memcpy(out.data(), data_ + offset, out.size());
}

void MappedFile::release_pages(size_t) const noexcept {}

void MappedFile::release() noexcept {}

#else

namespace {

int open_to_read(const std::string& path) {
    // Non-blocking so that a pipe is refused instead of waited for; regular files do not care.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    PI_CHECK(descriptor >= 0, io, "cannot open %s: %s", path.c_str(), std::strerror(errno));
    return descriptor;
}

size_t regular_file_size(int descriptor, const std::string& path) {
    struct stat status = {};
    PI_CHECK(
        ::fstat(descriptor, &status) == 0,
        io,
        "cannot read the size of %s: %s",
        path.c_str(),
        std::strerror(errno)
    );
    PI_CHECK(!S_ISDIR(status.st_mode), io, "want a file, %s is a directory", path.c_str());
    PI_CHECK(
        S_ISREG(status.st_mode), io, "want a regular file, %s is a pipe or a device", path.c_str()
    );
    PI_CHECK(
        status.st_size != 0, format, "%s is empty: its download probably failed", path.c_str()
    );
    PI_CHECK(
        std::in_range<size_t>(status.st_size),
        unsupported,
        "%s is larger than the address space of this system",
        path.c_str()
    );
    return static_cast<size_t>(status.st_size);
}

// Reads the pages of [data, data + n_bytes) in. False when this kernel has no call for it.
bool populate([[maybe_unused]] const std::byte* data, [[maybe_unused]] size_t n_bytes) {
#ifdef MADV_POPULATE_READ
    // Unlike touching the pages it reports a shortened file as an error instead of SIGBUS.
    while (::madvise(const_cast<std::byte*>(data), n_bytes, MADV_POPULATE_READ) != 0) {
        if (errno == EINVAL) {
            return false; // before Linux 5.14
        }
        PI_CHECK(
            errno == EINTR || errno == EAGAIN,
            io,
            "cannot read the mapped file in: %s; the disk failed or the file became shorter",
            std::strerror(errno)
        );
    }
    return true;
#else
    return false;
#endif
}

size_t page_bytes() {
    return static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

MappedFile MappedFile::open(const std::string& path) {
    MappedFile file;
    file.path_ = path;
    file.descriptor_ = open_to_read(path);
    file.n_bytes_ = regular_file_size(file.descriptor_, path);
    // Private, not shared: for read-only pages both show the page cache that all processes share,
    // and file systems that refuse shared mappings (FUSE with direct I/O) accept private ones.
    void* mapping = ::mmap(nullptr, file.n_bytes_, PROT_READ, MAP_PRIVATE, file.descriptor_, 0);
    if (mapping == MAP_FAILED) {
        file.copy_ = Buffer::allocate(file.n_bytes_);
        file.read(0, file.copy_.bytes());
        file.data_ = file.copy_.data();
        return file;
    }
    file.data_ = static_cast<const std::byte*>(mapping);
    file.is_mapped_ = true;
#ifdef MADV_HUGEPAGE
    // Where the file system has large folios, page faults then bring in 2 MiB at once and need
    // fewer TLB entries. A hint, so failure is no error.
    ::madvise(mapping, file.n_bytes_, MADV_HUGEPAGE);
#endif
    return file;
}

void MappedFile::read(size_t offset, std::span<std::byte> out) const {
    for (size_t done = 0; done < out.size();) {
        const size_t wanted = std::min(out.size() - done, kReadPiece);
        const auto from = static_cast<off_t>(offset + done);
        const ssize_t n = ::pread(descriptor_, out.data() + done, wanted, from);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        PI_CHECK(n >= 0, io, "cannot read %s: %s", path_.c_str(), std::strerror(errno));
        PI_CHECK(
            n != 0,
            io,
            "cannot read %s: it became shorter, want %zu bytes and found %zu",
            path_.c_str(),
            n_bytes_,
            offset + done
        );
        done += static_cast<size_t>(n);
    }
}

void MappedFile::release_pages(size_t offset) const noexcept {
    const size_t page = page_bytes();
    const size_t begin = (offset + page - 1) / page * page;
    if (is_mapped_ && begin < n_bytes_) {
        // For a private mapping that nobody writes to this only forgets where the pages are.
        ::madvise(const_cast<std::byte*>(data_) + begin, n_bytes_ - begin, MADV_DONTNEED);
    }
}

size_t MappedFile::prefetch_piece(size_t offset) const {
    const size_t n = std::min(kPrefetchPiece, n_bytes_ - offset);
    if (!is_mapped_) {
        return n; // a copy is in memory already
    }
    // kPrefetchPiece is a multiple of any page size, so both addresses are at a page's start.
    std::byte* begin = const_cast<std::byte*>(data_) + offset;
    const size_t next = std::min(kPrefetchPiece, n_bytes_ - offset - n);
    if (next > 0) {
        ::madvise(begin + n, next, MADV_WILLNEED); // the disk reads on while we copy
    }
    if (!populate(begin, n)) {
        const size_t step = page_bytes();
        for (size_t i = 0; i < n; i += step) {
            static_cast<void>(*static_cast<const volatile std::byte*>(begin + i));
        }
    }
    return n;
}

void MappedFile::release() noexcept {
    if (is_mapped_) {
        ::munmap(const_cast<std::byte*>(data_), n_bytes_); // unlocks too
    } else if (is_locked_) {
        unlock_pages(bytes());
    }
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
    descriptor_ = -1;
    data_ = nullptr;
    n_bytes_ = 0;
    is_mapped_ = false;
    is_locked_ = false;
}

#endif

} // namespace powerinfer
