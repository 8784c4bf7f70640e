#include "gpu_index.h"

#include "error.h"
#include "text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include <unistd.h>

namespace powerinfer {

namespace {

constexpr std::string_view kArchitecture = "generic.gpu_index";
constexpr std::string_view kArchitectureKey = "general.architecture";
constexpr std::string_view kLayersKey = "generic.gpu_index.block_count";
constexpr std::string_view kCapacityKey = "split.vram_capacity";
constexpr std::string_view kModelKey = "powerinfer.fingerprint.model";
constexpr std::string_view kStatisticsKey = "powerinfer.fingerprint.statistics";
constexpr uint64_t kPadding = 32;

std::string tensor_name(size_t layer, const char* what) {
    return "blk." + std::to_string(layer) + "." + what;
}

class Writer {
public:
    template <typename T>
    void number(T value) {
        raw(&value, sizeof value);
    }
    void raw(const void* data, size_t n) {
        const auto* begin = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), begin, begin + n);
    }
    void string(std::string_view text) {
        number<uint64_t>(text.size());
        raw(text.data(), text.size());
    }
    void key(std::string_view name, MetaType type) {
        string(name);
        number(static_cast<uint32_t>(type));
    }
    void u64(std::string_view name, uint64_t value) {
        key(name, MetaType::u64);
        number(value);
    }
    // The info of a list whose data begins at `offset`, which moves behind it.
    void list_info(const std::string& name, uint64_t n, uint64_t& offset) {
        string(name);
        number<uint32_t>(1);
        number(n);
        number(static_cast<uint32_t>(DType::i32));
        number(offset);
        offset += (n * sizeof(int32_t) + kPadding - 1) / kPadding * kPadding;
    }
    void list(std::span<const int32_t> values) {
        raw(values.data(), values.size_bytes());
        pad();
    }
    void pad() { bytes_.resize((bytes_.size() + kPadding - 1) / kPadding * kPadding); }

    std::vector<std::byte> take() { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

// The info of the tensor at this place, as it has to be; its elements.
std::span<const int32_t> list_at(const GgufFile& file, size_t index, const std::string& name) {
    const TensorInfo& tensor = file.tensors()[index];
    PI_CHECK(
        tensor.name == name,
        format,
        "GPU index: want %s as tensor %zu, the file has %s",
        name.c_str(),
        index,
        quoted(tensor.name).c_str()
    );
    PI_CHECK(
        tensor.type == DType::i32 && tensor.n_dims == 1,
        format,
        "GPU index: tensor %s: want a list of i32, the file has %d dimensions of %s",
        name.c_str(),
        tensor.n_dims,
        dtype_info(tensor.type).name
    );
    return {reinterpret_cast<const int32_t*>(tensor.data), static_cast<size_t>(tensor.ne[0])};
}

std::vector<int32_t> read_layer(const GgufFile& file, size_t layer, int hidden_dim) {
    const std::string flags_name = tensor_name(layer, "gpu_idx");
    const std::string bucket_name = tensor_name(layer, "gpu_bucket");
    const std::span<const int32_t> flags = list_at(file, 2 * layer, flags_name);
    const std::span<const int32_t> bucket = list_at(file, 2 * layer + 1, bucket_name);
    PI_CHECK(
        flags.size() == static_cast<size_t>(hidden_dim),
        format,
        "GPU index: %s is for %zu neurons, the model has %d in a layer: the index is another "
        "model's",
        flags_name.c_str(),
        flags.size(),
        hidden_dim
    );
    std::vector<int32_t> neurons;
    for (size_t i = 0; i < flags.size(); ++i) {
        PI_CHECK(
            flags[i] == 0 || flags[i] == 1,
            format,
            "GPU index: %s of neuron %zu: want 0 or 1, the file has %d",
            flags_name.c_str(),
            i,
            flags[i]
        );
        if (flags[i] == 1) {
            neurons.push_back(static_cast<int32_t>(i));
        }
    }
    // Ascending too, as `neurons` is.
    PI_CHECK(
        std::equal(neurons.begin(), neurons.end(), bucket.begin(), bucket.end()),
        format,
        "GPU index: %s does not list the %zu neurons that are 1 in %s, ascending",
        bucket_name.c_str(),
        neurons.size(),
        flags_name.c_str()
    );
    return neurons;
}

[[noreturn]] void throw_unwritten(const std::string& path, int error) {
    PI_THROW(io, "cannot write %s: %s", path.c_str(), std::strerror(error));
}

struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

void write_whole(const std::string& path, std::span<const std::byte> bytes) {
    std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "wbe"));
    if (file == nullptr) {
        throw_unwritten(path, errno);
    }
    const bool is_written =
        std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() &&
        std::fflush(file.get()) == 0;
    const int error = errno;
    if (!is_written || std::fclose(file.release()) != 0) {
        throw_unwritten(path, is_written ? errno : error);
    }
}

} // namespace

std::vector<std::byte> encode_gpu_index(const GpuIndex& index) {
    const size_t n_layers = index.neurons.size();
    Writer out;
    out.raw("PWRI", 4);
    out.number<uint32_t>(3);
    out.number<uint64_t>(2 * n_layers);
    out.number<uint64_t>(
        3U + (index.model.has_value() ? 1U : 0U) + (index.statistics.has_value() ? 1U : 0U)
    );
    out.key(kArchitectureKey, MetaType::string);
    out.string(kArchitecture);
    out.key(kLayersKey, MetaType::u32);
    out.number(static_cast<uint32_t>(n_layers));
    out.u64(kCapacityKey, index.vram_capacity);
    if (index.model.has_value()) {
        out.u64(kModelKey, *index.model);
    }
    if (index.statistics.has_value()) {
        out.u64(kStatisticsKey, *index.statistics);
    }
    const auto hidden_dim = static_cast<size_t>(index.hidden_dim);
    uint64_t offset = 0;
    for (size_t i = 0; i < n_layers; ++i) {
        out.list_info(tensor_name(i, "gpu_idx"), hidden_dim, offset);
        out.list_info(tensor_name(i, "gpu_bucket"), index.neurons[i].size(), offset);
    }
    out.pad();
    std::vector<int32_t> flags(hidden_dim);
    for (const std::vector<int32_t>& neurons : index.neurons) {
        std::fill(flags.begin(), flags.end(), 0);
        for (const int32_t neuron : neurons) {
            flags[static_cast<size_t>(neuron)] = 1;
        }
        out.list(flags);
        out.list(neurons);
    }
    return out.take();
}

void save_gpu_index(const std::string& path, const GpuIndex& index) {
    const std::string beside = path + "." + std::to_string(::getpid()) + ".part";
    try {
        write_whole(beside, encode_gpu_index(index));
        if (std::rename(beside.c_str(), path.c_str()) != 0) {
            throw_unwritten(path, errno);
        }
    } catch (...) {
        std::remove(beside.c_str()); // only ours; what is left of it harms nobody
        throw;
    }
}

GpuIndex read_gpu_index(const GgufFile& file, int n_layers, int hidden_dim) {
    const std::string_view architecture = file.string(kArchitectureKey).value_or("");
    PI_CHECK(
        file.is_sparse() && architecture == kArchitecture,
        format,
        "no GPU index: want a PWRI file of architecture generic.gpu_index, found %s of %s",
        file.is_sparse() ? "PWRI" : "GGUF",
        quoted(architecture).c_str()
    );
    const std::optional<uint32_t> found_layers = file.u32(kLayersKey);
    const std::optional<uint64_t> capacity = file.u64(kCapacityKey);
    PI_CHECK(
        found_layers.has_value() && capacity.has_value(),
        format,
        "GPU index: metadata key %s is missing",
        (found_layers.has_value() ? kCapacityKey : kLayersKey).data()
    );
    PI_CHECK(
        *found_layers == static_cast<uint32_t>(n_layers),
        format,
        "GPU index: it is for %u layers, the model has %d: the index is another model's",
        *found_layers,
        n_layers
    );
    const size_t wanted = 2 * static_cast<size_t>(n_layers);
    PI_CHECK(
        file.tensors().size() == wanted,
        format,
        "GPU index: want %zu tensors, two for each layer, the file has %zu",
        wanted,
        file.tensors().size()
    );
    GpuIndex index;
    index.hidden_dim = hidden_dim;
    index.vram_capacity = *capacity;
    index.model = file.u64(kModelKey);
    index.statistics = file.u64(kStatisticsKey);
    for (size_t i = 0; i < static_cast<size_t>(n_layers); ++i) {
        index.neurons.push_back(read_layer(file, i, hidden_dim));
    }
    return index;
}

bool is_stale(const GgufFile& file, uint64_t model, const std::optional<uint64_t>& statistics) {
    const std::optional<uint64_t> made_for = file.u64(kModelKey);
    if (!made_for.has_value()) {
        return false; // of others: nothing to compare
    }
    // Without statistics at hand an index is what is left of them.
    return *made_for != model || (statistics.has_value() && file.u64(kStatisticsKey) != statistics);
}

} // namespace powerinfer
