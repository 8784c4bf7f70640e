// Sequences of a context: their pages, forks, limits and what errors leave behind.
#include "check.h"
#include "tiny_engine.h"

#include <algorithm>
#include <map>

using engine::file_of;
using engine::kTokens;
using test::TinyShape;

namespace {

void forked_sequence_continues_like_its_source() {
    const engine::File file = file_of(TinyShape{.n_ctx = 200});
    const engine::Model model = engine::load(file.get());
    std::vector<int32_t> prompt;
    for (int i = 0; i < 45; ++i) { // ends within a page
        prompt.push_back(i * 11 % 40);
    }
    const engine::Context whole = engine::context(model.get());
    engine::batch_logits(whole.get(), model.get(), prompt);
    const auto wanted = engine::decode_logits(whole.get(), model.get(), {3, 4});

    const engine::Context context = engine::context(model.get(), {.n_sequences = 3});
    engine::batch_logits(context.get(), model.get(), prompt);
    engine::check(pi_context_sequence_fork(context.get(), 0, 1, 45));
    engine::check(pi_context_sequence_fork(context.get(), 0, 2, 40));
    CHECK_EQ(engine::length(context.get(), 2), 40U);
    engine::Batch other; // writes into the page that all three share
    other.add(30, 40, 2);
    other.add(31, 45, 0);
    other.decode(context.get());
    engine::Batch batch;
    batch.add(3, 45, 1);
    batch.add(4, 46, 1);
    batch.decode(context.get());
    std::vector<float> logits;
    engine::append_logits(logits, context.get(), 0, 40);
    engine::append_logits(logits, context.get(), 1, 40);
    CHECK(logits == wanted);

    engine::check(pi_context_sequence_truncate(context.get(), 0, 0));
    engine::check(pi_context_sequence_truncate(context.get(), 1, 45));
    engine::check(pi_context_sequence_fork(context.get(), 1, 0, 45));
    CHECK(engine::decode_logits(context.get(), model.get(), {3, 4}) == wanted);
}

void full_context_is_an_error_and_changes_nothing() {
    const engine::File file = file_of(TinyShape{});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.n_ctx = 12});
    engine::batch_logits(context.get(), model.get(), kTokens);
    CHECK_ERROR(
        context_full, "context is full", engine::batch_logits(context.get(), model.get(), {1, 2, 3})
    );
    CHECK_EQ(engine::length(context.get()), 10U);
    const auto logits = engine::decode_logits(context.get(), model.get(), {1, 2});
    const engine::Context large = engine::context(model.get());
    engine::batch_logits(large.get(), model.get(), kTokens);
    CHECK(logits == engine::decode_logits(large.get(), model.get(), {1, 2}));
}

void pages_return_to_the_pool() {
    const engine::File file = file_of(TinyShape{});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.n_sequences = 2});
    const uint32_t room = pi_context_room(context.get());
    for (int round = 0; round < 20; ++round) {
        engine::batch_logits(context.get(), model.get(), kTokens);
        engine::check(pi_context_sequence_fork(context.get(), 0, 1, 7));
        engine::Batch batch;
        batch.add(1, 7, 1);
        batch.decode(context.get());
        engine::check(pi_context_sequence_truncate(context.get(), 0, 0));
        engine::check(pi_context_sequence_truncate(context.get(), 1, 0));
        CHECK_EQ(pi_context_room(context.get()), room);
    }
}

void bad_batches_are_refused() {
    const engine::File file = file_of(TinyShape{});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get());
    const auto decode = [&](int32_t token, uint32_t position, int32_t sequence, pi_output output) {
        engine::Batch batch;
        batch.add(token, position, sequence, output);
        batch.decode(context.get());
    };
    CHECK_ERROR(invalid_argument, "id from 0 to 39, got 40", decode(40, 0, 0, 1));
    CHECK_ERROR(invalid_argument, "got -1", decode(-1, 0, 0, 1));
    CHECK_ERROR(invalid_argument, "next position of sequence 0 is 0, got 1", decode(1, 1, 0, 1));
    CHECK_ERROR(invalid_argument, "sequence: want 0 to 0, got 1", decode(1, 0, 1, 1));
    CHECK_ERROR(invalid_argument, "outputs want bits", decode(1, 0, 0, 4));
    CHECK_ERROR(invalid_argument, "at least one token", engine::Batch().decode(context.get()));
    decode(1, 0, 0, PI_OUTPUT_HIDDEN);
    const float* row = nullptr;
    CHECK_ERROR(
        invalid_argument,
        "not asked for",
        engine::check(pi_context_get_logits(context.get(), 0, &row))
    );
    engine::check(pi_context_get_hidden(context.get(), 0, &row));
    CHECK(row != nullptr && std::isfinite(row[0]));
}

void bad_context_options_are_refused() {
    const engine::File file = file_of(TinyShape{.family = "opt"});
    const engine::Model model = engine::load(file.get());
    CHECK_ERROR(invalid_argument, "n_sequences", engine::context(model.get(), {.n_sequences = 0}));
    CHECK_ERROR(invalid_argument, "n_batch", engine::context(model.get(), {.n_batch = 0}));
    CHECK_ERROR(invalid_argument, "n_threads", engine::context(model.get(), {.n_threads = 5000}));
    CHECK_ERROR(invalid_argument, "kv_dtype", engine::context(model.get(), {.kv_dtype = 2}));
    CHECK_ERROR(invalid_argument, "position table", engine::context(model.get(), {.n_ctx = 65}));
}

// opt reads positions from a table: it bounds each sequence, not all of them together.
void a_position_table_bounds_each_sequence() {
    const engine::File file = file_of(TinyShape{.family = "opt", .n_ctx = 40});
    const engine::Model model = engine::load(file.get());
    CHECK_ERROR(
        invalid_argument,
        "position table",
        engine::context(model.get(), {.n_sequences = 2, .n_ctx = 81})
    );
    const engine::Context context =
        engine::context(model.get(), {.n_sequences = 2, .n_ctx = 80, .n_batch = 16});
    const std::vector<int32_t> full(40, 7);
    const engine::Context alone = engine::context(model.get());
    const auto wanted = engine::batch_logits(alone.get(), model.get(), full);
    for (int32_t sequence = 0; sequence < 2; ++sequence) {
        engine::Batch batch;
        for (uint32_t i = 0; i < 40; ++i) {
            batch.add(7, i, sequence);
        }
        batch.decode(context.get());
        std::vector<float> logits;
        for (uint32_t i = 0; i < 40; ++i) {
            engine::append_logits(logits, context.get(), i, 40);
        }
        CHECK(logits == wanted);
    }
    engine::Batch more;
    more.add(7, 40, 1);
    CHECK_ERROR(context_full, "ends at 40 tokens", more.decode(context.get()));
    CHECK_EQ(engine::length(context.get(), 1), 40U);
}

void a_batch_that_fits_in_part_is_refused_whole() {
    const engine::File file = file_of(TinyShape{});
    const engine::Model model = engine::load(file.get());
    const engine::Context context = engine::context(model.get(), {.n_sequences = 3, .n_ctx = 64});
    const uint32_t room = pi_context_room(context.get()); // 128: two more pages for two sequences
    engine::Batch batch;                                  // sequences 0 and 1 fit, 2 does not
    for (const int32_t sequence : {0, 1, 2}) {
        for (uint32_t i = 0; i < 60; ++i) {
            batch.add(5, i, sequence);
        }
    }
    CHECK_ERROR(context_full, "sequence 2 needs 2 more pages", batch.decode(context.get()));
    for (const uint32_t sequence : {0U, 1U, 2U}) {
        CHECK_EQ(engine::length(context.get(), sequence), 0U);
    }
    CHECK_EQ(pi_context_room(context.get()), room);
    const float* row = nullptr;
    CHECK_ERROR(
        invalid_argument,
        "not asked for",
        engine::check(pi_context_get_logits(context.get(), 0, &row))
    );
}

// A context, and beside it the tokens that each of its sequences should hold.
class Walk {
public:
    explicit Walk(const pi_model* model)
        : model_(model),
          context_(
              engine::context(model, {.n_sequences = kSequences, .n_ctx = kContext, .n_batch = 9})
          ),
          room_(pi_context_room(context_.get())) {}

    void step() {
        const uint32_t sequence = random(kSequences);
        switch (random(12)) {
        case 0:
            truncate(sequence, random(length(sequence) + 1));
            break;
        case 1:
            truncate(sequence, 0);
            break;
        case 2:
        case 3:
            fork(sequence, random(kSequences));
            break;
        default:
            append(sequence, random(kSequences));
        }
        for (uint32_t s = 0; s < kSequences; ++s) {
            CHECK_EQ(engine::length(context_.get(), s), length(s));
        }
    }

    void end() {
        for (uint32_t s = 0; s < kSequences; ++s) {
            truncate(s, 0);
        }
        CHECK_EQ(pi_context_room(context_.get()), room_);
        CHECK_MSG(
            n_decoded > 100 && n_full > 10 && n_forked > 10,
            "%d decodes, %d of a full context, %d forks",
            n_decoded,
            n_full,
            n_forked
        );
    }

    int n_decoded = 0;
    int n_full = 0;
    int n_forked = 0;

private:
    static constexpr uint32_t kSequences = 4;
    static constexpr uint32_t kContext = 100;

    uint32_t random(uint32_t n) {
        state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
        return static_cast<uint32_t>((state_ >> 33) % n);
    }

    uint32_t length(uint32_t s) const { return static_cast<uint32_t>(held_[s].size()); }

    void truncate(uint32_t s, uint32_t n) {
        engine::check(pi_context_sequence_truncate(context_.get(), s, n));
        held_[s].resize(n);
    }

    void fork(uint32_t source, uint32_t target) {
        const uint32_t n = random(length(source) + 1);
        pi_error* error = pi_context_sequence_fork(context_.get(), source, target, n);
        const bool is_possible = source != target && held_[target].empty();
        CHECK_EQ(error == nullptr, is_possible);
        pi_error_free(error);
        if (is_possible) {
            held_[target].assign(held_[source].begin(), held_[source].begin() + n);
            n_forked += n > 0 ? 1 : 0;
        }
    }

    // Up to 19 tokens for each of two sequences; now and then the decode is cancelled.
    void append(uint32_t a, uint32_t b) {
        auto wanted = held_;
        engine::Batch batch;
        for (const uint32_t s : {a, b}) {
            for (uint32_t n = random(20); n > 0; --n) {
                const auto token = static_cast<int32_t>(random(40));
                batch.add(token, static_cast<uint32_t>(wanted[s].size()), static_cast<int32_t>(s));
                wanted[s].push_back(token);
            }
        }
        if (batch.tokens.empty()) {
            return;
        }
        const bool is_cancelled = random(6) == 0;
        if (is_cancelled) {
            pi_context_cancel(context_.get());
        }
        pi_error* error = batch.try_decode(context_.get());
        pi_context_clear_cancel(context_.get());
        if (error != nullptr) {
            const bool is_full = pi_error_get_kind(error) == PI_ERROR_CONTEXT_FULL;
            CHECK(is_full || (is_cancelled && pi_error_get_kind(error) == PI_ERROR_CANCELLED));
            n_full += is_full ? 1 : 0;
            pi_error_free(error);
            return;
        }
        CHECK(!is_cancelled);
        held_ = wanted;
        ++n_decoded;
        compare(batch);
    }

    // The last logits of every sequence of the batch with those of the same tokens alone.
    void compare(const engine::Batch& batch) {
        std::map<int32_t, uint32_t> last;
        for (uint32_t i = 0; i < batch.tokens.size(); ++i) {
            last[batch.sequences[i]] = i;
        }
        for (const auto& [sequence, i] : last) {
            std::vector<float> logits;
            engine::append_logits(logits, context_.get(), i, 40);
            const auto& tokens = held_[static_cast<size_t>(sequence)];
            const engine::Context alone = engine::context(model_, {.n_ctx = kContext});
            const auto all = engine::batch_logits(alone.get(), model_, tokens);
            CHECK_MSG(
                std::equal(logits.begin(), logits.end(), all.end() - 40),
                "sequence %d of %zu tokens",
                sequence,
                tokens.size()
            );
        }
    }

    const pi_model* model_;
    engine::Context context_;
    uint32_t room_;
    uint64_t state_ = 7;
    std::vector<std::vector<int32_t>> held_{kSequences};
};

void any_order_of_appends_forks_and_cuts_keeps_every_sequence() {
    const engine::File file = file_of(TinyShape{.n_ctx = 100});
    const engine::Model model = engine::load(file.get());
    Walk walk(model.get());
    for (int i = 0; i < 600; ++i) {
        walk.step();
    }
    walk.end();
}

} // namespace

int main() {
    CHECK_RUN(forked_sequence_continues_like_its_source);
    CHECK_RUN(full_context_is_an_error_and_changes_nothing);
    CHECK_RUN(pages_return_to_the_pool);
    CHECK_RUN(bad_batches_are_refused);
    CHECK_RUN(bad_context_options_are_refused);
    CHECK_RUN(a_position_table_bounds_each_sequence);
    CHECK_RUN(a_batch_that_fits_in_part_is_refused_whole);
    CHECK_RUN(any_order_of_appends_forks_and_cuts_keeps_every_sequence);
    return check::finish();
}
