// The C interface: checks arguments, calls the C++ core, and is the one place where exceptions end.
#include "context.h"
#include "error.h"
#include "measure.h"
#include "powerinfer.h"
#include "quantize.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

using namespace powerinfer;

struct pi_error {
    pi_error_kind kind;
    std::string message;
};

struct pi_file {
    std::shared_ptr<GgufFile> gguf;  // unchanged once made, but for the lock of its pages
    mutable std::mutex locking = {}; // two models may be loaded from one file at once
};

struct pi_model {
    std::shared_ptr<const Model> model;
};

struct pi_context {
    Context context;
};

namespace {

// Handed out when there is no memory for an error; pi_error_free leaves it alone.
pi_error* out_of_memory_error() noexcept {
    static pi_error error{PI_ERROR_OUT_OF_MEMORY, "out of memory"}; // fits the string's own storage
    return &error;
}

pi_error* new_error(pi_error_kind kind, const char* message) noexcept {
    try {
        return new pi_error{kind, message};
    } catch (...) {
        return out_of_memory_error();
    }
}

// Runs `body` and turns whatever it throws into an error object.
template <typename Body>
pi_error* guarded(Body&& body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const Error& error) {
        return new_error(static_cast<pi_error_kind>(error.kind()), error.what());
    } catch (const std::bad_alloc&) {
        return new_error(PI_ERROR_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return new_error(PI_ERROR_INTERNAL, error.what());
    } catch (...) {
        return new_error(PI_ERROR_INTERNAL, "unknown exception");
    }
}

void require(const void* pointer, const char* name) {
    PI_CHECK(pointer != nullptr, invalid_argument, "%s: want a pointer, got NULL", name);
}

// A caller built against an older header passes a shorter struct: what it does not know keeps its
// default, what it does not have is not written.
template <typename T>
T read_options(const T* given, void (*init)(T*)) {
    T options;
    init(&options);
    if (given == nullptr) {
        return options;
    }
    PI_CHECK(
        given->struct_size >= sizeof(uint32_t) && given->struct_size <= sizeof(T),
        invalid_argument,
        "options: struct_size is %u, this library knows up to %zu",
        given->struct_size,
        sizeof(T)
    );
    std::memcpy(&options, given, given->struct_size);
    options.struct_size = sizeof(T);
    return options;
}

template <typename T>
void write_out(T* out, T value) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    const size_t n = out->struct_size < sizeof(T) ? out->struct_size : sizeof(T);
    value.struct_size = out->struct_size;
    std::memcpy(out, &value, n);
}

const MetaValue& metadata_at(const pi_file* file, uint64_t index, uint64_t j) {
    require(file, "file");
    const std::vector<MetaValue>& all = file->gguf->metadata();
    PI_CHECK(
        index < all.size(),
        invalid_argument,
        "metadata index: want below %zu, got %llu",
        all.size(),
        static_cast<unsigned long long>(index)
    );
    const MetaValue& value = all[index];
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

ModelOptions model_options(const pi_model_options& given) {
    PI_CHECK(
        given.strategy <= PI_STRATEGY_PREDICTOR,
        invalid_argument,
        "strategy: want 0 to %u, got %u",
        PI_STRATEGY_PREDICTOR,
        given.strategy
    );
    ModelOptions options;
    if (given.strategy != PI_STRATEGY_DEFAULT) {
        options.strategy = static_cast<Strategy>(given.strategy);
    }
    if (!std::isnan(given.sparse_threshold)) {
        options.sparse_threshold = given.sparse_threshold;
    }
    options.log = {given.log, given.log_user};
    return options;
}

void make_resident(const pi_file& file, const pi_model_options& options) {
    if (options.prefetch == 0 && options.lock_memory == 0) {
        return;
    }
    const MappedFile& bytes = std::as_const(*file.gguf).file();
    bytes.prefetch([&](uint64_t done, uint64_t total) {
        return options.progress == nullptr ||
               options.progress(options.progress_user, done, total) != 0;
    });
    if (options.lock_memory != 0) {
        const std::lock_guard lock(file.locking);
        file.gguf->file().lock();
    }
}

} // namespace

uint32_t pi_abi_version(void) {
    return PI_ABI_VERSION;
}

const char* pi_cpu_name(void) {
    try {
        return cpu::best_ops().name;
    } catch (const Error&) {
        return "unavailable"; // POWERINFER_CPU names what this processor lacks; contexts will say
                              // so
    }
}

pi_error_kind pi_error_get_kind(const pi_error* error) {
    return error->kind;
}

const char* pi_error_get_message(const pi_error* error) {
    return error->message.c_str();
}

void pi_error_free(pi_error* error) {
    if (error != out_of_memory_error()) {
        delete error;
    }
}

pi_error* pi_file_open(const char* path, pi_file** out) {
    return guarded([&] {
        require(path, "path");
        require(out, "out");
        auto gguf = std::make_shared<GgufFile>(GgufFile::open(path));
        *out = new pi_file{.gguf = std::move(gguf)};
    });
}

pi_error* pi_file_from_bytes(const void* bytes, size_t n, pi_file** out) {
    return guarded([&] {
        require(bytes, "bytes");
        require(out, "out");
        const std::span<const std::byte> view(static_cast<const std::byte*>(bytes), n);
        auto gguf = std::make_shared<GgufFile>(GgufFile::from_bytes(view));
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
        require(file, "file");
        require(out, "out");
        const std::vector<MetaValue>& all = file->gguf->metadata();
        PI_CHECK(
            index < all.size(),
            invalid_argument,
            "metadata index: want below %zu, got %llu",
            all.size(),
            static_cast<unsigned long long>(index)
        );
        const MetaValue& value = all[index];
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
        const MetaValue& value = metadata_at(file, index, j);
        const bool is_integer = value.type != MetaType::f32 && value.type != MetaType::f64 &&
                                value.type != MetaType::string;
        check_kind(value, is_integer, "an integer or boolean");
        *out = GgufFile::integer(value, j);
    });
}

pi_error* pi_file_get_number(const pi_file* file, uint64_t index, uint64_t j, double* out) {
    return guarded([&] {
        require(out, "out");
        const MetaValue& value = metadata_at(file, index, j);
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
        const MetaValue& value = metadata_at(file, index, j);
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

namespace {

const DTypeInfo& known_dtype(uint32_t dtype) {
    const DTypeInfo* info = dtype_info(dtype);
    PI_CHECK(info != nullptr, unsupported, "tensor type %u is not known", dtype);
    return *info;
}

const DTypeInfo& weight_dtype(uint32_t dtype, size_t n) {
    const DTypeInfo& info = known_dtype(dtype);
    PI_CHECK(info.is_weight, unsupported, "tensor type %s cannot be computed with", info.name);
    PI_CHECK(
        n % static_cast<size_t>(info.block_elements) == 0 && n <= INT32_MAX,
        invalid_argument,
        "%s: want a multiple of %d values, got %zu",
        info.name,
        info.block_elements,
        n
    );
    return info;
}

} // namespace

pi_error* pi_dtype_get_info(uint32_t dtype, pi_dtype_info* out) {
    return guarded([&] {
        require(out, "out");
        const DTypeInfo& known = known_dtype(dtype);
        pi_dtype_info info{};
        info.block_elements = static_cast<uint32_t>(known.block_elements);
        info.block_bytes = static_cast<uint32_t>(known.block_bytes);
        info.is_weight = known.is_weight ? 1 : 0;
        info.name = known.name;
        write_out(out, info);
    });
}

pi_error* pi_quantize_row(uint32_t dtype, const float* x, size_t n, void* out) {
    return guarded([&] {
        require(x, "x");
        require(out, "out");
        weight_dtype(dtype, n);
        quantize_row(
            static_cast<DType>(dtype), static_cast<std::byte*>(out), x, static_cast<int64_t>(n)
        );
    });
}

pi_error* pi_dequantize_row(uint32_t dtype, const void* row, size_t n, float* out) {
    return guarded([&] {
        require(row, "row");
        require(out, "out");
        weight_dtype(dtype, n);
        cpu::best_ops()
            .of(static_cast<DType>(dtype))
            .dequantize(out, static_cast<const std::byte*>(row), static_cast<int>(n));
    });
}

void pi_model_options_init(pi_model_options* options) {
    *options = {};
    options->struct_size = sizeof *options;
    options->sparse_threshold = std::numeric_limits<float>::quiet_NaN();
}

pi_error* pi_model_load(const pi_file* file, const pi_model_options* given, pi_model** out) {
    return guarded([&] {
        require(file, "file");
        require(out, "out");
        const pi_model_options options = read_options(given, pi_model_options_init);
        auto model = std::make_shared<const Model>(file->gguf, model_options(options));
        make_resident(*file, options);
        *out = new pi_model{std::move(model)};
    });
}

void pi_model_free(pi_model* model) {
    delete model;
}

void pi_model_get_info(const pi_model* handle, pi_model_info* out) {
    const Model& model = *handle->model;
    const Config& config = model.config();
    pi_model_info info{};
    info.strategy = static_cast<pi_strategy>(model.strategy());
    info.n_layers = static_cast<uint32_t>(config.n_layers);
    info.dim = static_cast<uint32_t>(config.dim);
    info.hidden_dim = static_cast<uint32_t>(config.hidden_dim);
    info.n_heads = static_cast<uint32_t>(config.n_heads);
    info.n_kv_heads = static_cast<uint32_t>(config.n_kv_heads);
    info.head_dim = static_cast<uint32_t>(config.head_dim);
    info.vocab_size = static_cast<uint32_t>(model.vocab_size());
    info.context_length = static_cast<uint32_t>(config.context_length);
    info.is_sparse = config.is_sparse ? 1 : 0;
    info.has_predictor = model.has_predictor() ? 1 : 0;
    info.is_gated = config.family->is_gated ? 1 : 0;
    info.sparse_threshold = config.sparse_threshold;
    info.fatrelu_threshold = config.fatrelu_threshold;
    info.weight_bytes = model.weight_bytes();
    info.ffn_bytes = model.ffn_bytes();
    info.predictor_bytes = model.predictor_bytes();
    info.architecture = config.family->name;
    info.activation = activation_name(config);
    write_out(out, info);
}

void pi_context_options_init(pi_context_options* options) {
    const ContextOptions defaults;
    *options = {};
    options->struct_size = sizeof *options;
    options->n_sequences = defaults.n_sequences;
    options->n_batch = defaults.n_batch;
    options->kv_dtype = static_cast<uint32_t>(defaults.kv_type);
}

pi_error* pi_context_new(const pi_model* model, const pi_context_options* given, pi_context** out) {
    return guarded([&] {
        require(model, "model");
        require(out, "out");
        const pi_context_options options = read_options(given, pi_context_options_init);
        ContextOptions wanted;
        wanted.n_ctx = options.n_ctx;
        wanted.n_sequences = options.n_sequences;
        wanted.n_batch = options.n_batch;
        wanted.n_threads = options.n_threads;
        wanted.kv_type = static_cast<DType>(options.kv_dtype);
        wanted.audit = options.audit != 0;
        *out = new pi_context{Context(model->model, wanted)};
    });
}

void pi_context_free(pi_context* context) {
    delete context;
}

pi_error* pi_context_decode(pi_context* context, const pi_batch* batch) {
    return guarded([&] {
        require(context, "context");
        require(batch, "batch");
        PI_CHECK(
            batch->struct_size == sizeof *batch && batch->n_tokens <= INT32_MAX,
            invalid_argument,
            "batch: want struct_size %zu, got %u (and at most %d tokens, got %u)",
            sizeof *batch,
            batch->struct_size,
            INT32_MAX,
            batch->n_tokens
        );
        PI_CHECK(
            batch->n_tokens >= 1, invalid_argument, "batch: want at least one token, got none"
        );
        require(batch->tokens, "batch.tokens");
        require(batch->positions, "batch.positions");
        require(batch->sequences, "batch.sequences");
        const int n = static_cast<int>(batch->n_tokens);
        context->context.decode(
            {{batch->tokens, batch->positions, batch->sequences, n}, batch->outputs}
        );
    });
}

pi_error* pi_context_get_logits(const pi_context* context, uint32_t i, const float** out) {
    return guarded([&] {
        require(context, "context");
        require(out, "out");
        *out = context->context.logits(i);
    });
}

pi_error* pi_context_get_hidden(const pi_context* context, uint32_t i, const float** out) {
    return guarded([&] {
        require(context, "context");
        require(out, "out");
        *out = context->context.hidden(i);
    });
}

void pi_context_cancel(const pi_context* context) {
    context->context.cancel();
}

void pi_context_clear_cancel(pi_context* context) {
    context->context.clear_cancel();
}

pi_error* pi_context_sequence_length(const pi_context* context, uint32_t sequence, uint32_t* out) {
    return guarded([&] {
        require(context, "context");
        require(out, "out");
        *out = static_cast<uint32_t>(context->context.sequence_length(sequence));
    });
}

pi_error* pi_context_sequence_truncate(pi_context* context, uint32_t sequence, uint32_t n) {
    return guarded([&] {
        require(context, "context");
        context->context.truncate(sequence, n);
    });
}

pi_error* pi_context_sequence_fork(
    pi_context* context, uint32_t source, uint32_t target, uint32_t n
) {
    return guarded([&] {
        require(context, "context");
        context->context.fork(source, target, n);
    });
}

uint32_t pi_context_room(const pi_context* context) {
    return static_cast<uint32_t>(context->context.room());
}

void pi_context_get_stats(const pi_context* context, pi_stats* out) {
    const Stats& stats = context->context.stats();
    pi_stats copy{};
    copy.n_decode_calls = stats.n_decode_calls;
    copy.n_tokens = stats.n_tokens;
    copy.weight_bytes_read = stats.weight_bytes_read;
    copy.kv_bytes_read = stats.kv_bytes_read;
    copy.embed_ns = stats.embed_ns;
    copy.attention_ns = stats.attention_ns;
    copy.predictor_ns = stats.predictor_ns;
    copy.ffn_ns = stats.ffn_ns;
    copy.output_ns = stats.output_ns;
    for (const LayerStats& layer : stats.layers) {
        copy.neurons_total += layer.neurons_total;
        copy.neurons_candidate += layer.neurons_candidate;
        copy.neurons_active += layer.neurons_active;
    }
    copy.audit_active = stats.audit_active;
    copy.audit_missed = stats.audit_missed;
    copy.kv_bytes = context->context.kv_bytes();
    copy.scratch_bytes = context->context.scratch_bytes();
    write_out(out, copy);
}

pi_error* pi_context_get_layer_stats(
    const pi_context* context, uint32_t layer, pi_layer_stats* out
) {
    return guarded([&] {
        require(context, "context");
        require(out, "out");
        const std::vector<LayerStats>& layers = context->context.stats().layers;
        PI_CHECK(
            layer < layers.size(),
            invalid_argument,
            "layer: want below %zu, got %u",
            layers.size(),
            layer
        );
        pi_layer_stats copy{};
        copy.neurons_total = layers[layer].neurons_total;
        copy.neurons_candidate = layers[layer].neurons_candidate;
        copy.neurons_active = layers[layer].neurons_active;
        write_out(out, copy);
    });
}

void pi_context_reset_stats(pi_context* context) {
    context->context.reset_stats();
}

pi_error* pi_measure_read_bandwidth(uint32_t n_threads, size_t n_bytes, double* out) {
    return guarded([&] {
        require(out, "out");
        PI_CHECK(
            n_threads >= 1 && n_threads <= 1024 && n_bytes > 0,
            invalid_argument,
            "want 1 to 1024 threads and some bytes, got %u and %zu",
            n_threads,
            n_bytes
        );
        *out = measure_read_bandwidth(static_cast<int>(n_threads), n_bytes);
    });
}

pi_error* pi_measure_kernel(
    uint32_t dtype, uint32_t axpy, uint32_t n_rows, uint32_t n_cols, double* out
) {
    return guarded([&] {
        require(out, "out");
        weight_dtype(dtype, n_cols);
        PI_CHECK(
            n_rows >= 1 && n_rows <= INT32_MAX && n_cols >= 1,
            invalid_argument,
            "want at least one row and column, got %u and %u",
            n_rows,
            n_cols
        );
        *out = measure_kernel(
            static_cast<DType>(dtype), axpy != 0, static_cast<int>(n_rows), static_cast<int>(n_cols)
        );
    });
}
