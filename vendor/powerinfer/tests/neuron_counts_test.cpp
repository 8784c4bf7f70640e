// How many tokens needed each neuron: the same counts however they are computed, and only if asked.
#include "check.h"
#include "tiny_engine.h"

using engine::file_of;
using engine::kTokens;
using test::TinyShape;

namespace {

constexpr uint32_t kLayers = 2;
constexpr int kHiddenDim = 512;

TinyShape shape_of(const char* family) {
    TinyShape shape;
    shape.family = family;
    shape.type = powerinfer::DType::q4_0;
    shape.is_sparse = true;
    shape.dim = 256;
    shape.hidden_dim = kHiddenDim;
    shape.rank = 256;
    return shape;
}

using Counts = std::vector<std::vector<uint64_t>>; // (n_layers, hidden_dim)

Counts neuron_counts(const pi_context* context) {
    Counts counts;
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
        const uint64_t* row = nullptr;
        engine::check(pi_context_get_neuron_counts(context, layer, &row));
        counts.emplace_back(row, row + kHiddenDim);
    }
    return counts;
}

// Counts of kTokens, whose sums are those of the layers' other counters.
Counts counts_of(const pi_model* model, engine::Options options) {
    options.count_neurons = 1;
    const engine::Context context = engine::context(model, options);
    engine::batch_logits(context.get(), model, kTokens);
    const Counts counts = neuron_counts(context.get());
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
        pi_layer_stats stats;
        stats.struct_size = sizeof stats;
        engine::check(pi_context_get_layer_stats(context.get(), layer, &stats));
        uint64_t sum = 0;
        for (const uint64_t count : counts[layer]) {
            CHECK(count <= kTokens.size());
            sum += count;
        }
        CHECK_EQ(sum, stats.neurons_active);
        CHECK(sum > 0);
    }
    return counts;
}

void neuron_counts_are_the_same_for_any_threads_batches_and_lists() {
    for (const char* family : {"llama", "bamboo", "falcon", "opt"}) {
        for (const pi_strategy strategy : {PI_STRATEGY_EXACT, PI_STRATEGY_PREDICTOR}) {
            const engine::File file = file_of(shape_of(family));
            const engine::Model model = engine::load(file.get(), strategy);
            const Counts wanted = counts_of(model.get(), {});
            for (const uint32_t n_threads : {1U, 2U, 3U, 7U}) {
                for (const uint32_t n_batch : {1U, 3U, 512U}) {
                    const engine::Options options{.n_threads = n_threads, .n_batch = n_batch};
                    CHECK_MSG(
                        counts_of(model.get(), options) == wanted,
                        "%s, %u threads, batches of %u",
                        family,
                        n_threads,
                        n_batch
                    );
                }
            }
            if (strategy == PI_STRATEGY_EXACT) {
                const engine::Model dense = engine::load(file.get(), PI_STRATEGY_DENSE);
                CHECK_MSG(counts_of(dense.get(), {}) == wanted, "%s", family);
            }
        }
    }
}

// The counter of a layer says how many neurons a token needed; its steps are recounted here.
void neuron_counts_grow_by_what_each_token_needed() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Model model = engine::load(file.get(), PI_STRATEGY_EXACT);
    const engine::Context context = engine::context(model.get(), {.count_neurons = 1});
    Counts before(kLayers, std::vector<uint64_t>(kHiddenDim));
    CHECK(neuron_counts(context.get()) == before);
    for (const int32_t token : kTokens) {
        engine::batch_logits(context.get(), model.get(), {token});
        const Counts now = neuron_counts(context.get());
        for (uint32_t layer = 0; layer < kLayers; ++layer) {
            for (size_t i = 0; i < kHiddenDim; ++i) {
                CHECK(now[layer][i] - before[layer][i] <= 1);
            }
        }
        before = now;
    }
    CHECK(before == counts_of(model.get(), {}));
    pi_context_reset_stats(context.get());
    CHECK(neuron_counts(context.get()) == Counts(kLayers, std::vector<uint64_t>(kHiddenDim)));
    engine::check(pi_context_sequence_truncate(context.get(), 0, 0));
    engine::batch_logits(context.get(), model.get(), kTokens);
    CHECK(neuron_counts(context.get()) == before);
}

void neuron_counts_that_nobody_asked_for_are_refused() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Model model = engine::load(file.get());
    const engine::Context bare = engine::context(model.get());
    const engine::Context counting = engine::context(model.get(), {.count_neurons = 1});
    const uint64_t* row = nullptr;
    CHECK_ERROR(
        invalid_argument,
        "make it with count_neurons = 1",
        engine::check(pi_context_get_neuron_counts(bare.get(), 0, &row))
    );
    CHECK_ERROR(
        invalid_argument,
        "layer: want below 2, got 2",
        engine::check(pi_context_get_neuron_counts(counting.get(), kLayers, &row))
    );
    CHECK(row == nullptr);
    pi_stats stats[2];
    for (pi_stats& one : stats) {
        one.struct_size = sizeof one;
    }
    pi_context_get_stats(bare.get(), &stats[0]);
    pi_context_get_stats(counting.get(), &stats[1]);
    CHECK_EQ(stats[1].scratch_bytes - stats[0].scratch_bytes, uint64_t{kLayers} * kHiddenDim * 8);
}

} // namespace

int main() {
    CHECK_RUN(neuron_counts_are_the_same_for_any_threads_batches_and_lists);
    CHECK_RUN(neuron_counts_grow_by_what_each_token_needed);
    CHECK_RUN(neuron_counts_that_nobody_asked_for_are_refused);
    return check::finish();
}
