// The engine with a part of the model on the device, on random models: the host's logits within
// rounding wherever the budget cuts, the same bits alone and in company, sequences, errors.
#include "check.h"
#include "on_device.h"
#include "test_device.h"
#include "tiny_engine.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

using engine::distance;
using engine::file_of;
using engine::kTokens;
using on_device::Budget;
using powerinfer::DType;
using test::TinyShape;

namespace {

constexpr const char* kFamilies[] = {"llama", "bamboo", "falcon", "opt"};
constexpr Budget kShared = {"40 % of the neurons", UINT32_MAX, UINT32_MAX, true, 0.4};
constexpr Budget kAll = {"everything", UINT32_MAX, UINT32_MAX, true, 1.0};

TinyShape shape_of(const char* family, DType type = DType::f32, bool is_sparse = true) {
    TinyShape shape;
    shape.family = family;
    shape.type = type;
    shape.is_sparse = is_sparse;
    if (type != DType::f32) {
        shape.dim = 256;
        shape.hidden_dim = 256;
        shape.rank = 256;
    }
    return shape;
}

// A model with a part on the device.
struct Loaded {
    engine::Placement placement;
    engine::Model model;

    Loaded(
        const pi_file* file,
        const Budget& budget,
        const engine::Options& options = {},
        pi_strategy strategy = PI_STRATEGY_DEFAULT
    )
        : placement(on_device::place(file, budget, options, strategy)),
          model(on_device::load(file, placement.get(), strategy)) {}
};

void every_family_is_that_of_the_host_at_any_budget() {
    for (const char* family : kFamilies) {
        for (const bool is_sparse : {true, false}) {
            const engine::File file = file_of(shape_of(family, DType::f32, is_sparse));
            const std::vector<float> wanted = engine::run(engine::load(file.get()).get());
            for (const Budget& budget : on_device::budgets()) {
                const Loaded loaded(file.get(), budget);
                const std::vector<float> batch = engine::run(loaded.model.get());
                const double error = distance(batch, wanted);
                CHECK_MSG(error < 2e-6, "%s %d, %s: %g", family, is_sparse, budget.name, error);
                const engine::Context one = engine::context(loaded.model.get());
                const std::vector<float> decode =
                    engine::decode_logits(one.get(), loaded.model.get(), kTokens);
                CHECK_MSG(decode == batch, "%s %d, %s", family, is_sparse, budget.name);
            }
        }
    }
}

void a_block_with_a_second_norm_is_that_of_the_host() {
    TinyShape shape = shape_of("falcon");
    shape.has_second_norm = true;
    const engine::File file = file_of(shape);
    const std::vector<float> wanted = engine::run(engine::load(file.get()).get());
    for (const Budget& budget : {kShared, kAll}) {
        const Loaded loaded(file.get(), budget);
        const double error = distance(engine::run(loaded.model.get()), wanted);
        CHECK_MSG(error < 2e-6, "%s: %g", budget.name, error);
    }
}

void every_type_is_that_of_the_host() {
    for (const DType type : powerinfer::kWeightTypes) {
        if (kIsSanitized && type != DType::f16 && type != DType::q5_0 && type != DType::q6_k) {
            continue; // the kernels of each have tests of their own
        }
        for (const bool is_sparse : {true, false}) {
            TinyShape shape = shape_of("bamboo", type, is_sparse);
            shape.seed = 2; // of models where no score is within rounding of the threshold
            const engine::File file = file_of(shape);
            const std::vector<float> wanted = engine::run(engine::load(file.get()).get());
            for (const uint32_t bits : {16U, 8U}) {
                const engine::Options options{.activation_bits = bits};
                const std::vector<float> host =
                    bits == 16 ? wanted : engine::run(engine::load(file.get()).get(), options);
                const Loaded loaded(file.get(), is_sparse ? kShared : kAll, options);
                const double error = distance(engine::run(loaded.model.get(), options), host);
                // A rounded activation may be a step off where the input is by its last bit.
                const double limit = bits == 16 ? 1e-4 : 2e-2;
                CHECK_MSG(error < limit, "%s %u bits: %g", dtype_info(type).name, bits, error);
            }
        }
    }
}

void every_strategy_is_that_of_the_host() {
    const engine::File file = file_of(shape_of("llama", DType::q4_0));
    for (const pi_strategy strategy :
         {PI_STRATEGY_DENSE, PI_STRATEGY_EXACT, PI_STRATEGY_PREDICTOR}) {
        const std::vector<float> wanted = engine::run(engine::load(file.get(), strategy).get());
        for (const Budget& budget : {kShared, kAll}) {
            const Loaded loaded(file.get(), budget, {}, strategy);
            const double error = distance(engine::run(loaded.model.get()), wanted);
            CHECK_MSG(error < 1e-4, "strategy %u, %s: %g", strategy, budget.name, error);
        }
    }
}

// Of the second token on, steps of one token are graphs.
void steps_may_change_their_size() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Options options{.n_ctx = 64};
    const Loaded loaded(file.get(), kShared, options);
    const auto logits = [&](const std::vector<size_t>& sizes) {
        const engine::Context context = engine::context(loaded.model.get(), options);
        std::vector<float> all;
        size_t at = 0;
        for (const size_t n : sizes) {
            std::vector<int32_t> tokens;
            for (size_t i = 0; i < n; ++i) {
                tokens.push_back(kTokens[at++ % kTokens.size()]);
            }
            const auto part = engine::batch_logits(context.get(), loaded.model.get(), tokens);
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    };
    const std::vector<float> wanted = logits(std::vector<size_t>(48, 1));
    CHECK(logits({48}) == wanted); // more than one step holds
    CHECK(logits({1, 1, 1, 5, 5, 5, 1, 1, 3, 3, 1, 1, 10, 10}) == wanted);
}

// Logits of n tokens, in batches of these sizes, the last one's again and again.
std::vector<float> logits_in_batches(
    const Loaded& loaded, const engine::Options& options, size_t n, const std::vector<size_t>& sizes
) {
    const engine::Context context = engine::context(loaded.model.get(), options);
    std::vector<float> all;
    for (size_t at = 0, batch = 0; at < n; ++batch) {
        const size_t end = std::min(n, at + sizes[std::min(batch, sizes.size() - 1)]);
        std::vector<int32_t> tokens;
        for (; at < end; ++at) {
            tokens.push_back(kTokens[at * at % kTokens.size()]);
        }
        const auto part = engine::batch_logits(context.get(), loaded.model.get(), tokens);
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

// What is whole on the device takes steps of up to 256 tokens: the same bits as of one token.
void long_steps_have_the_bits_of_short_ones() {
    constexpr size_t kPrompt = 100;
    for (const char* family : {"llama", "falcon"}) {
        for (const bool is_sparse : {true, false}) {
            if (kIsSanitized && is_sparse != (family == kFamilies[0])) {
                continue;
            }
            const engine::File file = file_of(shape_of(family, DType::q4_0, is_sparse));
            const engine::Options options{.n_ctx = 320, .count_neurons = 1};
            const Loaded loaded(file.get(), kAll, options);
            const std::vector<float> wanted =
                logits_in_batches(loaded, options, kPrompt, {1, 32, 3, 32});
            const auto check_cut = [&](const std::vector<size_t>& sizes) {
                CHECK_MSG(
                    logits_in_batches(loaded, options, kPrompt, sizes) == wanted,
                    "%s %d, first batch of %zu",
                    family,
                    is_sparse,
                    sizes.front()
                );
            };
            check_cut({kPrompt});
            check_cut({33, 67});
            check_cut({1, 65, 34});
        }
    }
}

// Where memory is short the step is, and nothing else.
void steps_are_as_long_as_memory_allows() {
    const engine::File file = file_of(shape_of("llama", DType::q4_0));
    const engine::Options options{.n_ctx = 320};
    pi_placement_options wanted = on_device::placement_options(options);
    const engine::Placement longest = on_device::place(file.get(), wanted);
    wanted.vram_budget = on_device::info(longest.get()).device_bytes;
    CHECK_EQ(
        on_device::info(on_device::place(file.get(), wanted).get()).reserve,
        on_device::info(longest.get()).reserve
    );
    wanted.vram_budget -= 1;
    const engine::Placement shorter = on_device::place(file.get(), wanted);
    CHECK(on_device::info(shorter.get()).reserve < on_device::info(longest.get()).reserve);
    CHECK_EQ(on_device::info(shorter.get()).n_neurons, on_device::info(longest.get()).n_neurons);
    const engine::Model with_long = on_device::load(file.get(), longest.get());
    const engine::Model with_short = on_device::load(file.get(), shorter.get());
    CHECK(
        engine::info(with_short.get()).device_bytes <= engine::info(with_long.get()).device_bytes
    );
    const auto run = [&](const pi_model* model) {
        const engine::Context context = engine::context(model, options);
        engine::Batch batch;
        for (uint32_t i = 0; i < 96; ++i) {
            batch.add(
                kTokens[i % kTokens.size()], i, 0, i == 95 ? PI_OUTPUT_LOGITS : PI_OUTPUT_NONE
            );
        }
        batch.decode(context.get());
        std::vector<float> logits;
        engine::append_logits(logits, context.get(), 95, engine::info(model).vocab_size);
        return std::pair(logits, on_device::stats(context.get()));
    };
    const auto [long_logits, long_stats] = run(with_long.get());
    const auto [short_logits, short_stats] = run(with_short.get());
    CHECK(long_logits == short_logits);
    CHECK_EQ(long_stats.neurons_active, short_stats.neurons_active);
    // Three short steps read what one long step reads once.
    CHECK(long_stats.device_bytes_read < short_stats.device_bytes_read);
}

void sequences_share_and_copy_pages() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Options options{.n_sequences = 3, .n_ctx = 64};
    const Loaded loaded(file.get(), kShared, options);
    const engine::Model host = engine::load(file.get());
    const auto run = [&](const pi_model* model) {
        const engine::Context context = engine::context(model, options);
        engine::Batch prompt;
        for (uint32_t i = 0; i < 35; ++i) { // a page and a part of one
            prompt.add(static_cast<int32_t>(i), i, 0, PI_OUTPUT_NONE);
        }
        prompt.decode(context.get());
        engine::check(pi_context_sequence_fork(context.get(), 0, 1, 34));
        engine::check(pi_context_sequence_fork(context.get(), 0, 2, 20));
        std::vector<float> all;
        for (uint32_t i = 0; i < 3; ++i) {
            engine::Batch batch; // each writes into a page that was shared
            batch.add(static_cast<int32_t>(7 + i), 35 + i, 0);
            batch.add(static_cast<int32_t>(3 + i), 34 + i, 1);
            batch.add(static_cast<int32_t>(11 + i), 20 + i, 2);
            batch.decode(context.get());
            for (uint32_t t = 0; t < 3; ++t) {
                engine::append_logits(all, context.get(), t, engine::info(model).vocab_size);
            }
        }
        engine::check(pi_context_sequence_truncate(context.get(), 1, 10));
        engine::Batch last;
        last.add(5, 10, 1);
        last.decode(context.get());
        engine::append_logits(all, context.get(), 0, engine::info(model).vocab_size);
        return all;
    };
    const double error = distance(run(loaded.model.get()), run(host.get()));
    CHECK_MSG(error < 2e-6, "%g", error);
}

void outputs_are_those_that_were_asked_for() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Model host = engine::load(file.get());
    const Loaded loaded(file.get(), kShared);
    const auto run = [&](const pi_model* model) {
        const engine::Context context = engine::context(model);
        engine::Batch batch;
        const pi_output outputs[] = {
            PI_OUTPUT_HIDDEN,
            PI_OUTPUT_NONE,
            PI_OUTPUT_HIDDEN | PI_OUTPUT_LOGITS,
            PI_OUTPUT_HIDDEN,
            PI_OUTPUT_LOGITS,
        };
        for (uint32_t i = 0; i < 5; ++i) {
            batch.add(kTokens[i], i, 0, outputs[i]);
        }
        batch.decode(context.get());
        std::vector<float> all;
        for (const uint32_t i : {0U, 2U, 3U}) {
            const float* hidden = nullptr;
            engine::check(pi_context_get_hidden(context.get(), i, &hidden));
            all.insert(all.end(), hidden, hidden + engine::info(model).dim);
        }
        for (const uint32_t i : {2U, 4U}) {
            engine::append_logits(all, context.get(), i, engine::info(model).vocab_size);
        }
        return all;
    };
    const double error = distance(run(loaded.model.get()), run(host.get()));
    CHECK_MSG(error < 2e-6, "%g", error);
}

void neurons_are_counted_on_both_sides() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Options options{.count_neurons = 1};
    const auto counts = [&](const pi_model* model, pi_stats& stats) {
        const engine::Context context = engine::context(model, options);
        engine::batch_logits(context.get(), model, kTokens);
        engine::decode_logits(context.get(), model, {3, 4});
        stats = on_device::stats(context.get());
        std::vector<uint64_t> all;
        for (uint32_t i = 0; i < engine::info(model).n_layers; ++i) {
            const uint64_t* fired = nullptr;
            engine::check(pi_context_get_neuron_counts(context.get(), i, &fired));
            all.insert(all.end(), fired, fired + engine::info(model).hidden_dim);
        }
        return all;
    };
    pi_stats wanted{};
    const engine::Model host = engine::load(file.get());
    const std::vector<uint64_t> fired = counts(host.get(), wanted);
    CHECK(wanted.neurons_active > 0);
    CHECK_EQ(wanted.device_bytes, uint64_t{0});
    for (const Budget& budget : on_device::budgets()) {
        const Loaded loaded(file.get(), budget, options);
        pi_stats stats{};
        CHECK_MSG(counts(loaded.model.get(), stats) == fired, "%s", budget.name);
        CHECK_EQ(stats.neurons_active, wanted.neurons_active);
        CHECK_EQ(stats.neurons_candidate, wanted.neurons_candidate);
        CHECK_EQ(stats.neurons_total, wanted.neurons_total);
        CHECK(stats.device_bytes > 0);
        CHECK(stats.bus_bytes > 0);
        CHECK_EQ(stats.device_neurons_active > 0, budget.neurons > 0.0);
        if (budget.neurons == 1.0) {
            CHECK_EQ(stats.device_neurons_active, stats.neurons_active);
            CHECK_EQ(stats.host_share_ns, uint64_t{0});
        } else {
            CHECK(stats.device_neurons_active < stats.neurons_active);
        }
    }
}

void bytes_read_are_those_of_the_host_in_sum() {
    const engine::File file = file_of(shape_of("llama"));
    const auto run = [&](const pi_model* model) {
        const engine::Context context = engine::context(model);
        engine::decode_logits(context.get(), model, kTokens);
        return on_device::stats(context.get());
    };
    const engine::Model host = engine::load(file.get());
    const pi_stats wanted = run(host.get());
    CHECK_EQ(wanted.device_bytes_read, uint64_t{0});
    for (const Budget& budget : on_device::budgets()) {
        const Loaded loaded(file.get(), budget);
        const pi_stats stats = run(loaded.model.get());
        CHECK_MSG(
            stats.weight_bytes_read + stats.device_bytes_read == wanted.weight_bytes_read,
            "%s: %llu and %llu, not %llu",
            budget.name,
            static_cast<unsigned long long>(stats.weight_bytes_read),
            static_cast<unsigned long long>(stats.device_bytes_read),
            static_cast<unsigned long long>(wanted.weight_bytes_read)
        );
        CHECK(stats.device_bytes_read > 0);
        CHECK_EQ(stats.kv_bytes_read, wanted.kv_bytes_read);
    }
}

void times_are_kept_if_they_are_wanted() {
    const engine::File file = file_of(shape_of("llama"));
    const auto run = [&](const pi_model* model, uint32_t time_device, pi_stats& stats) {
        const engine::Context context = engine::context(model, {.time_device = time_device});
        engine::batch_logits(context.get(), model, {7, 8, 9});
        const std::vector<float> logits = engine::decode_logits(context.get(), model, kTokens);
        stats = on_device::stats(context.get());
        return logits;
    };
    for (const Budget& budget : on_device::budgets()) {
        const Loaded loaded(file.get(), budget);
        pi_stats off{};
        pi_stats on{};
        CHECK(run(loaded.model.get(), 0, off) == run(loaded.model.get(), 1, on));
        CHECK_EQ(off.device_ns + off.device_share_ns + off.overlap_ns, uint64_t{0});
        CHECK(on.device_ns > on.device_share_ns);
        CHECK(on.overlap_ns <= on.device_share_ns && on.overlap_ns <= on.host_share_ns);
        CHECK_EQ(on.device_share_ns > 0, budget.neurons < 1.0);
    }
    const engine::Model host = engine::load(file.get());
    CHECK_ERROR(invalid_argument, "time_device", engine::context(host.get(), {.time_device = 1}));
}

// Of the neurons that fire, more and more are on the device, and the text does not notice.
void hot_neurons_move_to_the_device() {
    for (const char* family : {"llama", "opt"}) {
        for (const pi_strategy strategy : {PI_STRATEGY_EXACT, PI_STRATEGY_PREDICTOR}) {
            const engine::File file = file_of(shape_of(family));
            const engine::Options fixed{.n_ctx = 64};
            engine::Options adapting = fixed;
            adapting.adapt_every = 4;
            const auto run = [&](const pi_model* model, const engine::Options& options) {
                const engine::Context context = engine::context(model, options);
                std::vector<float> logits;
                for (int i = 0; i < 4; ++i) {
                    const auto more = engine::decode_logits(context.get(), model, kTokens);
                    logits.insert(logits.end(), more.begin(), more.end());
                }
                return std::pair(logits, on_device::stats(context.get()));
            };
            const engine::Model host = engine::load(file.get(), strategy);
            const auto [wanted, host_stats] = run(host.get(), fixed);
            const Budget quarter{"a quarter", UINT32_MAX, UINT32_MAX, true, 0.25};
            const Loaded loaded(file.get(), quarter, fixed, strategy);
            const auto [logits, stats] = run(loaded.model.get(), fixed);
            CHECK(distance(logits, wanted) < 2e-6);
            CHECK_EQ(stats.neurons_replaced, uint64_t{0});
            const auto [moved, moved_stats] = run(loaded.model.get(), adapting);
            const double error = distance(moved, wanted);
            CHECK_MSG(error < 2e-6, "%s, strategy %u: %g", family, strategy, error);
            CHECK(moved_stats.neurons_replaced > 0);
            CHECK_EQ(moved_stats.neurons_active, host_stats.neurons_active);
            CHECK_MSG(
                moved_stats.device_neurons_active > stats.device_neurons_active * 5 / 4,
                "%s, strategy %u: %llu and %llu of %llu",
                family,
                strategy,
                static_cast<unsigned long long>(stats.device_neurons_active),
                static_cast<unsigned long long>(moved_stats.device_neurons_active),
                static_cast<unsigned long long>(host_stats.neurons_active)
            );
            // The next context goes on with them.
            CHECK(distance(run(loaded.model.get(), adapting).first, wanted) < 2e-6);
        }
    }
    const engine::File file = file_of(shape_of("llama"));
    const engine::Model host = engine::load(file.get());
    CHECK_ERROR(invalid_argument, "adapt_every", engine::context(host.get(), {.adapt_every = 4}));
}

void a_cancelled_step_leaves_the_sequence_as_it_was() {
    const engine::File file = file_of(shape_of("llama"));
    const Loaded loaded(file.get(), kShared);
    const engine::Context context = engine::context(loaded.model.get());
    const auto before = engine::decode_logits(context.get(), loaded.model.get(), {1, 17, 5});
    pi_context_cancel(context.get());
    engine::Batch batch;
    batch.add(33, 3);
    pi_error* error = batch.try_decode(context.get());
    CHECK(error != nullptr && pi_error_get_kind(error) == PI_ERROR_CANCELLED);
    pi_error_free(error);
    CHECK_EQ(engine::length(context.get()), 3U);
    pi_context_clear_cancel(context.get());
    auto all = before;
    const auto after = engine::decode_logits(context.get(), loaded.model.get(), {33, 2});
    all.insert(all.end(), after.begin(), after.end());
    const engine::Model host = engine::load(file.get());
    const engine::Context wanted = engine::context(host.get());
    const double distance_to_host =
        distance(all, engine::decode_logits(wanted.get(), host.get(), {1, 17, 5, 33, 2}));
    CHECK_MSG(distance_to_host < 2e-6, "%g", distance_to_host);
}

void contexts_keep_to_what_was_planned() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Options options{.n_sequences = 2, .n_ctx = 48, .n_batch = 8, .kv_dtype = 1};
    const Loaded loaded(file.get(), kShared, options);
    const auto with = [&](engine::Options wanted) {
        return engine::context(loaded.model.get(), wanted);
    };
    CHECK_ERROR(
        invalid_argument, "n_ctx: the GPU's memory was planned for 48", with({.n_ctx = 49})
    );
    engine::Options more = options;
    more.n_sequences = 3;
    CHECK_ERROR(invalid_argument, "n_sequences", with(more));
    more = options;
    more.n_batch = 9;
    CHECK_ERROR(invalid_argument, "n_batch", with(more));
    more = options;
    more.kv_dtype = 0;
    CHECK_ERROR(invalid_argument, "kv_dtype: the GPU's memory was planned for f16", with(more));
    more = options;
    more.audit = 1;
    CHECK_ERROR(unsupported, "audit", with(more));
    {
        const engine::Context only = with(options);
        CHECK_ERROR(device, "planned for one context", with(options));
    }
    const engine::Context again =
        with({.n_sequences = 1, .n_ctx = 32, .n_batch = 4, .kv_dtype = 1});
    CHECK_EQ(engine::decode_logits(again.get(), loaded.model.get(), {1}).size(), size_t{40});
}

void models_are_refused_that_cannot_be_placed() {
    const engine::File file = file_of(shape_of("llama"));
    const engine::Placement plan = on_device::place(file.get(), kShared, {});
    CHECK_ERROR(
        unsupported, "strategy auto", on_device::load(file.get(), plan.get(), PI_STRATEGY_AUTO)
    );
    CHECK_ERROR(
        invalid_argument,
        "planned for the strategy predictor, and the model is loaded with exact",
        on_device::load(file.get(), plan.get(), PI_STRATEGY_EXACT)
    );
    TinyShape odd = shape_of("opt");
    odd.dim = 60;
    TinyShape wide = shape_of("llama");
    wide.dim = 1026;
    wide.n_heads = 1;
    wide.n_kv_heads = 1;
    for (const TinyShape& shape : {odd, wide}) {
        const engine::File heads = file_of(shape);
        CHECK_ERROR(
            unsupported,
            "an even number of at most 1024",
            on_device::load(heads.get(), on_device::place(heads.get(), kShared, {}).get())
        );
    }
    TinyShape other = shape_of("llama");
    other.seed = 2;
    CHECK_ERROR(
        invalid_argument,
        "planned for another file",
        on_device::load(file_of(other).get(), plan.get())
    );
    pi_placement_options options = on_device::placement_options({});
    options.vram_budget = on_device::info(plan.get()).reserve;
    const engine::Placement nothing = on_device::place(file.get(), options);
    CHECK_ERROR(
        out_of_memory, "nothing of the model fits", on_device::load(file.get(), nothing.get())
    );
}

void the_device_says_what_it_is() {
    pi_device_info info{};
    info.struct_size = sizeof info;
    engine::check(pi_device_get_info(0, &info));
    CHECK(info.n_devices >= 1);
    CHECK(info.free_bytes > 0 && info.free_bytes <= info.total_bytes);
    CHECK(info.name[0] != '\0' && info.api[0] != '\0');
    unsigned domain = 0, bus = 0, device = 0;
    CHECK_EQ(std::sscanf(info.pci_bus_id, "%8x:%2x:%2x.0", &domain, &bus, &device), 3);
    CHECK_EQ(std::string(info.pci_bus_id).size(), size_t{16});
    CHECK_ERROR(
        invalid_argument,
        "device: want below",
        engine::check(pi_device_get_info(info.n_devices, &info))
    );
    const engine::File file = file_of(shape_of("llama"));
    const Loaded loaded(file.get(), kShared);
    CHECK_EQ(std::string(engine::info(loaded.model.get()).device_name), std::string(info.name));
    CHECK(engine::info(loaded.model.get()).device_bytes > 0);
    CHECK_EQ(std::string(engine::info(engine::load(file.get()).get()).device_name), std::string());
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(every_family_is_that_of_the_host_at_any_budget);
    CHECK_RUN(a_block_with_a_second_norm_is_that_of_the_host);
    CHECK_RUN(every_type_is_that_of_the_host);
    CHECK_RUN(every_strategy_is_that_of_the_host);
    CHECK_RUN(steps_may_change_their_size);
    CHECK_RUN(long_steps_have_the_bits_of_short_ones);
    CHECK_RUN(steps_are_as_long_as_memory_allows);
    CHECK_RUN(sequences_share_and_copy_pages);
    CHECK_RUN(outputs_are_those_that_were_asked_for);
    CHECK_RUN(neurons_are_counted_on_both_sides);
    CHECK_RUN(bytes_read_are_those_of_the_host_in_sum);
    CHECK_RUN(times_are_kept_if_they_are_wanted);
    CHECK_RUN(hot_neurons_move_to_the_device);
    CHECK_RUN(a_cancelled_step_leaves_the_sequence_as_it_was);
    CHECK_RUN(contexts_keep_to_what_was_planned);
    CHECK_RUN(models_are_refused_that_cannot_be_placed);
    CHECK_RUN(the_device_says_what_it_is);
    return check::finish();
}
