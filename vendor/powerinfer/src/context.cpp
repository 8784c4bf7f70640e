#include "context.h"

#include "error.h"
#include "forward.h"
#include "processors.h"

#include <algorithm>
#include <limits>

namespace powerinfer {

namespace {

constexpr uint32_t kMaxContext = 1U << 27;
constexpr uint32_t kMaxSequences = 1U << 16;
constexpr uint32_t kMaxBatch = 1U << 16;
constexpr uint32_t kMaxThreads = 1U << 10;

int checked(const char* name, uint32_t value, uint32_t limit) {
    PI_CHECK(
        value >= 1 && value <= limit,
        invalid_argument,
        "%s: want 1 to %u, got %u",
        name,
        limit,
        value
    );
    return static_cast<int>(value);
}

int context_size(const Model& model, const ContextOptions& options) {
    const Config& config = model.config();
    const int trained = config.context_length;
    const int n_ctx = options.n_ctx == 0 ? trained : checked("n_ctx", options.n_ctx, kMaxContext);
    PI_CHECK(
        !config.family->has_position_table ||
            n_ctx <= static_cast<int64_t>(trained) * std::max(1U, options.n_sequences),
        invalid_argument,
        "n_ctx: the model's position table ends at %d tokens a sequence, %d were asked for %u "
        "sequences",
        trained,
        n_ctx,
        options.n_sequences
    );
    return n_ctx;
}

int batch_size(const Model& model, const ContextOptions& options) {
    return std::min(checked("n_batch", options.n_batch, kMaxBatch), context_size(model, options));
}

DType checked_kv_type(DType type) {
    PI_CHECK(
        type == DType::f16 || type == DType::f32,
        invalid_argument,
        "kv_dtype: want f16 (1) or f32 (0), got %u",
        static_cast<uint32_t>(type)
    );
    return type;
}

int checked_activation_bits(uint32_t bits) {
    PI_CHECK(
        bits == 16 || bits == 8, invalid_argument, "activation_bits: want 16 or 8, got %u", bits
    );
    return static_cast<int>(bits);
}

// Tokens of one sequence at most, whatever the cache has room for.
int max_length(const Model& model) {
    const Config& config = model.config();
    return config.family->has_position_table ? config.context_length
                                             : std::numeric_limits<int>::max();
}

FfnPlan make_plan(const Model& model, const ContextOptions& options, int n_threads) {
    const bool is_automatic = model.strategy() == Strategy::automatic;
    PI_CHECK(
        is_automatic == (options.rates != nullptr) &&
            is_automatic == (options.layer_plans != nullptr),
        invalid_argument,
        "rates and layer_plans: %s",
        is_automatic ? "the strategy auto wants both, measured by pi_model_measure_rates and "
                       "pi_model_plan_layers"
                     : "only the strategy auto wants them: leave both out"
    );
    if (!is_automatic) {
        return FfnPlan(model.strategy());
    }
    PI_CHECK(
        options.rates->n_threads == n_threads,
        invalid_argument,
        "rates were measured with %d threads, this context has %d",
        options.rates->n_threads,
        n_threads
    );
    return {model, *options.rates, *options.layer_plans};
}

std::unique_ptr<DeviceContext> make_device_context(
    const Model& model, const ContextOptions& options
) {
    PI_CHECK(
        !options.time_device || options.device != nullptr,
        invalid_argument,
        "time_device: nothing of this model is on a GPU"
    );
    if (options.device == nullptr) {
        return nullptr;
    }
    PI_CHECK(
        !options.audit,
        unsupported,
        "audit: what a predictor on a GPU misses is not counted; load the model without a GPU"
    );
    return options.device->make_context(
        context_shape(model, options),
        checked_activation_bits(options.activation_bits),
        options.time_device
    );
}

int checked_adapt_every(const ContextOptions& options) {
    PI_CHECK(
        options.adapt_every == 0 || options.device != nullptr,
        invalid_argument,
        "adapt_every: neurons move between the processor and a GPU, and this model has none on one"
    );
    PI_CHECK(
        options.adapt_every <= kMaxContext,
        invalid_argument,
        "adapt_every: want 0 to %u, got %u",
        kMaxContext,
        options.adapt_every
    );
    return static_cast<int>(options.adapt_every);
}

int step_size(const Model& model, const ContextOptions& options, const DeviceContext* device) {
    const int n_batch = batch_size(model, options);
    return device == nullptr ? n_batch : std::min(n_batch, device->max_tokens());
}

template <typename T>
void grow(Array<T>& array, size_t& capacity, size_t rows, size_t width) {
    if (rows > capacity) {
        array = Array<T>(rows * width);
        capacity = rows;
    }
}

} // namespace

ContextShape context_shape(const Model& model, const ContextOptions& options) {
    return {
        .n_ctx = context_size(model, options),
        .n_sequences = checked("n_sequences", options.n_sequences, kMaxSequences),
        .n_batch = batch_size(model, options),
        .kv_type = checked_kv_type(options.kv_type),
    };
}

int thread_count(uint32_t n_threads) {
    return n_threads == 0 ? physical_cores() : checked("n_threads", n_threads, kMaxThreads);
}

Context::Context(std::shared_ptr<const Model> model, const ContextOptions& options)
    : model_(std::move(model)), device_model_(options.device),
      device_(make_device_context(*model_, options)), ops_(cpu::best_ops()),
      n_batch_(step_size(*model_, options, device_.get())), max_length_(max_length(*model_)),
      has_audit_(options.audit && model_->may_predict()), counts_neurons_(options.count_neurons),
      adapt_every_(checked_adapt_every(options)),
      activation_bits_(checked_activation_bits(options.activation_bits)),
      pool_(thread_count(options.n_threads)),
      cache_(
          checked_kv_type(options.kv_type),
          model_->config().n_layers,
          model_->config().n_kv_heads,
          model_->config().head_dim,
          context_size(*model_, options),
          checked("n_sequences", options.n_sequences, kMaxSequences),
          device_ == nullptr ? 0 : device_->n_layers()
      ),
      scratch_(*model_, ops_, n_batch_, cache_.n_ctx(), pool_.n_threads(), has_audit_),
      plan_(make_plan(*model_, options, pool_.n_threads())), lengths_(options.n_sequences),
      added_(options.n_sequences) {
    output_tokens_.reserve(2 * static_cast<size_t>(n_batch_));
    stats_.layers.resize(static_cast<size_t>(model_->config().n_layers));
    if (adapt_every_ > 0) {
        const auto hidden_dim = static_cast<size_t>(model_->config().hidden_dim);
        heat_.assign(static_cast<size_t>(device_->n_layers()), Heat(hidden_dim));
    }
    if (counts_neurons_ || adapt_every_ > 0) {
        for (LayerStats& layer : stats_.layers) {
            layer.fired.resize(static_cast<size_t>(model_->config().hidden_dim));
        }
    }
}

uint64_t Context::scratch_bytes() const noexcept {
    uint64_t n_counted = 0;
    for (const LayerStats& layer : stats_.layers) {
        n_counted += layer.fired.size();
    }
    return scratch_.n_bytes() + hidden_.n_bytes() + logits_.n_bytes() +
           n_counted * sizeof(uint64_t);
}

const std::vector<uint64_t>& Context::neuron_counts(uint32_t layer) const {
    const size_t n_layers = stats_.layers.size();
    PI_CHECK(layer < n_layers, invalid_argument, "layer: want below %zu, got %u", n_layers, layer);
    PI_CHECK(
        counts_neurons_,
        invalid_argument,
        "neuron counts: this context keeps none, make it with count_neurons = 1"
    );
    return stats_.layers[layer].fired;
}

void Context::check(const Batch& batch) {
    const Tokens& tokens = batch.tokens;
    for (size_t s = 0; s < lengths_.size(); ++s) {
        lengths_[s] = cache_.length(static_cast<int>(s));
    }
    std::fill(added_.begin(), added_.end(), 0);
    for (int t = 0; t < tokens.n; ++t) {
        PI_CHECK(
            tokens.ids[t] >= 0 && tokens.ids[t] < model_->vocab_size(),
            invalid_argument,
            "batch token %d: want an id from 0 to %d, got %d",
            t,
            model_->vocab_size() - 1,
            tokens.ids[t]
        );
        const int sequence = checked_sequence(static_cast<uint32_t>(tokens.sequences[t]));
        const size_t s = static_cast<size_t>(sequence);
        const int wanted = lengths_[s] + added_[s]++;
        PI_CHECK(
            tokens.positions[t] == wanted,
            invalid_argument,
            "batch token %d: the next position of sequence %d is %d, got %d",
            t,
            sequence,
            wanted,
            tokens.positions[t]
        );
        PI_CHECK(
            wanted < max_length_,
            context_full,
            "context is full: the model's position table ends at %d tokens, sequence %d has more",
            max_length_,
            sequence
        );
    }
}

int Context::checked_sequence(uint32_t sequence) const {
    PI_CHECK(
        sequence < lengths_.size(),
        invalid_argument,
        "sequence: want 0 to %zu, got %u",
        lengths_.size() - 1,
        sequence
    );
    return static_cast<int>(sequence);
}

void Context::reserve() {
    for (size_t s = 0; s < added_.size(); ++s) {
        if (added_[s] > 0) {
            cache_.append(static_cast<int>(s), added_[s]);
        }
    }
}

void Context::reserve_outputs(const Batch& batch) {
    const size_t n = static_cast<size_t>(batch.tokens.n);
    wanted_.assign(n, 0);
    hidden_row_.assign(n, -1);
    logits_row_.assign(n, -1);
    if (batch.outputs == nullptr) {
        wanted_.back() = kOutputLogits;
    } else {
        std::copy(batch.outputs, batch.outputs + n, wanted_.begin());
    }
    int32_t n_hidden = 0;
    int32_t n_logits = 0;
    for (size_t t = 0; t < n; ++t) {
        PI_CHECK(
            wanted_[t] <= (kOutputLogits | kOutputHidden),
            invalid_argument,
            "batch token %zu: outputs want bits of 3, got %u",
            t,
            static_cast<unsigned>(wanted_[t])
        );
        hidden_row_[t] = wanted_[t] != 0 ? n_hidden++ : -1;
        logits_row_[t] = (wanted_[t] & kOutputLogits) != 0 ? n_logits++ : -1;
    }
    const size_t dim = static_cast<size_t>(model_->config().dim);
    grow(hidden_, hidden_capacity_, static_cast<size_t>(n_hidden), dim);
    grow(
        logits_,
        logits_capacity_,
        static_cast<size_t>(n_logits),
        static_cast<size_t>(model_->vocab_size())
    );
}

void Context::decode(const Batch& batch) {
    check(batch);
    try {
        reserve_outputs(batch);
        reserve();
        for (int begin = 0; begin < batch.tokens.n; begin += n_batch_) {
            exchange_neurons();
            decode_chunk(batch, begin, std::min(n_batch_, batch.tokens.n - begin));
        }
    } catch (...) {
        for (size_t s = 0; s < lengths_.size(); ++s) {
            cache_.truncate(static_cast<int>(s), lengths_[s]);
        }
        wanted_.clear();
        throw;
    }
    if (device_ != nullptr && counts_neurons_) {
        device_->count_neurons(stats_.layers);
    }
    adapt(batch.tokens.n);
    ++stats_.n_decode_calls;
    stats_.n_tokens += static_cast<uint64_t>(batch.tokens.n);
}

void Context::adapt(int n_tokens) {
    n_unadapted_ += n_tokens;
    if (adapt_every_ == 0 || n_unadapted_ < adapt_every_) {
        return;
    }
    n_unadapted_ = 0;
    if (!counts_neurons_) { // else they are counted already
        device_->count_neurons(stats_.layers);
    }
    for (size_t i = 0; i < heat_.size(); ++i) {
        heat_[i].update(stats_.layers[i].fired);
    }
    n_waiting_ = heat_.size();
}

// Between two steps.
void Context::exchange_neurons() {
    if (adapt_every_ == 0) {
        return;
    }
    n_replaced_ += static_cast<uint64_t>(device_->place_neurons(stats_));
    if (n_waiting_ > 0 &&
        device_->send_neurons(static_cast<int>(next_layer_), heat_[next_layer_].values())) {
        next_layer_ = (next_layer_ + 1) % heat_.size();
        --n_waiting_;
    }
}

void Context::decode_chunk(const Batch& batch, int begin, int n) {
    const Tokens tokens{
        batch.tokens.ids + begin,
        batch.tokens.positions + begin,
        batch.tokens.sequences + begin,
        n,
    };
    Compute step = compute();
    if (device_ != nullptr) {
        device_->forward(step, cache_, tokens, cancelled_);
    } else {
        forward(step, cache_, tokens, cancelled_, has_audit_);
    }
    write_outputs(begin, n);
}

void Context::write_outputs(int begin, int n) {
    StopWatch watch;
    OutputRows rows{};
    output_tokens_.clear();
    for (int t = 0; t < n; ++t) {
        const int32_t row = hidden_row_[static_cast<size_t>(begin + t)];
        if (row >= 0) {
            rows.hidden = rows.n++ > 0 ? rows.hidden : hidden_.row(row, model_->config().dim);
            output_tokens_.push_back(t);
        }
    }
    for (int t = 0; t < n; ++t) {
        const int32_t row = logits_row_[static_cast<size_t>(begin + t)];
        if (row >= 0) {
            rows.logits =
                rows.n_logits++ > 0 ? rows.logits : logits_.row(row, model_->vocab_size());
            output_tokens_.push_back(t);
        }
    }
    rows.tokens = output_tokens_.data();
    rows.with_logits = rows.tokens + rows.n;
    if (device_ != nullptr && device_->has_output()) {
        device_->write_outputs(rows, stats_);
    } else {
        Compute step = compute();
        powerinfer::write_outputs(step, rows);
    }
    watch.lap(stats_.output_ns);
}

const float* Context::logits(uint32_t i) const {
    PI_CHECK(
        i < wanted_.size() && logits_row_[i] >= 0,
        invalid_argument,
        "logits of token %u were not asked for in the last decode",
        i
    );
    return logits_.data() +
           static_cast<size_t>(logits_row_[i]) * static_cast<size_t>(model_->vocab_size());
}

const float* Context::hidden(uint32_t i) const {
    PI_CHECK(
        i < wanted_.size() && (wanted_[i] & kOutputHidden) != 0,
        invalid_argument,
        "the hidden state of token %u was not asked for in the last decode",
        i
    );
    return hidden_.data() +
           static_cast<size_t>(hidden_row_[i]) * static_cast<size_t>(model_->config().dim);
}

int Context::sequence_length(uint32_t sequence) const {
    return cache_.length(checked_sequence(sequence));
}

void Context::truncate(uint32_t sequence, uint32_t n) {
    const int s = checked_sequence(sequence);
    PI_CHECK(
        n <= static_cast<uint32_t>(cache_.length(s)),
        invalid_argument,
        "truncate: sequence %d holds %d tokens, %u were to be kept",
        s,
        cache_.length(s),
        n
    );
    cache_.truncate(s, static_cast<int>(n));
}

void Context::fork(uint32_t source, uint32_t target, uint32_t n) {
    const int from = checked_sequence(source);
    const int to = checked_sequence(target);
    PI_CHECK(
        from != to && cache_.length(to) == 0,
        invalid_argument,
        "fork: the target must be another, empty sequence; sequence %d holds %d tokens",
        to,
        cache_.length(to)
    );
    PI_CHECK(
        n <= static_cast<uint32_t>(cache_.length(from)),
        invalid_argument,
        "fork: sequence %d holds %d tokens, %u were asked for",
        from,
        cache_.length(from),
        n
    );
    cache_.fork(from, to, static_cast<int>(n));
}

} // namespace powerinfer
