// The C interface to contexts.
#include "capi_auto.h"

using namespace powerinfer;
using namespace powerinfer::capi;

void pi_context_options_init(pi_context_options* options) {
    const ContextOptions defaults;
    *options = {};
    options->struct_size = sizeof *options;
    options->n_sequences = defaults.n_sequences;
    options->n_batch = defaults.n_batch;
    options->kv_dtype = static_cast<uint32_t>(defaults.kv_type);
    options->activation_bits = defaults.activation_bits;
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
        wanted.activation_bits = options.activation_bits;
        wanted.audit = options.audit != 0;
        wanted.count_neurons = options.count_neurons != 0;
        wanted.device = model->device;
        wanted.adapt_every = options.adapt_every;
        wanted.time_device = options.time_device != 0;
        std::optional<Rates> rates;
        std::optional<std::vector<LayerPlan>> layer_plans;
        if (options.rates != nullptr) {
            rates = read_rates(*options.rates);
            wanted.rates = &*rates;
        }
        if (options.layer_plans != nullptr) {
            const size_t n = static_cast<size_t>(model->model->config().n_layers);
            layer_plans = read_layer_plans({options.layer_plans, n});
            wanted.layer_plans = &*layer_plans;
        }
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
        copy.device_neurons_active += layer.device_active;
    }
    copy.audit_active = stats.audit_active;
    copy.audit_missed = stats.audit_missed;
    copy.kv_bytes = context->context.kv_bytes();
    copy.scratch_bytes = context->context.scratch_bytes();
    const DeviceContext* device = context->context.device();
    copy.device_bytes = device == nullptr ? 0 : device->n_bytes();
    copy.device_bytes_read = stats.device_bytes_read;
    copy.neurons_replaced = context->context.n_replaced();
    copy.bus_bytes = stats.bus_bytes;
    copy.device_wait_ns = stats.device_wait_ns;
    copy.host_share_ns = stats.host_share_ns;
    copy.device_ns = stats.device_ns;
    copy.device_share_ns = stats.device_share_ns;
    copy.overlap_ns = stats.overlap_ns;
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
        const Strategy strategy = context->context.layer_strategy(static_cast<int>(layer));
        copy.strategy = static_cast<pi_strategy>(strategy);
        copy.neurons_total = layers[layer].neurons_total;
        copy.neurons_candidate = layers[layer].neurons_candidate;
        copy.neurons_active = layers[layer].neurons_active;
        write_out(out, copy);
    });
}

pi_error* pi_context_get_neuron_counts(
    const pi_context* context, uint32_t layer, const uint64_t** out
) {
    return guarded([&] {
        require(context, "context");
        require(out, "out");
        *out = context->context.neuron_counts(layer).data();
    });
}

void pi_context_reset_stats(pi_context* context) {
    context->context.reset_stats();
}
