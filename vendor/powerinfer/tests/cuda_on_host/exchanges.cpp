// What the lanes of a warp exchange: shuffles, votes, products on tensor cores.
#include "block.h"

namespace emu {

uint64_t shuffle(uint32_t mask, uint64_t value, int source) {
    Exchange own = {};
    own.mask = mask;
    own.value = value;
    own.source = source;
    own.resolve = [](Exchange* const* lanes) -> const char* {
        uint64_t taken[32] = {};
        for (int i = 0; i < 32; ++i) {
            if (lanes[i] == nullptr) {
                continue;
            }
            const Exchange* from = lanes[lanes[i]->source];
            if (from == nullptr) {
                return "shuffle reads a lane outside the mask";
            }
            taken[i] = from->value;
        }
        for (int i = 0; i < 32; ++i) {
            if (lanes[i] != nullptr) {
                lanes[i]->value = taken[i];
            }
        }
        return nullptr;
    };
    wait_for_lanes(own);
    return own.value;
}

namespace {

const char* resolve_ballot(Exchange* const* lanes) {
    uint64_t bits = 0;
    for (int i = 0; i < 32; ++i) {
        if (lanes[i] != nullptr && lanes[i]->value != 0) {
            bits |= uint64_t{1} << i;
        }
    }
    for (int i = 0; i < 32; ++i) {
        if (lanes[i] != nullptr) {
            lanes[i]->value = bits;
        }
    }
    return nullptr;
}

const char* resolve_nothing(Exchange* const*) {
    return nullptr;
}

} // namespace

uint32_t ballot(uint32_t mask, bool predicate) {
    Exchange own = {};
    own.mask = mask;
    own.value = predicate ? 1 : 0;
    own.resolve = resolve_ballot;
    wait_for_lanes(own);
    return static_cast<uint32_t>(own.value);
}

namespace {

struct Operands {
    int* c;
    const uint32_t* a;
    const uint32_t* b;
    int n_steps;
};

int byte_of(uint32_t word, int i) {
    return static_cast<int8_t>(word >> (8 * i));
}

const char* resolve_multiply_add(Exchange* const* lanes) {
    const auto operands = [&](int lane) {
        return *reinterpret_cast<const Operands*>(lanes[lane]->value);
    };
    const int n_steps = operands(0).n_steps;
    for (int lane = 0; lane < 32; ++lane) {
        const Operands own = operands(lane);
        if (own.n_steps != n_steps) {
            return "mma: lanes of one warp multiply matrices of different sizes";
        }
        for (int k = 0; k < 4; ++k) {
            const int column = 2 * (lane % 4) + k % 2;
            unsigned sum = 0; // wraps around, as mma without .satfinite
            for (int term = 0; term < 16 * n_steps; ++term) {
                const int quad = term / 4 % 4; // lane of its row's or column's four
                const uint32_t a = operands(lane / 4 * 4 + quad).a[2 * (term / 16) + k / 2];
                const uint32_t b = operands(column * 4 + quad).b[term / 16];
                sum += static_cast<unsigned>(byte_of(a, term % 4) * byte_of(b, term % 4));
            }
            own.c[k] = static_cast<int>(static_cast<unsigned>(own.c[k]) + sum);
        }
    }
    return nullptr;
}

} // namespace

void multiply_add(int* c, const uint32_t* a, const uint32_t* b, int n_steps) {
    const Operands operands = {c, a, b, n_steps};
    Exchange own = {};
    own.mask = ~0U;
    own.value = reinterpret_cast<uintptr_t>(&operands);
    own.resolve = resolve_multiply_add;
    wait_for_lanes(own);
}

void wait_for_warp(uint32_t mask) {
    Exchange own = {};
    own.mask = mask;
    own.orders_memory = true;
    own.resolve = resolve_nothing;
    wait_for_lanes(own);
}

} // namespace emu
