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
    for (const TensorInfo& tensor : weights.file().tensors()) {
        hash.add(tensor.name);
        hash.add(&tensor.type, sizeof tensor.type);
        hash.add(tensor.ne.data(), sizeof tensor.ne);
        const size_t n = std::min<size_t>(kSample, tensor.n_bytes);
        hash.add(weights.data(tensor), n);
        hash.add(weights.data(tensor) + (tensor.n_bytes - n) / 2, n);
    }
    return hash.value();
}

} // namespace powerinfer
