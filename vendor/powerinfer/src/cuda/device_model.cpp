#include "device_model.h"

#include "../device_scratch.h"
#include "../processors.h"
#include "device_context.h"
#include "row_sender.h"
#include "weights.h"

#include <algorithm>
#include <numeric>

namespace powerinfer::cuda {

namespace {

// Better when a model is loaded than in its first step.
void check_kernels(const DeviceInfo& device) {
    const OwnedStream stream;
    const cudaError_t status = probe(stream);
    PI_CHECK(
        status == cudaSuccess,
        device,
        "the GPU %s runs nothing of this program: %s; compile it for that kind of GPU",
        device.name.c_str(),
        cudaGetErrorString(status)
    );
}

std::vector<int32_t> others(const std::vector<int32_t>& neurons, int hidden_dim) {
    std::vector<int32_t> all(static_cast<size_t>(hidden_dim));
    std::iota(all.begin(), all.end(), 0);
    std::vector<int32_t> rest;
    std::set_difference(
        all.begin(), all.end(), neurons.begin(), neurons.end(), std::back_inserter(rest)
    );
    return rest;
}

uint64_t matrix_bytes(const DeviceMatrix& w, uint64_t n_rows) noexcept {
    return w.body == nullptr ? 0 : n_rows * row_bytes(w.type, w.cols);
}

uint64_t matrix_bytes(const DeviceMatrix& w) noexcept {
    return matrix_bytes(w, static_cast<uint64_t>(w.rows));
}

size_t context_bytes(const Model& model, const ContextShape& shape, size_t n_layers) {
    Carver carver;
    DeviceScratch::carve(carver, model, shape);
    const Config& config = model.config();
    const uint64_t layer =
        KvCache::layer_bytes(shape.kv_type, config.kv_dim, shape.n_ctx, shape.n_sequences);
    return carver.used() + n_layers * static_cast<size_t>(layer);
}

} // namespace

uint64_t DeviceLayer::bytes_read(const uint32_t* counters) const noexcept {
    const bool is_gated = neurons.gate.body != nullptr;
    const uint64_t n_tested = counters[kTested];
    const uint64_t n_read = counters[kRead];
    return matrix_bytes(q) + matrix_bytes(k) + matrix_bytes(v) + matrix_bytes(o) +
           matrix_bytes(fc1) + matrix_bytes(fc2) + matrix_bytes(neurons.gate, n_tested) +
           matrix_bytes(neurons.up, is_gated ? n_read : n_tested) +
           matrix_bytes(neurons.down_t, n_read) + matrix_bytes(down);
}

// Counts bytes first; with memory it copies too.
class CudaModel::Upload {
public:
    Upload() = default;
    Upload(RowSender& sender, std::byte* memory, uint64_t n_bytes, const LoadProgress& progress)
        : carver_(memory), sender_(&sender), n_bytes_(n_bytes), progress_(&progress) {}

    size_t used() const noexcept { return carver_.used(); }

    // Rows `ids` of a matrix, or all.
    DeviceMatrix matrix(const Matrix& w, const std::vector<int32_t>* ids = nullptr) {
        const int n_rows = ids == nullptr ? w.rows : static_cast<int>(ids->size());
        if (w.data == nullptr || n_rows == 0) {
            return {};
        }
        DeviceMatrix out;
        out.body = carver_.take<uint8_t>(body_bytes(w.type, n_rows, w.cols));
        out.scales = carver_.take<uint8_t>(scales_bytes(w.type, n_rows, w.cols));
        out.type = w.type;
        out.rows = n_rows;
        out.cols = w.cols;
        if (sender_ != nullptr) {
            sender_->send(out, w, ids == nullptr ? nullptr : ids->data(), n_rows);
            report();
        }
        return out;
    }

    template <typename T>
    T* vector(const T* values, size_t n) {
        T* out = values == nullptr ? nullptr : carver_.take<T>(n);
        if (sender_ != nullptr && out != nullptr) {
            sender_->send(out, values, n * sizeof(T));
        }
        return out;
    }

    DeviceNorm norm(const NormWeights& norm, int dim) {
        const auto n = static_cast<size_t>(dim);
        return {vector(norm.weight, n), vector(norm.bias, n)};
    }

    // The values of these neurons.
    float* vector_of(const float* values, const std::vector<int32_t>& ids) {
        if (values == nullptr) {
            return nullptr;
        }
        std::vector<float> chosen;
        chosen.reserve(ids.size());
        for (const int32_t id : ids) {
            chosen.push_back(values[id]);
        }
        return vector(chosen.data(), chosen.size());
    }

private:
    void report() {
        PI_CHECK((*progress_)(sender_->n_sent(), n_bytes_), cancelled, "the load was cancelled");
    }

    Carver carver_;
    RowSender* sender_ = nullptr;
    uint64_t n_bytes_ = 0;
    const LoadProgress* progress_ = nullptr;
};

DeviceLayer CudaModel::place_layer(Upload& upload, int index) {
    const Config& config = model_->config();
    const Layer& layer = model_->layer(index);
    const LayerPlacement& placed = placement_.layers[static_cast<size_t>(index)];
    const auto dim = static_cast<size_t>(config.dim);
    const auto kv_dim = static_cast<size_t>(config.kv_dim);
    DeviceLayer out;
    out.attn_norm = upload.norm(layer.attn_norm, config.dim);
    out.attn_norm_2 = upload.norm(layer.attn_norm_2, config.dim);
    out.q = upload.matrix(layer.q);
    out.k = upload.matrix(layer.k);
    out.v = upload.matrix(layer.v);
    out.o = upload.matrix(layer.o);
    out.q_bias = upload.vector(layer.q_bias, dim);
    out.k_bias = upload.vector(layer.k_bias, kv_dim);
    out.v_bias = upload.vector(layer.v_bias, kv_dim);
    out.o_bias = upload.vector(layer.o_bias, dim);
    out.ffn_norm = upload.norm(layer.ffn_norm, config.dim);
    out.down_bias = upload.vector(layer.down_bias, dim);

    const std::vector<int32_t>& hot = placed.neurons;
    out.cold = others(hot, config.hidden_dim);
    out.rows = hot;
    out.rows.insert(out.rows.end(), out.cold.begin(), out.cold.end());
    if (placed.has_predictor) {
        out.fc1 = upload.matrix(layer.fc1);
        out.fc2 = upload.matrix(layer.fc2, &out.rows);
        out.row_neurons = upload.vector(out.rows.data(), out.rows.size());
    }
    if (!hot.empty()) {
        out.neurons.n = static_cast<int>(hot.size());
        out.neurons.gate = upload.matrix(layer.gate, &hot);
        out.neurons.up = upload.matrix(layer.up, &hot);
        out.neurons.up_bias = upload.vector_of(layer.up_bias, hot);
        out.neurons.down_t = upload.matrix(layer.down_t, &hot);
        out.down = upload.matrix(layer.down);
    }
    return out;
}

void CudaModel::place(Upload& upload) {
    layers_.clear();
    const int n_layers = model_->config().n_layers;
    for (int i = 0; i < n_layers && placement_.layers[static_cast<size_t>(i)].has_attention; ++i) {
        layers_.push_back(place_layer(upload, i));
    }
    if (placement_.part(Part::output).device_bytes > 0) {
        output_norm_ = upload.norm(model_->output_norm(), model_->config().dim);
        output_ = upload.matrix(model_->output());
    }
}

CudaModel::CudaModel(
    std::shared_ptr<const Model> model,
    const Placement& placement,
    const ContextShape& shape,
    const LoadProgress& progress
)
    : model_(std::move(model)), placement_(placement), shape_(shape) {
    PI_CHECK(
        placement.device_bytes > 0,
        out_of_memory,
        "nothing of the model fits on the GPU: the budget is %llu bytes, the GPU's own needs are "
        "%llu and the first layer's come on top; give a larger budget, a smaller context, or no "
        "GPU",
        static_cast<unsigned long long>(placement.vram_budget),
        static_cast<unsigned long long>(placement.reserve)
    );
    const int head_dim = model_->config().head_dim;
    PI_CHECK(
        head_dim % 2 == 0 && head_dim <= kMaxHeadDim,
        unsupported,
        "the model has heads of %d elements, on a GPU want an even number of at most %d",
        head_dim,
        kMaxHeadDim
    );
    count_devices();
    info_ = device_info(0);
    PI_CHECK(
        placement.device_bytes <= info_.free_bytes,
        out_of_memory,
        "%llu bytes were planned for the GPU %s, of %llu it has %llu free; plan with a smaller "
        "budget, or free some",
        static_cast<unsigned long long>(placement.device_bytes),
        info_.name.c_str(),
        static_cast<unsigned long long>(info_.total_bytes),
        static_cast<unsigned long long>(info_.free_bytes)
    );
    check_kernels(info_);
    Upload counting;
    place(counting);
    const uint64_t wanted = counting.used() + context_bytes(*model_, shape_, layers_.size());
    PI_CHECK(
        wanted + device_overhead() <= placement.device_bytes,
        internal,
        "%llu bytes were planned for the GPU, it needs %llu; please report this model",
        static_cast<unsigned long long>(placement.device_bytes),
        static_cast<unsigned long long>(wanted + device_overhead())
    );
    memory_ = std::make_unique<DeviceMemory>(counting.used());
    ThreadPool pool(physical_cores());
    RowSender sender(pool);
    Upload upload(sender, memory_->data(), counting.used(), progress);
    place(upload);
    sender.wait();
}

void CudaModel::exchange(
    int index, std::span<const int32_t> neurons, std::span<const int32_t> rows
) {
    DeviceLayer& layer = layers_[static_cast<size_t>(index)];
    for (size_t i = 0; i < rows.size(); ++i) {
        layer.rows[static_cast<size_t>(rows[i])] = neurons[i];
    }
    layer.cold.assign(layer.rows.begin() + layer.neurons.n, layer.rows.end());
    std::sort(layer.cold.begin(), layer.cold.end());
}

std::unique_ptr<DeviceContext> CudaModel::make_context(
    const ContextShape& shape, int activation_bits, bool is_timed
) {
    const auto check_fits = [](const char* name, int wanted, int planned) {
        PI_CHECK(
            wanted <= planned,
            invalid_argument,
            "%s: the GPU's memory was planned for %d, a context of %d was asked for",
            name,
            planned,
            wanted
        );
    };
    check_fits("n_ctx", shape.n_ctx, shape_.n_ctx);
    check_fits("n_sequences", shape.n_sequences, shape_.n_sequences);
    check_fits("n_batch", std::min(shape.n_batch, kMaxTokens), shape_.n_batch);
    PI_CHECK(
        row_bytes(shape.kv_type, 1) <= row_bytes(shape_.kv_type, 1),
        invalid_argument,
        "kv_dtype: the GPU's memory was planned for %s, a context of %s was asked for",
        dtype_info(shape_.kv_type).name,
        dtype_info(shape.kv_type).name
    );
    PI_CHECK(
        !has_context_.exchange(true),
        device,
        "the GPU's memory was planned for one context of this model, which exists: use its "
        "sequences, or load the model again"
    );
    try {
        ContextShape planned = shape;
        planned.n_step = shape_.n_step;
        return std::make_unique<CudaContext>(
            shared_from_this(), planned, activation_bits, is_timed
        );
    } catch (...) {
        release_context();
        throw;
    }
}

} // namespace powerinfer::cuda

namespace powerinfer {

std::shared_ptr<DeviceModel> load_device_model(
    std::shared_ptr<const Model> model,
    const Placement& placement,
    const ContextShape& shape,
    const LoadProgress& progress
) {
    return std::make_shared<cuda::CudaModel>(std::move(model), placement, shape, progress);
}

} // namespace powerinfer
