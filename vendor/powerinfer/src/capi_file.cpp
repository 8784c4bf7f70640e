// The C interface to containers.
#include "capi.h"

#include <algorithm>
#include <span>

using namespace powerinfer;
using namespace powerinfer::capi;

namespace {

const MetaValue& metadata_at(const pi_file* file, uint64_t index) {
    require(file, "file");
    const std::vector<MetaValue>& all = file->gguf->metadata();
    PI_CHECK(
        index < all.size(),
        invalid_argument,
        "metadata index: want below %zu, got %llu",
        all.size(),
        static_cast<unsigned long long>(index)
    );
    return all[index];
}

const MetaValue& element_at(const pi_file* file, uint64_t index, uint64_t j) {
    const MetaValue& value = metadata_at(file, index);
    PI_CHECK(
        j < value.n,
        invalid_argument,
        "metadata element: want below %llu, got %llu",
        static_cast<unsigned long long>(value.n),
        static_cast<unsigned long long>(j)
    );
    return value;
}

void check_kind(const MetaValue& value, bool fits, const char* wanted) {
    PI_CHECK(
        fits,
        invalid_argument,
        "metadata key %.*s: want %s, the file has type %u",
        static_cast<int>(value.key.size()),
        value.key.data(),
        wanted,
        static_cast<uint32_t>(value.type)
    );
}

} // namespace

pi_error* pi_file_open(const char* path, pi_file** out) {
    return guarded([&] {
        require(path, "path");
        require(out, "out");
        auto gguf = std::make_shared<const GgufFile>(GgufFile::open(path));
        *out = new pi_file{.gguf = std::move(gguf)};
    });
}

pi_error* pi_file_from_bytes(const void* bytes, size_t n, pi_file** out) {
    return guarded([&] {
        require(bytes, "bytes");
        require(out, "out");
        const std::span<const std::byte> view(static_cast<const std::byte*>(bytes), n);
        auto gguf = std::make_shared<const GgufFile>(GgufFile::from_bytes(view));
        *out = new pi_file{.gguf = std::move(gguf)};
    });
}

void pi_file_free(pi_file* file) {
    delete file;
}

void pi_file_get_info(const pi_file* file, pi_file_info* out) {
    const GgufFile& gguf = *file->gguf;
    pi_file_info info{};
    info.version = gguf.version();
    info.is_sparse = gguf.is_sparse() ? 1 : 0;
    info.alignment = gguf.alignment();
    info.file_bytes = gguf.file_bytes();
    info.data_offset = gguf.data_offset();
    info.n_metadata = gguf.metadata().size();
    info.n_tensors = gguf.tensors().size();
    write_out(out, info);
}

int64_t pi_file_find_metadata(const pi_file* file, const char* key) {
    const MetaValue* value = file->gguf->find(key);
    return value == nullptr ? -1 : value - file->gguf->metadata().data();
}

pi_error* pi_file_get_metadata(const pi_file* file, uint64_t index, pi_meta_info* out) {
    return guarded([&] {
        require(out, "out");
        const MetaValue& value = metadata_at(file, index);
        pi_meta_info info{};
        info.type = static_cast<pi_meta_type>(value.type);
        info.is_array = value.is_array ? 1 : 0;
        info.n = value.n;
        info.key = value.key.data();
        info.key_len = value.key.size();
        write_out(out, info);
    });
}

pi_error* pi_file_get_integer(const pi_file* file, uint64_t index, uint64_t j, int64_t* out) {
    return guarded([&] {
        require(out, "out");
        const MetaValue& value = element_at(file, index, j);
        const bool is_integer = value.type != MetaType::f32 && value.type != MetaType::f64 &&
                                value.type != MetaType::string;
        check_kind(value, is_integer, "an integer or boolean");
        *out = GgufFile::integer(value, j);
    });
}

pi_error* pi_file_get_number(const pi_file* file, uint64_t index, uint64_t j, double* out) {
    return guarded([&] {
        require(out, "out");
        const MetaValue& value = element_at(file, index, j);
        check_kind(value, value.type != MetaType::string, "a number");
        *out = GgufFile::number(value, j);
    });
}

pi_error* pi_file_get_string(
    const pi_file* file, uint64_t index, uint64_t j, const char** out, size_t* out_len
) {
    return guarded([&] {
        require(out, "out");
        require(out_len, "out_len");
        const MetaValue& value = element_at(file, index, j);
        check_kind(value, value.type == MetaType::string, "a string");
        *out = value.strings[j].data();
        *out_len = value.strings[j].size();
    });
}

pi_error* pi_file_get_tensor(const pi_file* file, uint64_t index, pi_tensor_info* out) {
    return guarded([&] {
        require(file, "file");
        require(out, "out");
        const std::vector<TensorInfo>& all = file->gguf->tensors();
        PI_CHECK(
            index < all.size(),
            invalid_argument,
            "tensor index: want below %zu, got %llu",
            all.size(),
            static_cast<unsigned long long>(index)
        );
        const TensorInfo& tensor = all[index];
        pi_tensor_info info{};
        info.dtype = static_cast<uint32_t>(tensor.type);
        info.n_dims = static_cast<uint32_t>(tensor.n_dims);
        std::copy(tensor.ne.begin(), tensor.ne.end(), info.ne);
        info.offset = tensor.offset;
        info.n_bytes = tensor.n_bytes;
        info.name = tensor.name.data();
        info.name_len = tensor.name.size();
        write_out(out, info);
    });
}
