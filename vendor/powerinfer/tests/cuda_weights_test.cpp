// Rows as a device has them hold every byte of the file's rows.
#include "check.h"
#include "cuda_cases.h"

namespace {

using namespace op_cases;
using cuda_cases::Weights;
using powerinfer::cuda::block_split;
using powerinfer::cuda::BlockSplit;

// The file's bytes of n_blocks blocks, put together again.
std::vector<uint8_t> join(const Weights& w, DType type, size_t n_blocks) {
    const BlockSplit split = block_split(type);
    std::vector<uint8_t> bytes;
    const uint8_t* body = w.body().data();
    const uint8_t* scales = w.scales().data();
    for (size_t b = 0; b < n_blocks; ++b) {
        const uint8_t* middle = body + split.scale_begin;
        bytes.insert(bytes.end(), body, middle);
        bytes.insert(bytes.end(), scales, scales + split.scale_bytes);
        bytes.insert(bytes.end(), middle, body + split.body_bytes);
        body += split.body_bytes;
        scales += split.scale_bytes;
    }
    return bytes;
}

Matrix noise(DType type, int n_rows, int dim, Random& random) {
    Matrix m = {type, n_rows, dim, {}};
    m.bytes.resize(m.stride() * static_cast<size_t>(n_rows));
    for (uint8_t& byte : m.bytes) {
        byte = static_cast<uint8_t>(random.bits());
    }
    return m;
}

void a_block_has_the_length_of_the_file_and_words_at_multiples_of_16() {
    for (const DType type : powerinfer::kWeightTypes) {
        const BlockSplit split = block_split(type);
        const DTypeInfo& info = powerinfer::dtype_info(type);
        CHECK_EQ(split.elements, info.block_elements);
        CHECK_EQ(split.body_bytes + split.scale_bytes, info.block_bytes);
        CHECK_MSG(!info.is_quantized || split.body_bytes % 16 == 0, "%s", info.name);
    }
}

void split_rows_join_to_the_bytes_of_the_file() {
    Random random(1);
    for (const DType type : powerinfer::kWeightTypes) {
        for (const int dim : sizes_of(type)) {
            const Matrix m = noise(type, 5, dim, random);
            const size_t n_blocks =
                m.bytes.size() / static_cast<size_t>(powerinfer::dtype_info(type).block_bytes);
            CHECK_MSG(
                join(Weights(m), type, n_blocks) == m.bytes,
                "%s, dim %d",
                powerinfer::dtype_info(type).name,
                dim
            );
        }
    }
}

// Rows with a distance of more than their length, some of which are listed.
void listed_and_strided_rows_are_found() {
    Random random(2);
    constexpr size_t kGap = 7;
    const std::vector<int32_t> ids = {0, 2, 3, 8};
    for (const DType type : powerinfer::kWeightTypes) {
        const int dim = sizes_of(type).back();
        const Matrix m = noise(type, 9, dim, random);
        std::vector<uint8_t> apart;
        std::vector<uint8_t> listed;
        for (int i = 0; i < m.n_rows; ++i) {
            apart.insert(apart.end(), m.row(i), m.row(i) + m.stride());
            apart.insert(apart.end(), i + 1 < m.n_rows ? kGap : 0, 0xa5);
        }
        for (const int32_t i : ids) {
            listed.insert(listed.end(), m.row(i), m.row(i) + m.stride());
        }
        const auto* data = reinterpret_cast<const std::byte*>(apart.data());
        const size_t stride = m.stride() + kGap;
        const auto block = static_cast<size_t>(powerinfer::dtype_info(type).block_bytes);
        const Weights all(m, {data, stride, nullptr, m.n_rows});
        const Weights some(m, {data, stride, ids.data(), static_cast<int>(ids.size())});
        CHECK_MSG(
            join(all, type, m.bytes.size() / block) == m.bytes,
            "%s",
            powerinfer::dtype_info(type).name
        );
        CHECK_MSG(
            join(some, type, listed.size() / block) == listed,
            "%s",
            powerinfer::dtype_info(type).name
        );
    }
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(a_block_has_the_length_of_the_file_and_words_at_multiples_of_16);
    CHECK_RUN(split_rows_join_to_the_bytes_of_the_file);
    CHECK_RUN(listed_and_strided_rows_are_found);
    return check::finish();
}
