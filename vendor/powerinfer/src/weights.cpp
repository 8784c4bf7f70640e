#include "weights.h"

#include "columns.h"
#include "error.h"
#include "page_lock.h"
#include "processors.h"
#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace powerinfer {

namespace {

// Below this the page table itself fits into the caches.
constexpr uint64_t kMinBytes = uint64_t{64} << 20;

// A quarter beyond the copy, for the cache of the attention and for everybody else.
constexpr uint64_t enough_for(uint64_t n_bytes) {
    return n_bytes + n_bytes / 4;
}

// Large enough to be read in one go, small enough to cancel soon and to spread over threads.
constexpr size_t kPiece = size_t{16} << 20;

constexpr int kStripRows = 64; // rows of a bundle's matrices that are brought into order at a time

double megabytes(uint64_t n_bytes) {
    return static_cast<double>(n_bytes) / 1e6;
}

// Of all tensors; a file without any may end before its data would begin.
uint64_t data_bytes(const GgufFile& file) {
    return file.file_bytes() - std::min(file.file_bytes(), file.data_offset());
}

// Why the weights of `file` stay where they are; empty where they are to be copied.
std::string reason_against(const GgufFile& file, Repack repack) {
    if (!file.file().is_mapped()) {
        return "the container is in memory already";
    }
    if (data_bytes(file) == 0) {
        return "the file has no weights";
    }
    switch (repack) {
    case Repack::never:
        return "repack is never";
    case Repack::always:
        return {};
    case Repack::automatic:
        break;
    }
    return reason_to_stay_mapped(data_bytes(file), SystemMemory::now());
}

// Calls body(i, worker) for i in [0, n) on as many threads as there are cores. After the first that
// throws no more are begun, and it is thrown again.
template <typename Body>
void for_all(size_t n, Body&& body) {
    std::atomic<bool> is_stopped{false};
    std::exception_ptr failure;
    std::mutex failing;
    ThreadPool pool(static_cast<int>(std::min(static_cast<size_t>(physical_cores()), n)));
    pool.parallel_for(static_cast<int64_t>(n), 1, [&](int64_t begin, int64_t end, int worker) {
        try {
            for (int64_t i = begin; i < end && !is_stopped.load(); ++i) {
                body(static_cast<size_t>(i), worker);
            }
        } catch (...) {
            const std::lock_guard lock(failing);
            failure = std::current_exception();
            is_stopped.store(true);
        }
    });
    if (failure) {
        std::rethrow_exception(failure);
    }
}

} // namespace

std::string reason_to_stay_mapped(uint64_t n_bytes, const SystemMemory& memory) {
    if (n_bytes <= kMinBytes) {
        return format_message(
            "%.1f MB of weights are too few to gain from large pages (more than %.1f MB)",
            megabytes(n_bytes),
            megabytes(kMinBytes)
        );
    }
    if (!memory.has_large_pages) {
        return "this process gets no large pages from the system";
    }
    if (!memory.available_bytes.has_value()) {
        return "the system does not tell how much memory is available";
    }
    if (*memory.available_bytes < enough_for(n_bytes)) {
        return format_message(
            "a copy of %.1f MB wants %.1f MB of available memory, there are %.1f MB",
            megabytes(n_bytes),
            megabytes(enough_for(n_bytes)),
            megabytes(*memory.available_bytes)
        );
    }
    return {};
}

Weights::Weights(std::shared_ptr<const GgufFile> file, const WeightOptions& options)
    : file_(std::move(file)), options_(options), reason_(reason_against(*file_, options.repack)),
      base_(file_->file().bytes().data()) {
    if (!reason_.empty()) {
        return;
    }
    try {
        allocate_copy();
    } catch (const Error& error) { // a limit of this process that the system does not tell
        if (options.repack == Repack::always) {
            throw;
        }
        reason_ = error.what();
    }
}

Weights::~Weights() {
    if (is_locked_) {
        unlock_pages(copied());
    }
}

void Weights::allocate_copy() {
    const uint64_t n_bytes = data_bytes(*file_);
    const std::optional<uint64_t> available = SystemMemory::now().available_bytes;
    PI_CHECK(
        n_bytes <= available.value_or(n_bytes),
        out_of_memory,
        "a copy of the weights wants %llu bytes of memory, %llu are available; free some, or load "
        "with repack never",
        static_cast<unsigned long long>(n_bytes),
        static_cast<unsigned long long>(available.value_or(0))
    );
    // Files align their tensors to half a cache line.
    lead_ = (Buffer::kAlignment - file_->data_offset() % Buffer::kAlignment) % Buffer::kAlignment;
    copy_ = Buffer::allocate_large(lead_ + static_cast<size_t>(file_->file_bytes()));
    base_ = copy_.data() + lead_;
    copied_bytes_ = n_bytes;
}

void Weights::read(const std::byte* data, std::span<std::byte> out) const {
    file_->file().read(static_cast<size_t>(data - base_), out);
}

// In pieces that begin at large pages, so that no page is filled by two threads.
void Weights::add_plain(std::vector<Job>& jobs, const std::byte* begin, const std::byte* end) {
    while (begin < end) {
        const auto offset = static_cast<size_t>(begin - copy_.data());
        const size_t n = std::min(kPiece - offset % kPiece, static_cast<size_t>(end - begin));
        jobs.push_back({n, [this, begin, n] { read(begin, {place(begin), n}); }});
        begin += n;
    }
}

// Strips of rows stay in the second-level cache between reading and writing, and need no place
// beside the matrix that takes theirs.
void Weights::add_strips(std::vector<Job>& jobs, const ColumnMatrix& matrix) {
    const size_t n = kColumnRows * matrix.n_row_bytes();
    for (int first = 0; first < matrix.rows; first += kColumnRows) {
        jobs.push_back({n, [this, matrix, first, n] {
                            std::vector<std::byte> rows(n);
                            const size_t offset = static_cast<size_t>(first) * matrix.n_row_bytes();
                            read(matrix.data + offset, rows);
                            store_by_columns(
                                place(matrix.data), matrix.rows, matrix.cols, first, rows.data()
                            );
                        }});
    }
}

void Weights::add_strips(std::vector<Job>& jobs, const RowBundle& bundle) {
    for (int first = 0; first < bundle.rows; first += kStripRows) {
        const auto n_rows = static_cast<size_t>(std::min(kStripRows, bundle.rows - first));
        const auto n_matrices = static_cast<size_t>(bundle.n_matrices);
        jobs.push_back(
            {n_rows * n_matrices * bundle.n_row_bytes,
             [this, bundle, first, n_rows, n_matrices] {
                 const size_t n = bundle.n_row_bytes;
                 const size_t begin = static_cast<size_t>(first) * n;
                 std::vector<std::byte> rows(n_rows * n);
                 for (size_t k = 0; k < n_matrices; ++k) {
                     read(bundle.data + k * bundle.n_matrix_bytes() + begin, rows);
                     std::byte* out = place(bundle.data) + begin * n_matrices + k * n;
                     for (size_t i = 0; i < n_rows; ++i) {
                         std::memcpy(out + i * n * n_matrices, rows.data() + i * n, n);
                     }
                 }
             }}
        );
    }
}

std::vector<Weights::Job> Weights::copy_jobs(const Layout& layout) {
    std::vector<Job> jobs;
    std::vector<std::span<const std::byte>> ordered;
    for (const ColumnMatrix& matrix : layout.by_columns) {
        add_strips(jobs, matrix);
        ordered.push_back({matrix.data, matrix.n_bytes()});
    }
    for (const RowBundle& bundle : layout.bundles) {
        add_strips(jobs, bundle);
        ordered.push_back({bundle.data, bundle.n_bytes()});
    }
    std::sort(ordered.begin(), ordered.end(), [](auto a, auto b) { return a.data() < b.data(); });
    const std::byte* plain = copied().data();
    for (const std::span<const std::byte> part : ordered) {
        add_plain(jobs, plain, part.data());
        plain = part.data() + part.size();
    }
    add_plain(jobs, plain, copied().data() + copied().size());
    return jobs;
}

void Weights::fill_copy(const Layout& layout, const LoadProgress& progress) {
    const size_t n_bytes = copied().size();
    size_t reported = 0;
    const auto report = [&](size_t so_far) {
        reported = so_far;
        PI_CHECK(
            progress(so_far, n_bytes),
            cancelled,
            "copying the weights was stopped after %zu of %zu bytes",
            so_far,
            n_bytes
        );
    };
    const std::vector<Job> jobs = copy_jobs(layout);
    std::atomic<size_t> done{0};
    for_all(jobs.size(), [&](size_t i, int worker) {
        jobs[i].run();
        const size_t so_far = done.fetch_add(jobs[i].n_bytes) + jobs[i].n_bytes;
        if (worker == 0) { // the caller's thread
            report(so_far);
        }
    });
    if (reported < n_bytes) { // another thread had the last piece
        report(n_bytes);
    }
}

void Weights::make_resident(const Layout& layout, const LoadProgress& progress, const Log& log) {
    if (copied_bytes_ > 0) {
        const auto start = std::chrono::steady_clock::now();
        fill_copy(layout, progress);
        file_->file().release_pages(static_cast<size_t>(file_->data_offset()));
        const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
        copy_ns_ = static_cast<uint64_t>(elapsed.count());
        log(LogLevel::info,
            format_message(
                "weights copied into large pages: %.1f MB in %.3f s",
                megabytes(copied_bytes_),
                static_cast<double>(copy_ns_) * 1e-9
            ));
    } else {
        log(LogLevel::info, "weights stay in the file: " + reason_);
        if (options_.prefetch || options_.lock) {
            file_->file().prefetch(progress);
        }
    }
    if (options_.lock) {
        lock();
    }
}

void Weights::lock() {
    if (copied_bytes_ == 0) {
        file_->file().lock();
        return;
    }
    lock_pages(copied());
    is_locked_ = true;
}

} // namespace powerinfer
