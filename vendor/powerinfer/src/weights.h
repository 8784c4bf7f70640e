// Where a model's weights lie: in the mapped file, or in a copy of its tensor data in large pages.
//
// Sparse rows of a mapped file cost a walk of the page table each; in pages of 2 MiB they do not.
// The copy keeps the file's own offsets, so nothing but the base changes, and its order but for
// those matrices that a Layout names, which are written in another order into their place.
#pragma once

#include "buffer.h"
#include "gguf.h"
#include "log.h"
#include "system_memory.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace powerinfer {

// Same numbers as PI_REPACK_*.
enum class Repack : uint32_t { automatic = 0, always = 1, never = 2 };

struct WeightOptions {
    Repack repack = Repack::automatic;
    bool prefetch = false; // reads a mapped file in; a copy is read in anyway
    bool lock = false;     // implies prefetch
};

// A q4_0 matrix of the copy that is to be stored by columns (columns.h).
struct ColumnMatrix {
    const std::byte* data;
    int rows;
    int cols;

    size_t n_row_bytes() const noexcept { return row_bytes(DType::q4_0, cols); }
    size_t n_bytes() const noexcept { return n_row_bytes() * static_cast<size_t>(rows); }
};

// Matrices of the same shape that follow each other in the file, to be stored with their first rows
// side by side, then the second rows, and so on.
struct RowBundle {
    const std::byte* data;
    int n_matrices;
    int rows; // of each
    size_t n_row_bytes;

    size_t n_matrix_bytes() const noexcept { return n_row_bytes * static_cast<size_t>(rows); }
    size_t n_bytes() const noexcept { return n_matrix_bytes() * static_cast<size_t>(n_matrices); }
};

// What a copy orders otherwise than the file; parts do not overlap.
struct Layout {
    std::vector<ColumnMatrix> by_columns;
    std::vector<RowBundle> bundles;
};

// Bytes made ready so far and in all; false stops.
using LoadProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Immutable once make_resident() has returned. Each has its own copy: share the model instead.
class Weights {
public:
    // Decides, and takes the memory for a copy, still empty. Repack::always throws
    // Error(out_of_memory) when there is too little; a container that is in memory already is not
    // copied even so.
    Weights(std::shared_ptr<const GgufFile> file, const WeightOptions& options);
    ~Weights();
    Weights(const Weights&) = delete;
    Weights& operator=(const Weights&) = delete;

    // Makes the bytes ready as the options say, on as many threads as there are cores; `layout` is
    // empty where nothing is copied. `progress` is called on this thread. Throws Error(cancelled),
    // Error(io) when the file became shorter, or Error(out_of_memory) when the memory cannot be
    // locked.
    void make_resident(const Layout& layout, const LoadProgress& progress, const Log& log);

    const GgufFile& file() const noexcept { return *file_; }
    // Of a tensor of the file; the bytes are there after make_resident().
    const std::byte* data(const TensorInfo& tensor) const noexcept { return base_ + tensor.offset; }

    uint64_t copied_bytes() const noexcept { return copied_bytes_; } // 0: mapped
    uint64_t copy_ns() const noexcept { return copy_ns_; }
    // Why the weights stay where they are; empty when they are copied.
    const std::string& reason() const noexcept { return reason_; }

private:
    void allocate_copy();
    // A part of the copy that one thread writes.
    struct Job {
        size_t n_bytes;
        std::function<void()> run;
    };
    std::vector<Job> copy_jobs(const Layout& layout);
    void add_plain(std::vector<Job>& jobs, const std::byte* begin, const std::byte* end);
    void add_strips(std::vector<Job>& jobs, const ColumnMatrix& matrix);
    void add_strips(std::vector<Job>& jobs, const RowBundle& bundle);
    // Bytes of the file that belong at `data` of the copy, and where they are written.
    void read(const std::byte* data, std::span<std::byte> out) const;
    std::byte* place(const std::byte* data) noexcept {
        return copy_.data() + (data - copy_.data());
    }
    void fill_copy(const Layout& layout, const LoadProgress& progress);
    void lock();
    std::span<const std::byte> copied() const noexcept {
        return copy_.bytes().subspan(lead_ + static_cast<size_t>(file_->data_offset()));
    }

    std::shared_ptr<const GgufFile> file_;
    WeightOptions options_;
    std::string reason_;
    Buffer copy_;     // as long as the file, so that offsets stay; its header is never touched
    size_t lead_ = 0; // bytes of the copy before the file's first: its data begins at a cache line
    const std::byte* base_;
    uint64_t copied_bytes_ = 0;
    uint64_t copy_ns_ = 0;
    bool is_locked_ = false; // the copy
};

// Why Repack::automatic leaves `n_bytes` of tensor data mapped; empty where a copy pays.
std::string reason_to_stay_mapped(uint64_t n_bytes, const SystemMemory& memory);

} // namespace powerinfer
