// Rows that change places: every length of a row, lists of different lengths in one call, and
// nothing written beside them.
#include "check.h"
#include "cuda/kernels.h"
#include "test_device.h"
#include "twin.h"

#include <algorithm>
#include <numeric>
#include <vector>

using namespace powerinfer;

namespace {

std::vector<uint8_t> random_bytes(twin::Random& random, size_t n) {
    std::vector<uint8_t> bytes(n);
    for (uint8_t& byte : bytes) {
        byte = static_cast<uint8_t>(random.below(256));
    }
    return bytes;
}

// One list of rows, and what must come of it.
struct Case {
    Case(twin::Random& random, size_t row_bytes, int n, int n_targets)
        : to(device::copy(random_bytes(random, row_bytes * static_cast<size_t>(n_targets)))),
          from(device::copy(random_bytes(random, row_bytes * static_cast<size_t>(n)))),
          wanted(to.begin(), to.end()) {
        std::vector<int32_t> order(static_cast<size_t>(n_targets));
        std::iota(order.begin(), order.end(), 0);
        for (size_t i = order.size(); i > 1; --i) {
            std::swap(order[i - 1], order[static_cast<size_t>(random.below(static_cast<int>(i)))]);
        }
        order.resize(static_cast<size_t>(n));
        rows = device::copy(order);
        for (size_t i = 0; i < order.size(); ++i) {
            std::copy_n(
                from.data() + i * row_bytes,
                row_bytes,
                wanted.data() + static_cast<size_t>(order[i]) * row_bytes
            );
        }
        op = {to.data(), from.data(), rows.data(), n, row_bytes};
    }

    bool is_right() const { return std::equal(to.begin(), to.end(), wanted.begin()); }

    device::vector<uint8_t> to;
    device::vector<uint8_t> from;
    device::vector<int32_t> rows;
    std::vector<uint8_t> wanted;
    cuda::RowScatter op;
};

void rows_of_every_length_go_to_their_places() {
    device::in_all_orders([] {
        twin::Random random(1);
        for (const size_t row_bytes : {2, 4, 6, 16, 18, 20, 48, 254, 1280, 2304, 4098}) {
            for (const int n : {1, 2, 33}) {
                Case one(random, row_bytes, n, n + random.below(20));
                cuda::scatter_rows(nullptr, std::span(&one.op, 1));
                device::wait();
                CHECK_MSG(one.is_right(), "%d rows of %zu bytes", n, row_bytes);
            }
        }
    });
}

void lists_of_different_lengths_go_together() {
    device::in_all_orders([] {
        twin::Random random(2);
        std::vector<Case> cases;
        for (int i = 0; i < cuda::kMaxScatters; ++i) {
            const size_t row_bytes = 2 * static_cast<size_t>(1 + random.below(60));
            cases.emplace_back(random, row_bytes, i == 3 ? 0 : 1 + random.below(40), 50);
        }
        std::vector<cuda::RowScatter> ops;
        for (const Case& one : cases) {
            ops.push_back(one.op);
        }
        cuda::scatter_rows(nullptr, ops);
        device::wait();
        for (size_t i = 0; i < cases.size(); ++i) {
            CHECK_MSG(cases[i].is_right(), "list %zu", i);
        }
    });
}

void what_cannot_be_copied_is_refused() {
    cuda::scatter_rows(nullptr, {});
    twin::Random random(3);
    Case one(random, 8, 2, 4);
    const std::vector<cuda::RowScatter> too_many(cuda::kMaxScatters + 1, one.op);
    CHECK_ERROR(internal, "lists of rows", cuda::scatter_rows(nullptr, too_many));
    one.op.row_bytes = 7;
    CHECK_ERROR(internal, "7 bytes", cuda::scatter_rows(nullptr, std::span(&one.op, 1)));
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(rows_of_every_length_go_to_their_places);
    CHECK_RUN(lists_of_different_lengths_go_together);
    CHECK_RUN(what_cannot_be_copied_is_refused);
    return check::finish();
}
