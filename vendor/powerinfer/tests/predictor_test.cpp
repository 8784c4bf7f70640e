// The predictor on weights that were copied, where its second matrix lies by columns, beside the
// same on the mapped file, where it lies by rows.
#include "check.h"
#include "columns.h"
#include "ffn.h"
#include "predictor.h"
#include "resident_model.h"
#include "temporary_directory.h"
#include "tiny_model.h"
#include "twin.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace powerinfer;

namespace {

const test::TemporaryDirectory& directory() {
    static const test::TemporaryDirectory made;
    return made;
}

test::TinyShape shape_of(DType type, int hidden_dim, int rank) {
    test::TinyShape shape;
    shape.type = type;
    shape.hidden_dim = hidden_dim;
    shape.rank = rank;
    return shape;
}

struct Predicted {
    size_t hidden_dim;
    std::vector<float> scores; // (n_tokens, hidden_dim)
    std::vector<int32_t> ids;
    uint64_t bytes; // read
};

Predicted run(
    const Model& model, const std::vector<float>& input, int n_tokens, int n_threads, int bits = 16
) {
    const cpu::Ops& ops = cpu::best_ops();
    ThreadPool pool(n_threads);
    Scratch scratch(model, ops, n_tokens, n_tokens, n_threads, false);
    Stats stats;
    FfnPlan plan(Strategy::predictor);
    Compute compute{model, ops, pool, scratch, stats, plan, bits};
    const ActiveSet found = predict(compute, model.layer(1), input.data(), n_tokens);
    const auto hidden_dim = static_cast<size_t>(model.config().hidden_dim);
    const size_t n = static_cast<size_t>(n_tokens) * hidden_dim;
    return {
        hidden_dim,
        {scratch.neurons.data(), scratch.neurons.data() + n},
        {found.ids, found.ids + found.n},
        stats.weight_bytes_read
    };
}

std::vector<float> random_input(const Model& model, int n_tokens, uint64_t seed) {
    twin::Random random(seed);
    return random.normals(static_cast<size_t>(n_tokens) * static_cast<size_t>(model.config().dim));
}

std::string write(DType type, int hidden_dim, int rank) {
    return directory().write(
        "model.gguf", test::TinyModel(shape_of(type, hidden_dim, rank)).build()
    );
}

// The same, but for those whose scores are as near to the threshold of 0 as `rounding`.
void check_candidates(const Predicted& rows, const Predicted& columns, float rounding) {
    std::vector<int32_t> doubtful;
    std::set_symmetric_difference(
        rows.ids.begin(),
        rows.ids.end(),
        columns.ids.begin(),
        columns.ids.end(),
        std::back_inserter(doubtful)
    );
    const size_t hidden_dim = rows.hidden_dim;
    for (const int32_t id : doubtful) {
        bool is_near = false;
        for (size_t i = static_cast<size_t>(id); i < rows.scores.size(); i += hidden_dim) {
            is_near |= std::fabs(rows.scores[i]) <= rounding;
        }
        CHECK_MSG(is_near, "neuron %d", id);
    }
    CHECK_MSG(doubtful.size() < 3, "%zu neurons", doubtful.size());
}

void check_rows_and_columns(int hidden_dim, int rank) {
    const std::string path = write(DType::q4_0, hidden_dim, rank);
    const auto mapped = test::load_resident(path, Repack::never);
    const auto copied = test::load_resident(path, Repack::always);
    for (const int n_tokens : {1, 2, 7}) {
        for (const int bits : {16, 8}) {
            const auto input = random_input(*mapped, n_tokens, 1);
            const Predicted rows = run(*mapped, input, n_tokens, 1, bits);
            const Predicted columns = run(*copied, input, n_tokens, 1, bits);
            float largest = 0.0F;
            float error = 0.0F;
            for (size_t i = 0; i < rows.scores.size(); ++i) {
                largest = std::max(largest, std::fabs(rows.scores[i]));
                error = std::max(error, std::fabs(rows.scores[i] - columns.scores[i]));
            }
            CHECK_MSG(
                error <= 1e-6F * largest,
                "%d neurons, %d tokens, %d bits: %g of %g",
                hidden_dim,
                n_tokens,
                bits,
                static_cast<double>(error),
                static_cast<double>(largest)
            );
            check_candidates(rows, columns, 1e-6F * largest);
            CHECK(!rows.ids.empty() && rows.ids.size() < static_cast<size_t>(hidden_dim));
        }
    }
}

void by_columns_and_by_rows_select_the_same() {
    check_rows_and_columns(640, 96);
    check_rows_and_columns(6016, 32); // more than a tile
}

void selections_are_the_scores_that_reach_the_threshold() {
    for (const Repack repack : {Repack::never, Repack::always}) {
        const auto model = test::load_resident(write(DType::q4_0, 640, 96), repack);
        for (const int n_tokens : {1, 3}) {
            const auto input = random_input(*model, n_tokens, 2);
            for (const int n_threads : {1, 2, 4}) {
                const Predicted found = run(*model, input, n_tokens, n_threads);
                std::vector<int32_t> wanted;
                for (int32_t i = 0; i < 640; ++i) {
                    bool is_selected = false;
                    for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
                        is_selected |= found.scores[t * 640 + static_cast<size_t>(i)] >= 0.0F;
                    }
                    if (is_selected) {
                        wanted.push_back(i);
                    }
                }
                CHECK_MSG(found.ids == wanted, "%d tokens, %d threads", n_tokens, n_threads);
            }
        }
    }
}

void scores_do_not_depend_on_threads_or_other_tokens() {
    const auto model = test::load_resident(write(DType::q4_0, 640, 96), Repack::always);
    const auto input = random_input(*model, 5, 3);
    const Predicted together = run(*model, input, 5, 1);
    CHECK(run(*model, input, 5, 3).scores == together.scores);
    for (size_t t = 0; t < 5; ++t) {
        const auto begin = input.begin() + static_cast<ptrdiff_t>(t) * model->config().dim;
        const std::vector<float> one(begin, begin + model->config().dim);
        const auto wanted = together.scores.begin() + static_cast<ptrdiff_t>(t) * 640;
        for (const int n_threads : {1, 2}) {
            const Predicted alone = run(*model, one, 1, n_threads);
            CHECK_MSG(
                std::equal(alone.scores.begin(), alone.scores.end(), wanted),
                "token %zu, %d threads",
                t,
                n_threads
            );
        }
    }
}

// All of fc1; of fc2 by rows all, by columns those of units that are positive.
void only_what_is_read_is_counted() {
    const auto mapped = test::load_resident(write(DType::q4_0, 640, 96), Repack::never);
    const auto copied = test::load_resident(write(DType::q4_0, 640, 96), Repack::always);
    const auto input = random_input(*mapped, 1, 4);
    const Layer& layer = copied->layer(1);
    const uint64_t all = layer.fc1.n_bytes() + layer.fc2.n_bytes();
    CHECK_EQ(run(*mapped, input, 1, 1).bytes, all);
    const uint64_t read = run(*copied, input, 1, 1).bytes;
    CHECK(read > layer.fc1.n_bytes() + column_bytes(640, 96 / 4));
    CHECK(read < layer.fc1.n_bytes() + layer.fc2.n_bytes() / 4 * 3);
    // A multiple of the bytes of a column after fc1 and the scales of the three blocks.
    CHECK_EQ((read - layer.fc1.n_bytes() - 3 * 2 * 640) % 320, uint64_t{0});
}

void a_layer_without_positive_units_has_scores_of_zero() {
    const auto model = test::load_resident(write(DType::q4_0, 640, 96), Repack::always);
    const std::vector<float> input(static_cast<size_t>(model->config().dim), 0.0F);
    const Predicted found = run(*model, input, 1, 2);
    CHECK(std::all_of(found.scores.begin(), found.scores.end(), [](float s) { return s == 0.0F; }));
    CHECK_EQ(found.ids.size(), size_t{640}); // the threshold is 0
    CHECK_EQ(found.bytes, uint64_t{model->layer(1).fc1.n_bytes()});
}

} // namespace

int main() {
    CHECK_RUN(by_columns_and_by_rows_select_the_same);
    CHECK_RUN(selections_are_the_scores_that_reach_the_threshold);
    CHECK_RUN(scores_do_not_depend_on_threads_or_other_tokens);
    CHECK_RUN(only_what_is_read_is_counted);
    CHECK_RUN(a_layer_without_positive_units_has_scores_of_zero);
    return check::finish();
}
