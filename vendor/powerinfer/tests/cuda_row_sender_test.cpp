// Rows that were sent to the device are those of the file, split: by any number of threads, through
// buffers that are filled again and again.
#include "check.h"
#include "cuda/row_sender.h"
#include "cuda/weights.h"
#include "mutate.h"
#include "test_device.h"

#include <algorithm>
#include <vector>

using namespace powerinfer;
using namespace powerinfer::cuda;
using test::Random;

namespace {

constexpr int kRows = 301;
constexpr int kCols = 256;

std::vector<std::byte> noise(size_t n, Random& random) {
    std::vector<std::byte> bytes(n);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(random.below(256));
    }
    return bytes;
}

// Every third row from the end, so that lists have an order of their own.
std::vector<int32_t> some_rows() {
    std::vector<int32_t> ids;
    for (int32_t id = kRows - 1; id >= 0; id -= 3) {
        ids.push_back(id);
    }
    return ids;
}

struct Split {
    std::vector<std::byte> body;
    std::vector<std::byte> scales;

    Split(DType type, int n)
        : body(body_bytes(type, n, kCols)), scales(scales_bytes(type, n, kCols)) {}
};

std::vector<std::byte> from_device(const std::byte* memory, size_t n) {
    const OwnedStream stream;
    std::vector<std::byte> bytes(n);
    copy_to_host(stream, bytes.data(), memory, n);
    stream.wait();
    return bytes;
}

// A matrix, and a vector between its two halves.
void check_sent(DType type, size_t n_buffer, int n_threads, bool is_listed) {
    Random random(7);
    const size_t row = row_bytes(type, kCols);
    const std::vector<std::byte> data = noise(kRows * row, random);
    const std::vector<std::byte> other = noise(3 * n_buffer + 5, random);
    const Matrix w{data.data(), type, kRows, kCols};
    const std::vector<int32_t> listed = some_rows();
    const int n = is_listed ? static_cast<int>(listed.size()) : kRows;
    const int32_t* ids = is_listed ? listed.data() : nullptr;
    Split wanted(type, n);
    split_rows(wanted.body.data(), wanted.scales.data(), type, w.part(ids, 0, n), kCols);

    const DeviceMemory body(wanted.body.size());
    const DeviceMemory scales(wanted.scales.size());
    const DeviceMemory vector(other.size());
    DeviceMatrix target;
    target.body = reinterpret_cast<uint8_t*>(body.data());
    target.scales = reinterpret_cast<uint8_t*>(scales.data());
    ThreadPool pool(n_threads);
    RowSender sender(pool, n_buffer);
    const int half = n / 2;
    DeviceMatrix rest = target;
    rest.body += body_bytes(type, half, kCols);
    rest.scales += scales_bytes(type, half, kCols);
    sender.send(target, w, ids, half);
    sender.send(vector.data(), other.data(), other.size());
    if (is_listed) {
        sender.send(rest, w, ids + half, n - half);
    } else {
        sender.send(rest, w.range(half, n - half), nullptr, n - half);
    }
    CHECK_EQ(sender.n_sent(), wanted.body.size() + wanted.scales.size() + other.size());
    sender.wait();
    const char* name = dtype_info(type).name;
    CHECK_MSG(
        from_device(body.data(), wanted.body.size()) == wanted.body &&
            from_device(scales.data(), wanted.scales.size()) == wanted.scales,
        "%s, buffers of %zu bytes, %d threads, listed %d",
        name,
        n_buffer,
        n_threads,
        is_listed
    );
    CHECK_MSG(from_device(vector.data(), other.size()) == other, "%s, %zu", name, n_buffer);
}

void rows_arrive_through_buffers_of_any_size() {
    for (const DType type : {DType::f32, DType::f16, DType::q4_0, DType::q5_0, DType::q6_k}) {
        const size_t row = row_bytes(type, kCols);
        for (const size_t n_buffer : {row, 3 * row + 1, 40 * row, 1000 * row}) {
            for (const int n_threads : {1, 3}) {
                check_sent(type, n_buffer, n_threads, false);
                check_sent(type, n_buffer, n_threads, true);
            }
        }
    }
}

// Enough for each thread to have pieces of its own.
void large_rows_are_split_by_all_threads() {
    constexpr int kWide = 1 << 16;
    Random random(8);
    const std::vector<std::byte> data = noise(16 * row_bytes(DType::q8_0, kWide), random);
    const Matrix w{data.data(), DType::q8_0, 16, kWide};
    std::vector<std::byte> wanted_body(body_bytes(w.type, w.rows, kWide));
    std::vector<std::byte> wanted_scales(scales_bytes(w.type, w.rows, kWide));
    split_rows(wanted_body.data(), wanted_scales.data(), w.type, w.slice(0, w.rows), kWide);
    const DeviceMemory body(wanted_body.size());
    const DeviceMemory scales(wanted_scales.size());
    DeviceMatrix target;
    target.body = reinterpret_cast<uint8_t*>(body.data());
    target.scales = reinterpret_cast<uint8_t*>(scales.data());
    ThreadPool pool(4);
    RowSender sender(pool, 5 * w.n_row_bytes());
    sender.send(target, w, nullptr, w.rows);
    sender.wait();
    CHECK(from_device(body.data(), wanted_body.size()) == wanted_body);
    CHECK(from_device(scales.data(), wanted_scales.size()) == wanted_scales);
}

void a_row_that_fits_no_buffer_is_refused() {
    const std::vector<std::byte> data(row_bytes(DType::f32, kCols));
    const Matrix w{data.data(), DType::f32, 1, kCols};
    ThreadPool pool(1);
    RowSender sender(pool, data.size() - 1);
    CHECK_ERROR(unsupported, "too long", sender.send(DeviceMatrix{}, w, nullptr, 1));
}

// Work that is left in the stream when an error ends a load.
void a_sender_may_go_before_its_copies() {
    Random random(9);
    const std::vector<std::byte> data = noise(4096, random);
    const DeviceMemory memory(data.size());
    ThreadPool pool(1);
    {
        RowSender sender(pool, data.size());
        sender.send(memory.data(), data.data(), data.size());
    }
    CHECK(from_device(memory.data(), data.size()) == data);
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(rows_arrive_through_buffers_of_any_size);
    CHECK_RUN(large_rows_are_split_by_all_threads);
    CHECK_RUN(a_row_that_fits_no_buffer_is_refused);
    CHECK_RUN(a_sender_may_go_before_its_copies);
    return check::finish();
}
