// The container reader on damaged files: every truncation, and 100,000 random mutations of the
// header, parse or throw Error. Meant to run under the address and undefined-behaviour sanitizers.
#include "check.h"
#include "gguf.h"
#include "gguf_walk.h"
#include "gguf_writer.h"
#include "mutate.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

using namespace powerinfer;
using test::Bytes;
using test::GgufWriter;
using test::Outcome;
using test::Random;
using test::Seed;

namespace {

size_t n_allocated = 0; // bytes asked of operator new so far

} // namespace

// Counts, so that a test can bound what a claimed count makes the parser allocate. Allocations with
// an alignment (the copy of the file) are not counted. Not inlined, or gcc sees malloc meet delete.
[[gnu::noinline]] void* operator new(size_t n_bytes) {
    n_allocated += n_bytes;
    void* memory = std::malloc(std::max(n_bytes, size_t{1}));
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

namespace {

constexpr int kMutations = 100'000;

// Cumulative, so including what growing vectors have given back: measured 13 for pairs of the
// smallest kind.
constexpr size_t kMaxAllocatedPerByte = 24;
constexpr size_t kMaxAllocatedBase = 16384; // messages

Outcome outcome_of(const Bytes& bytes) {
    const size_t before = n_allocated;
    const size_t allowed = kMaxAllocatedBase + kMaxAllocatedPerByte * bytes.size();
    try {
        const GgufFile file = GgufFile::from_bytes(bytes);
        const bool is_frugal = n_allocated - before <= allowed;
        const bool is_sound = is_frugal && test::walk(file).is_consistent;
        return is_sound ? Outcome::accepted : Outcome::broken;
    } catch (const Error& error) {
        const bool is_frugal = n_allocated - before <= allowed;
        const bool is_input_error =
            error.kind() == ErrorKind::format || error.kind() == ErrorKind::unsupported;
        return is_frugal && is_input_error ? Outcome::refused : Outcome::broken;
    } // any other exception fails the case
}

void check_truncations(GgufWriter writer) {
    const Bytes whole = writer.build();
    const size_t needed = std::max(writer.last_byte(), writer.header_bytes());
    for (size_t n = 0; n < whole.size(); n++) {
        const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
        const Outcome wanted = n < needed ? Outcome::refused : Outcome::accepted;
        CHECK_MSG(outcome_of(part) == wanted, "%zu of %zu bytes", n, whole.size());
    }
    CHECK(outcome_of(whole) == Outcome::accepted);
}

// Only padding behind the last byte of the last tensor may be absent.
void truncated_files_are_refused() {
    check_truncations(test::model_writer());
    check_truncations(test::vocab_writer());
}

void truncation_says_what_is_missing() {
    GgufWriter writer = test::model_writer();
    Bytes bytes = writer.build();
    const std::string n_bytes = std::to_string(writer.last_byte() - 1);
    bytes.resize(writer.last_byte() - 1);
    CHECK_ERROR(
        format,
        "tensor 'blk.0.fc1.weight' needs 18 bytes at offset " +
            std::to_string(writer.last_byte() - 18) + ", but the file ends after " + n_bytes +
            " bytes: the download is probably incomplete",
        GgufFile::from_bytes(bytes)
    );
    bytes.resize(writer.header_bytes() - 1);
    CHECK_ERROR(format, "the offset of 'blk.0.fc1.weight' needs 8 ", GgufFile::from_bytes(bytes));
}

void mutated_headers_parse_or_are_refused() {
    const std::array<Seed, 3> seeds = {
        test::seed_of(test::model_writer()),
        test::seed_of(test::vocab_writer()),
        test::seed_of(test::gpu_index_writer())
    };
    const test::Tally tally = test::mutate(Random(2), seeds, kMutations, outcome_of);
    CHECK(tally.n_accepted > kMutations / 100);
    CHECK(tally.n_refused > kMutations / 100);
}

// The densest headers there are: pairs and infos of the smallest size.
void memory_is_a_small_multiple_of_the_file() {
    GgufWriter pairs;
    GgufWriter strings;
    GgufWriter tensors;
    for (int i = 0; i < 20000; i++) {
        pairs.add(std::to_string(i), MetaType::u8, uint8_t{1});
        tensors.add_tensor(std::to_string(i), DType::f32, {0});
    }
    strings.add_strings("x", std::vector<std::string>(100'000));
    for (GgufWriter* writer : {&pairs, &strings, &tensors}) {
        const Bytes bytes = writer->build();
        const size_t before = n_allocated;
        const GgufFile file = GgufFile::from_bytes(bytes);
        const size_t n = n_allocated - before;
        CHECK(file.metadata().size() + file.tensors().size() > 0);
        CHECK_MSG(n <= kMaxAllocatedPerByte * bytes.size(), "%zu for %zu bytes", n, bytes.size());
        std::printf(
            "       %.1f bytes allocated for a byte of the file\n",
            static_cast<double>(n) / static_cast<double>(bytes.size())
        );
    }
}

} // namespace

int main() {
    CHECK_RUN(truncated_files_are_refused);
    CHECK_RUN(truncation_says_what_is_missing);
    CHECK_RUN(mutated_headers_parse_or_are_refused);
    CHECK_RUN(memory_is_a_small_multiple_of_the_file);
    return check::finish();
}
