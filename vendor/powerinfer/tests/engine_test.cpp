// The engine through its C interface, on random models: the same bits for any strategy that reads
// the same neurons, any number of threads and any company in a batch; cancelling; errors.
#include "check.h"
#include "tiny_engine.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

using engine::file_of;
using engine::kTokens;
using engine::run;
using powerinfer::DType;
using test::TinyModel;
using test::TinyShape;

namespace {

constexpr const char* kFamilies[] = {"llama", "bamboo", "falcon", "opt"};
// Shapes whose rows are whole blocks of every type.
TinyShape wide(const char* family, DType type, bool is_sparse = true) {
    TinyShape shape;
    shape.family = family;
    shape.type = type;
    shape.is_sparse = is_sparse;
    shape.dim = 256;
    shape.hidden_dim = 512;
    shape.rank = 256;
    return shape;
}

bool all_finite(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

void every_family_and_type_runs_the_same_one_by_one_and_as_a_batch() {
    for (const char* family : kFamilies) {
        for (const DType type : powerinfer::kWeightTypes) {
            for (const bool is_sparse : {true, false}) {
                const engine::File file = file_of(wide(family, type, is_sparse));
                const engine::Model model = engine::load(file.get());
                const engine::Context context = engine::context(model.get());
                const auto one = engine::decode_logits(context.get(), model.get(), kTokens);
                const auto batch = run(model.get());
                CHECK_MSG(
                    one == batch, "%s %s %d", family, dtype_info(type).name, is_sparse ? 1 : 0
                );
                CHECK(all_finite(batch));
            }
        }
    }
}

void exact_equals_dense_bit_for_bit() {
    for (const char* family : kFamilies) {
        for (const DType type : powerinfer::kWeightTypes) {
            for (const bool is_sparse : {true, false}) {
                const engine::File file = file_of(wide(family, type, is_sparse));
                const bool is_silu = !is_sparse && std::string_view(family) == "llama";
                if (is_silu) {
                    CHECK_ERROR(
                        unsupported,
                        "exact needs an activation with exact zeros",
                        engine::load(file.get(), PI_STRATEGY_EXACT)
                    );
                    continue;
                }
                const auto dense = run(engine::load(file.get(), PI_STRATEGY_DENSE).get());
                const auto exact = run(engine::load(file.get(), PI_STRATEGY_EXACT).get());
                CHECK_MSG(dense == exact, "%s %s", family, dtype_info(type).name);
            }
        }
    }
}

void a_predictor_that_selects_everything_equals_dense() {
    for (const char* family : kFamilies) {
        const engine::File file = file_of(wide(family, DType::q4_0));
        pi_model_options options;
        pi_model_options_init(&options);
        options.sparse_threshold = -1e30F;
        pi_model* loaded = nullptr;
        engine::check(pi_model_load(file.get(), &options, &loaded));
        const engine::Model predictor(loaded);
        CHECK_EQ(engine::info(loaded).strategy, PI_STRATEGY_PREDICTOR);
        const engine::Model dense = engine::load(file.get(), PI_STRATEGY_DENSE);
        CHECK_MSG(run(loaded) == run(dense.get()), "%s", family);
    }
}

void a_threshold_that_nothing_reads_is_refused() {
    const engine::File file = file_of(TinyShape{});
    pi_model_options options;
    pi_model_options_init(&options);
    options.sparse_threshold = 0.5F;
    pi_model* model = nullptr;
    for (const pi_strategy strategy : {PI_STRATEGY_DENSE, PI_STRATEGY_EXACT}) {
        options.strategy = strategy;
        CHECK_ERROR(
            invalid_argument,
            "is for the strategies predictor and auto",
            engine::check(pi_model_load(file.get(), &options, &model))
        );
    }
    options.strategy = PI_STRATEGY_DEFAULT;
    const engine::File bare = file_of(TinyShape{.has_predictor = false});
    CHECK_ERROR(
        invalid_argument,
        "this load takes exact",
        engine::check(pi_model_load(bare.get(), &options, &model))
    );
    CHECK(model == nullptr);
}

void any_number_of_threads_gives_the_same_bits() {
    for (const char* family : kFamilies) {
        for (const DType type : {DType::f16, DType::q4_0}) {
            TinyShape shape = wide(family, type);
            shape.dim = 512;   // several column ranges
            shape.n_heads = 8; // four to a head of keys and values
            const engine::File file = file_of(shape);
            for (const pi_strategy strategy : {PI_STRATEGY_EXACT, PI_STRATEGY_PREDICTOR}) {
                const engine::Model model = engine::load(file.get(), strategy);
                for (const uint32_t bits : {16U, 8U}) {
                    const auto wanted = run(model.get(), {.activation_bits = bits});
                    // All tokens at once, and with more threads than one token has heads.
                    for (const auto& [n_threads, n_batch] : {
                             std::pair{2U, 512U},
                             std::pair{3U, 512U},
                             std::pair{7U, 512U},
                             std::pair{7U, 1U},
                         }) {
                        const engine::Options options{
                            .n_threads = n_threads, .n_batch = n_batch, .activation_bits = bits
                        };
                        CHECK_MSG(
                            run(model.get(), options) == wanted,
                            "%s, %u bits, %u threads, batches of %u",
                            family,
                            bits,
                            n_threads,
                            n_batch
                        );
                    }
                }
            }
        }
    }
}

void company_in_a_batch_changes_no_bit() {
    for (const char* family : kFamilies) {
        const engine::File file = file_of(wide(family, DType::q4_0));
        const engine::Model model = engine::load(file.get());
        const auto alone = run(model.get());
        const engine::Context context = engine::context(
            model.get(), {.n_threads = 2, .n_sequences = 6, .n_ctx = 64, .n_batch = 7}
        );
        engine::Batch batch; // interleaved, and cut into pieces that split every sequence
        std::vector<uint32_t> ours;
        for (uint32_t i = 0; i < kTokens.size(); ++i) {
            for (int32_t sequence = 0; sequence < 6; ++sequence) {
                const int32_t token = sequence == 3 ? kTokens[i] : (kTokens[i] * 7 + sequence) % 40;
                if (sequence == 3) {
                    ours.push_back(static_cast<uint32_t>(batch.tokens.size()));
                }
                batch.add(token, i, sequence);
            }
        }
        batch.decode(context.get());
        std::vector<float> logits;
        for (const uint32_t i : ours) {
            engine::append_logits(logits, context.get(), i, engine::info(model.get()).vocab_size);
        }
        CHECK_MSG(logits == alone, "%s", family);
    }
}

void chunks_of_a_prompt_change_no_bit() {
    const engine::File file = file_of(wide("llama", DType::q4_0));
    const engine::Model model = engine::load(file.get());
    const auto wanted = run(model.get());
    for (const uint32_t n_batch : {1U, 2U, 3U, 9U}) {
        CHECK_MSG(run(model.get(), {.n_batch = n_batch}) == wanted, "n_batch %u", n_batch);
    }
}

void sparse_file_without_predictor_runs_exact() {
    TinyShape shape;
    shape.has_predictor = false;
    const engine::File file = file_of(shape);
    CHECK_EQ(engine::info(engine::load(file.get()).get()).strategy, PI_STRATEGY_EXACT);
    CHECK_ERROR(unsupported, "this file has none", engine::load(file.get(), PI_STRATEGY_PREDICTOR));
}

void fatrelu_threshold_of_the_file_is_used() {
    const auto logits_with = [](float threshold) {
        TinyModel tiny{TinyShape{.has_predictor = false}};
        tiny.writer().add("powerinfer.fatrelu_threshold", powerinfer::MetaType::f32, threshold);
        const engine::File file = file_of(tiny.build());
        const engine::Model model = engine::load(file.get());
        const bool is_fat = std::string_view(engine::info(model.get()).activation) == "fatrelu";
        CHECK_EQ(is_fat, threshold > 0.0F);
        return run(model.get());
    };
    const auto plain = run(engine::load(file_of(TinyShape{.has_predictor = false}).get()).get());
    CHECK(logits_with(0.0F) == plain);
    CHECK(logits_with(0.5F) != plain);
    CHECK(logits_with(1e9F) != logits_with(0.5F));
}

void cancel_stops_and_leaves_the_context_usable() {
    const engine::File file = file_of(TinyShape{});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.n_threads = 2});
    pi_context_cancel(context.get());
    CHECK_ERROR(cancelled, "cancelled", engine::batch_logits(context.get(), model.get(), kTokens));
    CHECK_EQ(engine::length(context.get()), 0U);
    pi_context_clear_cancel(context.get());
    CHECK(engine::batch_logits(context.get(), model.get(), kTokens) == run(model.get()));
}

void cancel_from_another_thread_is_seen() {
    const engine::File file = file_of(TinyShape{.n_ctx = 4096});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.n_threads = 2});
    std::atomic<bool> has_begun{false};
    std::thread other([&] {
        has_begun.wait(false);
        pi_context_cancel(context.get());
    });
    bool was_cancelled = false;
    while (!was_cancelled) { // ends: the flag stays set
        engine::Batch batch;
        const uint32_t n = engine::length(context.get());
        batch.add(1, n == 4096 ? 0 : n);
        if (n == 4096) {
            engine::check(pi_context_sequence_truncate(context.get(), 0, 0));
        }
        pi_error* error = batch.try_decode(context.get());
        was_cancelled = error != nullptr && pi_error_get_kind(error) == PI_ERROR_CANCELLED;
        CHECK(error == nullptr || was_cancelled);
        pi_error_free(error);
        has_begun.store(true);
        has_begun.notify_one();
    }
    other.join();
}

void two_contexts_of_one_model_run_at_once() {
    const engine::File file = file_of(wide("llama", DType::q4_0));
    const engine::Model model = engine::load(file.get());
    const auto wanted = run(model.get());
    std::vector<float> results[2];
    std::thread threads[2];
    for (int i = 0; i < 2; ++i) {
        threads[i] = std::thread([&, i] { results[i] = run(model.get(), {.n_threads = 2}); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(results[0] == wanted);
    CHECK(results[1] == wanted);
}

void handles_may_be_freed_in_any_order() {
    engine::File file = file_of(TinyShape{});
    engine::Model model = engine::load(file.get());
    const auto wanted = run(model.get());
    const engine::Context context = engine::context(model.get());
    const pi_model_info info = engine::info(model.get());
    file.reset();
    pi_model* raw = model.release();
    pi_model_free(raw);
    engine::Batch batch;
    for (uint32_t i = 0; i < kTokens.size(); ++i) {
        batch.add(kTokens[i], i);
    }
    batch.decode(context.get());
    std::vector<float> logits;
    for (uint32_t i = 0; i < kTokens.size(); ++i) {
        engine::append_logits(logits, context.get(), i, info.vocab_size);
    }
    CHECK(logits == wanted);
}

void counters_count() {
    const engine::File file = file_of(wide("llama", DType::q4_0));
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.audit = 1});
    engine::decode_logits(context.get(), model.get(), kTokens);
    pi_stats stats;
    stats.struct_size = sizeof stats;
    pi_context_get_stats(context.get(), &stats);
    CHECK_EQ(stats.n_tokens, kTokens.size());
    CHECK_EQ(stats.n_decode_calls, kTokens.size());
    CHECK_EQ(stats.neurons_total, kTokens.size() * 2 * 512);
    CHECK(stats.neurons_candidate < stats.neurons_total);
    CHECK(stats.neurons_active < stats.neurons_candidate && stats.neurons_active > 0);
    CHECK(stats.audit_active > stats.neurons_active);
    // A random predictor misses what it does not select; up values are never exactly zero.
    CHECK_EQ(stats.audit_active - stats.audit_missed, stats.neurons_active);
    CHECK(stats.weight_bytes_read > 0 && stats.kv_bytes_read > 0);
    pi_layer_stats layer;
    layer.struct_size = sizeof layer;
    engine::check(pi_context_get_layer_stats(context.get(), 1, &layer));
    CHECK_EQ(layer.neurons_total, kTokens.size() * 512);
    CHECK_ERROR(
        invalid_argument,
        "layer",
        engine::check(pi_context_get_layer_stats(context.get(), 2, &layer))
    );
    pi_context_reset_stats(context.get());
    pi_context_get_stats(context.get(), &stats);
    CHECK_EQ(stats.n_tokens, 0U);
}

// A row that several tokens of a batch need is read once, whoever lists it.
void a_batch_reads_a_row_once() {
    const engine::File file = file_of(wide("llama", DType::q4_0));
    const engine::Model model = engine::load(file.get());
    const auto bytes_of = [&](const std::vector<std::vector<int32_t>>& steps) {
        const engine::Context context = engine::context(model.get());
        uint64_t most = 0;
        uint64_t sum = 0;
        for (const std::vector<int32_t>& tokens : steps) {
            pi_context_reset_stats(context.get());
            engine::batch_logits(context.get(), model.get(), tokens);
            pi_stats stats;
            stats.struct_size = sizeof stats;
            pi_context_get_stats(context.get(), &stats);
            most = std::max(most, stats.weight_bytes_read);
            sum += stats.weight_bytes_read;
        }
        return std::pair(most, sum);
    };
    std::vector<std::vector<int32_t>> one_by_one;
    for (const int32_t token : kTokens) {
        one_by_one.push_back({token});
    }
    const auto [most, sum] = bytes_of(one_by_one);
    const auto [batch, same] = bytes_of({kTokens});
    CHECK_EQ(batch, same);
    CHECK(most < batch && batch < sum);
}

// A model whose metadata or tensors contradict each other, after one edit.
template <typename Edit>
void check_refused(powerinfer::ErrorKind kind, const char* part, Edit&& edit) {
    TinyModel tiny{TinyShape{}};
    edit(tiny.writer());
    const engine::File file = file_of(tiny.build());
    check::expect_error(__FILE__, __LINE__, part, kind, part, [&] { engine::load(file.get()); });
}

void wrong_models_are_refused_by_name() {
    using powerinfer::ErrorKind;
    using powerinfer::MetaType;
    const auto find = [](test::GgufWriter& writer, std::string_view name) {
        return std::find_if(writer.tensors.begin(), writer.tensors.end(), [&](const auto& tensor) {
            return tensor.name == name;
        });
    };
    check_refused(ErrorKind::format, "tensor blk.1.ffn_up.weight is missing", [&](auto& writer) {
        writer.tensors.erase(find(writer, "blk.1.ffn_up.weight"));
    });
    check_refused(
        ErrorKind::format,
        "tensor blk.0.ffn_up.weight: want shape (96, 64), file has (64, 96)",
        [&](auto& writer) {
            std::swap(
                find(writer, "blk.0.ffn_up.weight")->ne[0],
                find(writer, "blk.0.ffn_up.weight")->ne[1]
            );
        }
    );
    check_refused(ErrorKind::unsupported, "mixture of experts", [&](auto& writer) {
        writer.add_u32("llama.expert_count", 8);
    });
    check_refused(ErrorKind::unsupported, "want none, linear or yarn", [&](auto& writer) {
        writer.add_string("llama.rope.scaling.type", "longrope");
    });
    check_refused(ErrorKind::unsupported, "rotary embedding of 8 of 16", [&](auto& writer) {
        writer.add_u32("llama.rope.dimension_count", 8);
    });
    check_refused(ErrorKind::format, "the vocabulary 2 tokens", [&](auto& writer) {
        writer.add_strings("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
    });
    check_refused(ErrorKind::format, "fatrelu_threshold", [&](auto& writer) {
        writer.add("powerinfer.fatrelu_threshold", MetaType::f32, -1.0F);
    });
    const engine::File other = file_of(TinyShape{.family = "mamba"});
    CHECK_ERROR(
        unsupported, "\"mamba\" is not supported; this build knows llama", engine::load(other.get())
    );
}

} // namespace

int main() {
    CHECK_RUN(every_family_and_type_runs_the_same_one_by_one_and_as_a_batch);
    CHECK_RUN(exact_equals_dense_bit_for_bit);
    CHECK_RUN(a_predictor_that_selects_everything_equals_dense);
    CHECK_RUN(a_threshold_that_nothing_reads_is_refused);
    CHECK_RUN(any_number_of_threads_gives_the_same_bits);
    CHECK_RUN(company_in_a_batch_changes_no_bit);
    CHECK_RUN(chunks_of_a_prompt_change_no_bit);
    CHECK_RUN(sparse_file_without_predictor_runs_exact);
    CHECK_RUN(fatrelu_threshold_of_the_file_is_used);
    CHECK_RUN(cancel_stops_and_leaves_the_context_usable);
    CHECK_RUN(cancel_from_another_thread_is_seen);
    CHECK_RUN(two_contexts_of_one_model_run_at_once);
    CHECK_RUN(handles_may_be_freed_in_any_order);
    CHECK_RUN(counters_count);
    CHECK_RUN(a_batch_reads_a_row_once);
    CHECK_RUN(wrong_models_are_refused_by_name);
    return check::finish();
}
