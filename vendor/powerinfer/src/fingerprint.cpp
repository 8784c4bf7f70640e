#include "fingerprint.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace powerinfer {

namespace {

constexpr size_t kSample = 64; // bytes from the beginning and from the middle of a tensor

// FNV-1a.
class Hash {
public:
    void add(const void* data, size_t n) noexcept {
        const auto* bytes = static_cast<const unsigned char*>(data);
        for (size_t i = 0; i < n; ++i) {
            value_ = (value_ ^ bytes[i]) * 0x100000001b3U;
        }
    }
    void add(std::string_view text) noexcept { add(text.data(), text.size()); }

    uint64_t value() const noexcept { return value_; }

private:
    uint64_t value_ = 0xcbf29ce484222325U;
};

void add_tensors(Hash& hash, const GgufFile& file, const auto& data_of) noexcept {
    for (const TensorInfo& tensor : file.tensors()) {
        hash.add(tensor.name);
        hash.add(&tensor.type, sizeof tensor.type);
        hash.add(tensor.ne.data(), sizeof tensor.ne);
        const size_t n = std::min<size_t>(kSample, tensor.n_bytes);
        const std::byte* data = data_of(tensor);
        hash.add(data, n);
        hash.add(data + (tensor.n_bytes - n) / 2, n);
    }
}

} // namespace

uint64_t fingerprint(const Model& model) noexcept {
    Hash hash;
    hash.add(POWERINFER_BUILD_ID);
    const Config& config = model.config();
    hash.add(config.family->name);
    hash.add(&config.fatrelu_threshold, sizeof config.fatrelu_threshold);
    hash.add(&config.sparse_threshold, sizeof config.sparse_threshold);
    const Weights& weights = model.weights();
    hash.add(weights.copied_bytes() > 0 ? "copied" : "mapped"); // rates differ
    add_tensors(hash, weights.file(), [&](const TensorInfo& tensor) {
        return weights.data(tensor);
    });
    return hash.value();
}

uint64_t file_fingerprint(const GgufFile& file) noexcept {
    Hash hash;
    add_tensors(hash, file, [](const TensorInfo& tensor) { return tensor.data; });
    return hash.value();
}

uint64_t counts_fingerprint(std::span<const double> counts) noexcept {
    Hash hash;
    hash.add(counts.data(), counts.size_bytes());
    return hash.value();
}

} // namespace powerinfer
