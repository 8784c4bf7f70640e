// Buffer and MappedFile: ownership, alignment, and errors that say what was wanted.
#include "buffer.h"
#include "check.h"
#include "mapped_file.h"
#include "sanitized.h"
#include "temporary_directory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// The address sanitizer ends the program on huge requests unless told to refuse them.
extern "C" const char* __asan_default_options() {
    return "allocator_may_return_null=1";
}

using namespace powerinfer;
using test::TemporaryDirectory;

namespace {

constexpr size_t kLarge = (size_t{33} << 20) + 5; // more than two prefetch pieces, odd

std::string text_of(const MappedFile& file) {
    const std::span<const std::byte> bytes = file.bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_aligned(const void* data) {
    return reinterpret_cast<uintptr_t>(data) % Buffer::kAlignment == 0;
}

void buffers_are_aligned_and_move() {
    for (const size_t n : std::vector<size_t>{1, 63, 64, 65, 4097}) {
        Buffer buffer = Buffer::allocate(n);
        CHECK(is_aligned(buffer.data()));
        CHECK_EQ(buffer.bytes().size(), n);
        std::memset(buffer.data(), 7, n);
        const std::byte* data = buffer.data();
        Buffer moved = std::move(buffer);
        CHECK(moved.data() == data);
        CHECK(buffer.data() == nullptr && buffer.n_bytes() == 0);
        buffer = Buffer::allocate(3);
        buffer = std::move(moved);
        CHECK(buffer.data() == data && buffer.n_bytes() == n);
        CHECK(moved.data() == nullptr && moved.n_bytes() == 0);
    }
    Buffer floats = Buffer::allocate(5, sizeof(float));
    CHECK_EQ(floats.as<float>().size(), size_t{5});
    CHECK(Buffer::allocate(0).data() == nullptr);
    CHECK_EQ(Buffer::allocate(0, 8).n_bytes() + Buffer::allocate(8, 0).n_bytes(), size_t{0});
}

void large_buffers_begin_at_a_large_page() {
    for (const size_t n : {size_t{1}, Buffer::kLargePage - 1, 3 * Buffer::kLargePage + 5}) {
        Buffer buffer = Buffer::allocate_large(n);
        CHECK_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % Buffer::kLargePage, size_t{0});
        CHECK_EQ(buffer.n_bytes(), n);
        std::memset(buffer.data(), 7, n);
        Buffer small = Buffer::allocate(9);
        small = std::move(buffer); // frees each in its own way
        CHECK_EQ(small.n_bytes(), n);
    }
    CHECK(Buffer::allocate_large(0).data() == nullptr);
}

void impossible_buffers_are_out_of_memory() {
    constexpr size_t kMax = std::numeric_limits<size_t>::max();
    constexpr size_t kBeyondMemory = size_t{1} << 50;
    CHECK_ERROR(out_of_memory, "want 18446744073709551615 bytes", Buffer::allocate(kMax));
    CHECK_ERROR(out_of_memory, "want 9223372036854775807 bytes", Buffer::allocate(kMax / 2));
    CHECK_ERROR(out_of_memory, "want 1125899906842624 bytes", Buffer::allocate(kBeyondMemory));
    CHECK_ERROR(
        out_of_memory, "want 1125899906842624 bytes", Buffer::allocate_large(kBeyondMemory)
    );
    CHECK_ERROR(
        out_of_memory, "4611686018427387904 elements of 4", Buffer::allocate(kMax / 4 + 1, 4)
    );
}

void files_are_mapped() {
    const TemporaryDirectory directory;
    const std::string path = directory.write("x", "content");
    MappedFile file = MappedFile::open(path);
    CHECK(file.is_mapped());
    CHECK_EQ(text_of(file), "content");
    ::unlink(path.c_str());
    CHECK_EQ(text_of(file), "content"); // the mapping keeps a removed file
}

void mappings_move() {
    const TemporaryDirectory directory;
    MappedFile first = MappedFile::open(directory.write("x", "content"));
    const std::byte* data = first.bytes().data();
    MappedFile second = std::move(first);
    CHECK(first.bytes().empty() && !first.is_mapped());
    MappedFile third = MappedFile::open(directory.write("y", "other"));
    third = std::move(second);
    MappedFile& same = third;
    third = std::move(same);
    CHECK(third.bytes().data() == data);
    CHECK_EQ(text_of(third), "content");
    third = MappedFile();
    CHECK(third.bytes().empty());
}

void copies_are_aligned_and_own_their_bytes() {
    std::vector<std::byte> bytes(100, std::byte{'a'});
    MappedFile file = MappedFile::from_bytes(bytes);
    bytes.assign(100, std::byte{'b'});
    CHECK_EQ(text_of(file), std::string(100, 'a'));
    CHECK(is_aligned(file.bytes().data()));
    CHECK(!file.is_mapped());
    const std::byte* data = file.bytes().data();
    const MappedFile moved = std::move(file);
    CHECK(moved.bytes().data() == data);
    CHECK(MappedFile::from_bytes({}).bytes().empty());
}

void what_is_no_file_is_refused() {
    const TemporaryDirectory directory;
    const std::string pipe = directory.at("pipe");
    CHECK_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    CHECK_ERROR(
        io,
        directory.path() + "/absent: No such file",
        MappedFile::open(directory.path() + "/absent")
    );
    CHECK_ERROR(io, directory.path() + " is a directory", MappedFile::open(directory.path()));
    CHECK_ERROR(io, "pipe is a pipe or a device", MappedFile::open(pipe)); // and does not wait
    CHECK_ERROR(io, "/dev/null is a pipe or a device", MappedFile::open("/dev/null"));
    CHECK_ERROR(io, "No such file", MappedFile::open(""));
    CHECK_ERROR(format, "empty is empty", MappedFile::open(directory.write("empty", "")));
}

void prefetch_reports_progress_and_can_be_cancelled() {
    const TemporaryDirectory directory;
    const MappedFile file = MappedFile::open(directory.write("x", std::string(kLarge, 'x')));
    std::vector<size_t> steps;
    file.prefetch([&](size_t done, size_t total) {
        CHECK_EQ(total, kLarge);
        steps.push_back(done);
        return true;
    });
    CHECK_EQ(steps.size(), size_t{3});
    CHECK(steps.size() == 3 && steps[0] < steps[1] && steps[1] < steps[2]);
    CHECK_EQ(steps.back(), kLarge);
    size_t calls = 0;
    CHECK_ERROR(cancelled, "after 16777216 of ", file.prefetch([&](size_t, size_t) {
        calls += 1;
        return false;
    }));
    CHECK_EQ(calls, size_t{1});
    std::vector<unsigned char> resident(kLarge / 4096 + 1);
    void* start = const_cast<std::byte*>(file.bytes().data());
    CHECK_EQ(::mincore(start, kLarge, resident.data()), 0);
    CHECK((resident.front() & 1) == 1 && (resident.back() & 1) == 1);
    size_t copied = 0;
    MappedFile::from_bytes(file.bytes()).prefetch([&](size_t done, size_t) {
        copied = done;
        return true;
    });
    CHECK_EQ(copied, kLarge);
}

void prefetch_of_a_shortened_file_is_an_error() {
    const TemporaryDirectory directory;
    const std::string path = directory.write("x", std::string(1 << 20, 'x'));
    const MappedFile file = MappedFile::open(path);
    CHECK_EQ(::truncate(path.c_str(), 4096), 0);
    const auto go_on = [](size_t, size_t) { return true; };
#ifdef MADV_POPULATE_READ
    CHECK_ERROR(io, "the file became shorter", file.prefetch(go_on));
#else
    static_cast<void>(go_on); // touching the pages would be SIGBUS, as the header says
#endif
}

#if defined(__linux__)
const size_t kPage = static_cast<size_t>(::sysconf(_SC_PAGESIZE));

// The pages of [offset, end) that this process holds itself, whatever the system caches.
size_t mapped_pages(const MappedFile& file, size_t offset) {
    std::ifstream maps("/proc/self/pagemap", std::ios::binary);
    const size_t first = (reinterpret_cast<uintptr_t>(file.bytes().data()) + offset) / kPage;
    std::vector<uint64_t> entries((file.bytes().size() - offset + kPage - 1) / kPage);
    maps.seekg(static_cast<std::streamoff>(first * sizeof(uint64_t)));
    maps.read(
        reinterpret_cast<char*>(entries.data()),
        static_cast<std::streamsize>(entries.size() * sizeof(uint64_t))
    );
    CHECK(maps.good());
    return static_cast<size_t>(std::count_if(entries.begin(), entries.end(), [](uint64_t entry) {
        return (entry >> 63) != 0; // present
    }));
}

void reading_leaves_the_mapping_untouched() {
    const TemporaryDirectory directory;
    std::string content(kLarge, 'x');
    content.replace(1000, 5, "hello");
    const std::string path = directory.write("x", content);
    const MappedFile file = MappedFile::open(path);
    Buffer buffer = Buffer::allocate(kLarge - 1000);
    file.read(1000, buffer.bytes());
    const std::string_view read(reinterpret_cast<const char*>(buffer.data()), buffer.n_bytes());
    CHECK(read == std::string_view(content).substr(1000));
    CHECK_EQ(mapped_pages(file, 0), size_t{0});
    CHECK_EQ(::truncate(path.c_str(), 4096), 0);
    CHECK_ERROR(
        io,
        "/x: it became shorter, want 34603013 bytes and found 4096",
        file.read(8, buffer.bytes())
    );
}

void released_pages_come_back_from_the_file() {
    const TemporaryDirectory directory;
    const MappedFile file = MappedFile::open(directory.write("x", std::string(kLarge, 'x')));
    file.prefetch([](size_t, size_t) { return true; });
    CHECK(mapped_pages(file, 0) >= kLarge / kPage);
    file.release_pages(1);
    CHECK_EQ(mapped_pages(file, kPage), size_t{0});
    CHECK(file.bytes().front() == std::byte{'x'} && file.bytes().back() == std::byte{'x'});
    MappedFile::from_bytes(file.bytes().first(100)).release_pages(0); // has none
}
#endif

void locking_marks_the_file() {
    MappedFile file = MappedFile::from_bytes(std::vector<std::byte>(100));
    file.lock();
    file.lock();
    CHECK(file.is_locked());
    const MappedFile moved = std::move(file);
    CHECK(moved.is_locked() && !file.is_locked());
}

#ifdef PI_IS_SANITIZED
void locking_over_the_limit_names_the_limit() {
    std::printf("       skipped: under sanitizers mlock does nothing\n");
}
#else
// In a child, because the limit is the process's and root has none.
void locking_over_the_limit_names_the_limit() {
    const TemporaryDirectory directory;
    MappedFile file = MappedFile::open(directory.write("x", std::string(1 << 20, 'x')));
    const pid_t child = ::fork();
    if (child == 0) {
        const struct rlimit limit = {8192, 8192};
        constexpr uid_t kNobody = 65534;
        bool ok = ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
        ok = ok && (::getuid() != 0 || ::setuid(kNobody) == 0);
        try {
            file.lock();
            ok = false;
        } catch (const Error& error) {
            const std::string message = error.what();
            ok = ok && error.kind() == ErrorKind::out_of_memory;
            ok = ok && message.find("1048576 bytes") != std::string::npos;
            ok = ok && message.find("RLIMIT_MEMLOCK is 8192 bytes") != std::string::npos;
        }
        ::_exit(ok ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(::waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}
#endif

// Where the address space is too small for a mapping, reading is refused as well, by its own error.
void files_beyond_memory_are_errors() {
    const TemporaryDirectory directory;
    const std::string path = directory.write("x", "x");
    CHECK_EQ(::truncate(path.c_str(), off_t{1} << 40), 0); // a hole
    const pid_t child = ::fork();
    if (child == 0) {
        const struct rlimit limit = {size_t{1} << 38, size_t{1} << 38};
        bool ok = ::setrlimit(RLIMIT_AS, &limit) == 0;
        try {
            MappedFile::open(path);
            ok = false;
        } catch (const Error& error) {
            ok = ok && error.kind() == ErrorKind::out_of_memory;
        }
        ::_exit(ok ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(::waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

} // namespace

int main() {
    CHECK_RUN(buffers_are_aligned_and_move);
    CHECK_RUN(large_buffers_begin_at_a_large_page);
    CHECK_RUN(impossible_buffers_are_out_of_memory);
    CHECK_RUN(files_are_mapped);
    CHECK_RUN(mappings_move);
    CHECK_RUN(copies_are_aligned_and_own_their_bytes);
    CHECK_RUN(what_is_no_file_is_refused);
    CHECK_RUN(prefetch_reports_progress_and_can_be_cancelled);
    CHECK_RUN(prefetch_of_a_shortened_file_is_an_error);
#if defined(__linux__)
    CHECK_RUN(reading_leaves_the_mapping_untouched);
    CHECK_RUN(released_pages_come_back_from_the_file);
#endif
    CHECK_RUN(locking_marks_the_file);
    CHECK_RUN(locking_over_the_limit_names_the_limit);
    CHECK_RUN(files_beyond_memory_are_errors);
    return check::finish();
}
