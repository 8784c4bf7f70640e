#include "gguf_tensors.h"

#include "error.h"
#include "text.h"

#include <algorithm>
#include <cinttypes>
#include <string>

namespace powerinfer {

namespace {

constexpr size_t kMaxTensorName = 63;
constexpr int kMaxDims = 4;
// Sizes and element counts stay below 2^63, so that they fit int64_t everywhere.
constexpr uint64_t kMaxSize = INT64_MAX;

void read_shape(Cursor& in, TensorInfo& tensor) {
    const uint32_t n_dims = in.number<uint32_t>({"the number of dimensions", tensor.name});
    PI_CHECK(
        n_dims >= 1 && n_dims <= kMaxDims,
        format,
        "tensor %s has %" PRIu32 " dimensions, want 1 to %d",
        quoted(tensor.name).c_str(),
        n_dims,
        kMaxDims
    );
    tensor.n_dims = static_cast<int>(n_dims);
    tensor.ne.fill(1);
    // Without the zeros, so that no order of multiplication can overflow.
    uint64_t product = 1;
    for (uint32_t d = 0; d < n_dims; d++) {
        tensor.ne[d] = in.number<uint64_t>({"the shape", tensor.name});
        const uint64_t factor = std::max(tensor.ne[d], uint64_t{1});
        PI_CHECK(
            factor <= kMaxSize / product,
            format,
            "tensor %s has 2^63 elements or more",
            quoted(tensor.name).c_str()
        );
        product *= factor;
    }
}

void read_type(Cursor& in, TensorInfo& tensor) {
    const uint32_t id = in.number<uint32_t>({"the element type", tensor.name});
    const DTypeInfo* info = dtype_info(id);
    PI_CHECK(
        info != nullptr,
        unsupported,
        "tensor %s has element type %" PRIu32
        ", which this build does not know; damaged, or made by a newer converter",
        quoted(tensor.name).c_str(),
        id
    );
    tensor.type = static_cast<DType>(id);
    const auto block_elements = static_cast<uint64_t>(info->block_elements);
    const auto block_bytes = static_cast<uint64_t>(info->block_bytes);
    const auto& ne = tensor.ne;
    PI_CHECK(
        ne[0] % block_elements == 0,
        format,
        "tensor %s has rows of %" PRIu64 " elements, want a multiple of %" PRIu64
        ", the block of type %s",
        quoted(tensor.name).c_str(),
        ne[0],
        block_elements,
        info->name
    );
    const uint64_t n_blocks = ne[0] / block_elements * ne[1] * ne[2] * ne[3];
    PI_CHECK(
        n_blocks <= kMaxSize / block_bytes,
        format,
        "tensor %s has 2^63 bytes or more",
        quoted(tensor.name).c_str()
    );
    tensor.n_bytes = n_blocks * block_bytes;
}

// Checks the offset and makes it absolute.
void place(const TensorArea& area, TensorInfo& tensor) {
    const std::string name = quoted(tensor.name);
    PI_CHECK(
        tensor.offset % area.alignment == 0,
        format,
        "tensor %s has offset %" PRIu64 ", want a multiple of the alignment %" PRIu32,
        name.c_str(),
        tensor.offset,
        area.alignment
    );
    PI_CHECK(
        tensor.offset <= kMaxSize - area.begin,
        format,
        "tensor %s has offset %" PRIu64 ", which no file can have",
        name.c_str(),
        tensor.offset
    );
    tensor.offset += area.begin;
    // A tensor without bytes may stand behind the padding that a file need not have at its end.
    const uint64_t begin =
        tensor.n_bytes == 0 ? tensor.offset - (area.alignment - 1) : tensor.offset;
    PI_CHECK(
        begin <= area.file.size() && tensor.n_bytes <= area.file.size() - begin,
        format,
        "tensor %s needs %" PRIu64 " bytes at offset %" PRIu64
        ", but the file ends after %zu bytes: the download is probably incomplete",
        name.c_str(),
        tensor.n_bytes,
        tensor.offset,
        area.file.size()
    );
    tensor.data = area.file.data() + std::min<uint64_t>(tensor.offset, area.file.size());
}

void check_overlap(const std::vector<TensorInfo>& tensors) {
    std::vector<const TensorInfo*> order;
    for (const TensorInfo& tensor : tensors) {
        if (tensor.n_bytes > 0) {
            order.push_back(&tensor);
        }
    }
    std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
        return a->offset < b->offset;
    });
    for (size_t i = 1; i < order.size(); i++) {
        const TensorInfo& before = *order[i - 1];
        PI_CHECK(
            order[i]->offset >= before.offset + before.n_bytes,
            format,
            "tensor %s at offset %" PRIu64 " overlaps tensor %s, which ends at %" PRIu64,
            quoted(order[i]->name).c_str(),
            order[i]->offset,
            quoted(before.name).c_str(),
            before.offset + before.n_bytes
        );
    }
}

} // namespace

TensorInfo read_tensor_info(Cursor& in, uint64_t index) {
    TensorInfo tensor = {};
    tensor.name = in.name(kMaxTensorName, {"the name of tensor", {}, index});
    read_shape(in, tensor);
    read_type(in, tensor);
    tensor.offset = in.number<uint64_t>({"the offset", tensor.name});
    return tensor;
}

void place_tensors(const TensorArea& area, std::vector<TensorInfo>& tensors) {
    for (TensorInfo& tensor : tensors) {
        place(area, tensor);
    }
    check_overlap(tensors);
}

} // namespace powerinfer
