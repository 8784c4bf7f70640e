// Damages the header of a container: flipped bytes, extreme 64-bit fields, spliced chunks.
#pragma once

#include "check.h"
#include "gguf_writer.h"

#include <algorithm>
#include <array>

namespace test {

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

inline void flip(Random& random, Bytes& bytes, size_t header_bytes) {
    const size_t n = 1 + random.below(8);
    for (size_t i = 0; i < n; i++) {
        std::byte& byte = bytes[random.below(std::min(header_bytes, bytes.size()))];
        byte ^= static_cast<std::byte>(1 + random.below(255));
    }
}

inline void set_extreme(Random& random, Bytes& bytes, const std::vector<size_t>& fields) {
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
inline void splice(Random& random, Bytes& bytes, size_t header_bytes) {
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

inline Seed seed_of(GgufWriter writer) {
    Seed seed;
    seed.bytes = writer.build();
    seed.u64_fields = writer.u64_fields();
    seed.header_bytes = writer.header_bytes();
    return seed;
}

inline Bytes mutant(Random& random, const Seed& seed) {
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

enum class Outcome { accepted, refused, broken };

struct Tally {
    int n_accepted = 0;
    int n_refused = 0;
};

// Outcomes of n mutants of the seeds in turn; a broken one fails the case.
template <typename Seeds, typename OutcomeOf>
Tally mutate(Random random, const Seeds& seeds, int n, OutcomeOf&& outcome_of) {
    Tally tally;
    for (int i = 0; i < n; i++) {
        const Outcome outcome =
            outcome_of(mutant(random, seeds[static_cast<size_t>(i) % seeds.size()]));
        CHECK_MSG(outcome != Outcome::broken, "mutation %d", i);
        tally.n_accepted += outcome == Outcome::accepted ? 1 : 0;
        tally.n_refused += outcome == Outcome::refused ? 1 : 0;
    }
    std::printf("       %d accepted, %d refused\n", tally.n_accepted, tally.n_refused);
    return tally;
}

} // namespace test
