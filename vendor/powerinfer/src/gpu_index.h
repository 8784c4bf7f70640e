// GPU-index files, `*.generated.gpuidx`: which neurons of each layer are on the device. The layout
// is upstream's (spec 3.4); fingerprints of what an index was made for are in keys of our own,
// which others ignore.
#pragma once

#include "gguf.h"
#include "placement.h"

#include <cstdint>
#include <optional>
#include <string>

namespace powerinfer {

struct GpuIndex {
    int hidden_dim = 0;
    uint64_t vram_capacity = 0;         // bytes that there were for neurons
    std::optional<uint64_t> model;      // fingerprint; absent in files of others
    std::optional<uint64_t> statistics; // likewise; absent too where there were none
    Neurons neurons;
};

// The file's bytes.
std::vector<std::byte> encode_gpu_index(const GpuIndex& index);

// Appears under its name only when it is whole. Throws Error(io).
void save_gpu_index(const std::string& path, const GpuIndex& index);

// Checks everything that the layout says. Throws Error(format) for a file that contradicts it, is
// of another kind, or is for a model with other numbers of layers or neurons.
GpuIndex read_gpu_index(const GgufFile& file, int n_layers, int hidden_dim);

// Whether the file says that it was made for something else; what it holds is not looked at.
// `statistics` is absent where there are none.
bool is_stale(const GgufFile& file, uint64_t model, const std::optional<uint64_t>& statistics);

} // namespace powerinfer
