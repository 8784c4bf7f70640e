// Damaged model files through the whole engine: every truncation of a small model is refused, and
// 100,000 mutations of its header are refused, or load and run. Meant for the address and
// undefined-behaviour sanitizers.
#include "check.h"
#include "engine.h"
#include "mutate.h"
#include "tiny_model.h"

using test::Bytes;
using test::Outcome;
using test::Random;
using test::Seed;
using test::TinyModel;
using test::TinyShape;

namespace {

constexpr int kMutations = 100'000;

// Loads and computes two tokens. Only kinds that blame the file may come out.
Outcome outcome_of(const Bytes& bytes) {
    try {
        pi_file* file = nullptr;
        engine::check(pi_file_from_bytes(bytes.data(), bytes.size(), &file));
        const engine::File owner(file);
        const engine::Model model = engine::load(file);
        const engine::Context context = engine::context(model.get(), {.n_ctx = 4});
        const auto logits = engine::batch_logits(context.get(), model.get(), {1, 0});
        return logits.empty() ? Outcome::broken : Outcome::accepted;
    } catch (const powerinfer::Error& error) {
        const bool blames_file = error.kind() == powerinfer::ErrorKind::format ||
                                 error.kind() == powerinfer::ErrorKind::unsupported ||
                                 error.kind() == powerinfer::ErrorKind::invalid_argument;
        return blames_file ? Outcome::refused : Outcome::broken;
    }
}

// 32-wide rows keep the file, and so the time of a run, small.
TinyShape smallest(const char* family, bool is_sparse) {
    TinyShape shape;
    shape.family = family;
    shape.is_sparse = is_sparse;
    shape.type = powerinfer::DType::q4_0;
    shape.dim = 32;
    shape.hidden_dim = 32;
    shape.n_layers = 1;
    shape.vocab_size = 4;
    shape.n_ctx = 8;
    return shape;
}

void truncated_models_are_refused() {
    for (const char* family : {"llama", "opt"}) {
        TinyModel tiny(smallest(family, true));
        const Bytes whole = tiny.build();
        for (size_t n = 0; n < tiny.writer().last_byte(); ++n) {
            const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
            CHECK_MSG(outcome_of(part) == Outcome::refused, "%s, %zu bytes", family, n);
        }
        CHECK(outcome_of(whole) == Outcome::accepted);
    }
}

void mutated_models_are_refused_or_run() {
    std::vector<Seed> seeds;
    for (const char* family : {"llama", "bamboo", "falcon", "opt"}) {
        seeds.push_back(test::seed_of(TinyModel(smallest(family, true)).writer()));
        seeds.push_back(test::seed_of(TinyModel(smallest(family, false)).writer()));
    }
    const test::Tally tally = test::mutate(Random(3), seeds, kMutations, outcome_of);
    CHECK(tally.n_accepted > kMutations / 1000);
    CHECK(tally.n_refused > kMutations / 2);
}

} // namespace

int main() {
    CHECK_RUN(truncated_models_are_refused);
    CHECK_RUN(mutated_models_are_refused_or_run);
    return check::finish();
}
