// The container reader on damaged files: every truncation, and 100,000 random mutations of the
// header, parse or throw Error. Meant to run under the address and undefined-behaviour sanitizers.
#include "check.h"
#include "gguf.h"
#include "gguf_walk.h"
#include "gguf_writer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

using namespace powerinfer;
using test::Bytes;
using test::GgufWriter;

namespace {

size_t n_allocated = 0; // bytes asked of operator new so far

} // namespace

// Counts, so that a test can bound what a claimed count makes the parser allocate. Allocations with
// an alignment (the copy of the file) are not counted.
void* operator new(size_t n_bytes) {
    n_allocated += n_bytes;
    void* memory = std::malloc(std::max(n_bytes, size_t{1}));
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

namespace {

constexpr int kMutations = 100'000;

// Cumulative, so including what growing vectors have given back: measured 13 for pairs of the
// smallest kind.
constexpr size_t kMaxAllocatedPerByte = 24;
constexpr size_t kMaxAllocatedBase = 16384; // messages

// splitmix64
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        state_ += 0x9e3779b97f4a7c15;
        uint64_t x = state_;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    }
    size_t below(size_t n) { return static_cast<size_t>(next() % n); }

private:
    uint64_t state_;
};

enum class Outcome { parsed, refused, broken };

Outcome outcome_of(const Bytes& bytes) {
    const size_t before = n_allocated;
    const size_t allowed = kMaxAllocatedBase + kMaxAllocatedPerByte * bytes.size();
    try {
        const GgufFile file = GgufFile::from_bytes(bytes);
        const bool is_frugal = n_allocated - before <= allowed;
        const bool is_sound = is_frugal && test::walk(file).is_consistent;
        return is_sound ? Outcome::parsed : Outcome::broken;
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
        const Outcome wanted = n < needed ? Outcome::refused : Outcome::parsed;
        CHECK_MSG(outcome_of(part) == wanted, "%zu of %zu bytes", n, whole.size());
    }
    CHECK(outcome_of(whole) == Outcome::parsed);
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

void flip(Random& random, Bytes& bytes, size_t header_bytes) {
    const size_t n = 1 + random.below(8);
    for (size_t i = 0; i < n; i++) {
        std::byte& byte = bytes[random.below(std::min(header_bytes, bytes.size()))];
        byte ^= static_cast<std::byte>(1 + random.below(255));
    }
}

void set_extreme(Random& random, Bytes& bytes, const std::vector<size_t>& fields) {
    const uint64_t size = bytes.size();
    const std::array<uint64_t, 16> extremes = {
        0,
        1,
        size - 1,
        size,
        size + 1,
        size / 8,
        uint64_t{1} << 31,
        (uint64_t{1} << 32) - 1,
        uint64_t{1} << 32,
        (uint64_t{1} << 61) + 1,
        (uint64_t{1} << 63) - 1,
        uint64_t{1} << 63,
        (uint64_t{1} << 63) + 1,
        ~uint64_t{31},
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    const size_t at = fields[random.below(fields.size())];
    uint64_t value = extremes[random.below(extremes.size())];
    if (random.below(3) == 0) {
        std::memcpy(&value, bytes.data() + at, sizeof value);
        value += random.below(33) - 16; // slightly wrong
    }
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Copies a chunk over, into or out of the header.
void splice(Random& random, Bytes& bytes, size_t header_bytes) {
    const size_t limit = std::min(header_bytes, bytes.size());
    const size_t from = random.below(limit);
    const size_t n = 1 + random.below(std::min<size_t>(64, limit - from));
    const size_t to = random.below(limit);
    const Bytes chunk(bytes.data() + from, bytes.data() + from + n);
    const size_t n_after = std::min(n, bytes.size() - to);
    switch (random.below(3)) {
    case 0:
        std::copy_n(chunk.begin(), n_after, bytes.begin() + static_cast<ptrdiff_t>(to));
        break;
    case 1:
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(to), chunk.begin(), chunk.end());
        break;
    default:
        bytes.erase(
            bytes.begin() + static_cast<ptrdiff_t>(to),
            bytes.begin() + static_cast<ptrdiff_t>(to + n_after)
        );
        break;
    }
}

struct Seed {
    Bytes bytes;
    std::vector<size_t> u64_fields;
    size_t header_bytes;
};

Seed seed_of(GgufWriter writer) {
    Seed seed;
    seed.bytes = writer.build();
    seed.u64_fields = writer.u64_fields();
    seed.header_bytes = writer.header_bytes();
    return seed;
}

Bytes mutant(Random& random, const Seed& seed) {
    Bytes bytes = seed.bytes;
    const size_t kind = random.below(8);
    if (kind < 3) {
        flip(random, bytes, seed.header_bytes);
    } else if (kind < 5) {
        set_extreme(random, bytes, seed.u64_fields);
    } else if (kind < 7) {
        splice(random, bytes, seed.header_bytes);
    } else {
        set_extreme(random, bytes, seed.u64_fields);
        splice(random, bytes, seed.header_bytes);
        if (!bytes.empty()) {
            flip(random, bytes, seed.header_bytes);
        }
    }
    return bytes;
}

void mutated_headers_parse_or_are_refused() {
    const std::array<Seed, 3> seeds = {
        seed_of(test::model_writer()),
        seed_of(test::vocab_writer()),
        seed_of(test::gpu_index_writer())
    };
    Random random(2);
    int n_parsed = 0;
    int n_refused = 0;
    for (int i = 0; i < kMutations; i++) {
        switch (outcome_of(mutant(random, seeds[static_cast<size_t>(i) % seeds.size()]))) {
        case Outcome::parsed:
            n_parsed += 1;
            break;
        case Outcome::refused:
            n_refused += 1;
            break;
        case Outcome::broken:
            CHECK_MSG(false, "mutation %d", i);
            break;
        }
    }
    std::printf("       %d parsed, %d refused\n", n_parsed, n_refused);
    CHECK(n_parsed > kMutations / 100);
    CHECK(n_refused > kMutations / 100);
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
