// The C interface with owners and exceptions, for tests.
#pragma once

#include "error.h"
#include "powerinfer.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace engine {

inline void check(pi_error* error) {
    if (error != nullptr) {
        const powerinfer::Error thrown(
            static_cast<powerinfer::ErrorKind>(pi_error_get_kind(error)),
            pi_error_get_message(error)
        );
        pi_error_free(error);
        throw thrown;
    }
}

struct Free {
    void operator()(pi_file* file) const { pi_file_free(file); }
    void operator()(pi_model* model) const { pi_model_free(model); }
    void operator()(pi_context* context) const { pi_context_free(context); }
    void operator()(pi_placement* placement) const { pi_placement_free(placement); }
};
using File = std::unique_ptr<pi_file, Free>;
using Model = std::unique_ptr<pi_model, Free>;
using Context = std::unique_ptr<pi_context, Free>;
using Placement = std::unique_ptr<pi_placement, Free>;

inline File open_file(const std::string& path) {
    pi_file* file = nullptr;
    check(pi_file_open(path.c_str(), &file));
    return File(file);
}

inline Model load(const pi_file* file, const pi_model_options& options) {
    pi_model* model = nullptr;
    check(pi_model_load(file, &options, &model));
    return Model(model);
}

inline pi_model_options model_options(pi_repack repack = PI_REPACK_AUTO) {
    pi_model_options options;
    pi_model_options_init(&options);
    options.repack = repack;
    return options;
}

inline Model load(const pi_file* file, pi_strategy strategy = PI_STRATEGY_DEFAULT) {
    pi_model_options options = model_options();
    options.strategy = strategy;
    return load(file, options);
}

inline Model load(const std::string& path, pi_strategy strategy = PI_STRATEGY_DEFAULT) {
    return load(open_file(path).get(), strategy);
}

struct Options {
    uint32_t n_threads = 1;
    uint32_t n_sequences = 1;
    uint32_t n_ctx = 0;
    uint32_t n_batch = 512;
    uint32_t kv_dtype = 0;
    uint32_t activation_bits = 16;
    uint32_t audit = 0;
    uint32_t count_neurons = 0;
    uint32_t adapt_every = 0;
    uint32_t time_device = 0;
    const pi_rates* rates = nullptr;
    const pi_layer_plan* layer_plans = nullptr;
};

inline Context context(const pi_model* model, const Options& wanted = {}) {
    pi_context_options options;
    pi_context_options_init(&options);
    options.n_threads = wanted.n_threads;
    options.n_sequences = wanted.n_sequences;
    options.n_ctx = wanted.n_ctx;
    options.n_batch = wanted.n_batch;
    options.kv_dtype = wanted.kv_dtype;
    options.activation_bits = wanted.activation_bits;
    options.audit = wanted.audit;
    options.count_neurons = wanted.count_neurons;
    options.adapt_every = wanted.adapt_every;
    options.time_device = wanted.time_device;
    options.rates = wanted.rates;
    options.layer_plans = wanted.layer_plans;
    pi_context* context = nullptr;
    check(pi_context_new(model, &options, &context));
    return Context(context);
}

inline pi_model_info info(const pi_model* model) {
    pi_model_info info;
    info.struct_size = sizeof info;
    pi_model_get_info(model, &info);
    return info;
}

// What contexts of the strategy auto want.
struct Measured {
    pi_rates rates;
    std::vector<pi_layer_plan> layers;

    Options options() const {
        return {.n_threads = rates.n_threads, .rates = &rates, .layer_plans = layers.data()};
    }
};

inline Measured measure(const pi_model* model, uint32_t n_threads = 1) {
    Measured measured{};
    measured.rates.struct_size = sizeof measured.rates;
    check(pi_model_measure_rates(model, n_threads, &measured.rates));
    measured.layers.resize(info(model).n_layers);
    for (pi_layer_plan& layer : measured.layers) {
        layer.struct_size = sizeof layer;
    }
    check(pi_model_plan_layers(model, &measured.rates, measured.layers.data()));
    return measured;
}

inline uint32_t length(const pi_context* context, uint32_t sequence = 0) {
    uint32_t n = 0;
    check(pi_context_sequence_length(context, sequence, &n));
    return n;
}

// A batch under construction; positions continue the sequences of `context`.
struct Batch {
    std::vector<int32_t> tokens, positions, sequences;
    std::vector<pi_output> outputs;

    void add(int32_t token, uint32_t position, int32_t sequence = 0, pi_output output = 1) {
        tokens.push_back(token);
        positions.push_back(static_cast<int32_t>(position));
        sequences.push_back(sequence);
        outputs.push_back(output);
    }

    pi_error* try_decode(pi_context* context) const {
        pi_batch batch{};
        batch.struct_size = sizeof batch;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.positions = positions.data();
        batch.sequences = sequences.data();
        batch.outputs = outputs.data();
        return pi_context_decode(context, &batch);
    }

    void decode(pi_context* context) const { check(try_decode(context)); }
};

inline void append_logits(
    std::vector<float>& all, const pi_context* context, uint32_t i, size_t n
) {
    const float* row = nullptr;
    check(pi_context_get_logits(context, i, &row));
    all.insert(all.end(), row, row + n);
}

// Logits (n, vocab_size) of tokens given as one batch to sequence 0.
inline std::vector<float> batch_logits(
    pi_context* context, const pi_model* model, const std::vector<int32_t>& tokens
) {
    Batch batch;
    uint32_t position = length(context);
    for (const int32_t token : tokens) {
        batch.add(token, position++);
    }
    batch.decode(context);
    std::vector<float> logits;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
        append_logits(logits, context, i, info(model).vocab_size);
    }
    return logits;
}

// The same, one token at a time.
inline std::vector<float> decode_logits(
    pi_context* context, const pi_model* model, const std::vector<int32_t>& tokens
) {
    std::vector<float> logits;
    for (const int32_t token : tokens) {
        Batch batch;
        batch.add(token, length(context));
        batch.decode(context);
        append_logits(logits, context, 0, info(model).vocab_size);
    }
    return logits;
}

inline double distance(const std::vector<float>& values, const std::vector<double>& reference) {
    double error = 0.0;
    double norm = 0.0;
    for (size_t i = 0; i < values.size() && i < reference.size(); ++i) {
        const double difference = static_cast<double>(values[i]) - reference[i];
        error += difference * difference;
        norm += reference[i] * reference[i];
    }
    return values.size() == reference.size() ? std::sqrt(error / norm) : INFINITY;
}

inline double distance(const std::vector<float>& values, const std::vector<float>& wanted) {
    return distance(values, std::vector<double>(wanted.begin(), wanted.end()));
}

} // namespace engine
