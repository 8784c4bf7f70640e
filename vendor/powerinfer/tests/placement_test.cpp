// Placement as pure functions: no plan above its budget, none that shrinks when the budget grows,
// the order of what is placed, and sizes that add up to those of the model.
#include "check.h"
#include "kv_cache.h"
#include "model_sizes.h"
#include "mutate.h"
#include "placement.h"
#include "tiny_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

using namespace powerinfer;
using test::Random;
using test::TinyModel;
using test::TinyShape;

namespace {

constexpr uint64_t kNoLimit = uint64_t{1} << 60;

uint64_t dense_bytes(const ModelSizes& sizes) {
    uint64_t n_bytes = sizes.output;
    for (const LayerSizes& layer : sizes.layers) {
        n_bytes += layer.attention + layer.kv_cache + layer.predictor + layer.ffn_norm;
    }
    return n_bytes;
}

uint64_t all_bytes(const ModelSizes& sizes) {
    uint64_t n_bytes = dense_bytes(sizes) + sizes.reserve;
    for (const LayerSizes& layer : sizes.layers) {
        n_bytes += layer.neurons();
    }
    return n_bytes;
}

// Layers may differ in their types, as those of mixed quantisations do.
ModelSizes random_sizes(Random& random) {
    ModelSizes sizes;
    sizes.hidden_dim = static_cast<int>(1 + random.below(64)) * (random.below(2) == 0 ? 16 : 1);
    sizes.has_neuron_rows = random.below(8) != 0;
    sizes.has_predictor = random.below(3) != 0;
    sizes.has_zeros = random.below(6) != 0;
    sizes.embedding = random.below(10000);
    sizes.embedding_row = random.below(100);
    sizes.output = random.below(5000);
    sizes.reserve = random.below(3000);
    const size_t n_layers = 1 + random.below(6);
    for (size_t i = 0; i < n_layers; ++i) {
        LayerSizes layer;
        const auto f = static_cast<uint64_t>(sizes.hidden_dim);
        layer.attention = 1 + random.below(2000);
        layer.kv_cache = random.below(1000);
        layer.predictor = sizes.has_predictor ? 1 + random.below(500) : 0;
        layer.ffn_norm = random.below(64);
        layer.tested = f * (1 + random.below(40));
        layer.rest = f * (1 + random.below(80));
        sizes.layers.push_back(layer);
    }
    return sizes;
}

std::vector<double> random_counts(Random& random, const ModelSizes& sizes) {
    std::vector<double> counts(sizes.layers.size() * static_cast<size_t>(sizes.hidden_dim));
    for (double& count : counts) {
        count = static_cast<double>(random.below(8)); // with ties
    }
    counts[0] += 1.0;
    return counts;
}

bool contains(const std::vector<int32_t>& all, const std::vector<int32_t>& some) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end());
}

// What every plan must be, whatever it was made of.
void check_plan(const ModelSizes& sizes, const Placement& plan) {
    uint64_t placed = 0;
    bool is_whole = true; // everything before in the order
    const auto next = [&](uint64_t given, uint64_t wanted) {
        CHECK(given == wanted || given == 0);
        CHECK(is_whole || given == 0);
        is_whole = is_whole && given == wanted;
        placed += given;
    };
    const auto given = [&](size_t i, Part part) {
        return plan.layers[i].device_bytes[static_cast<size_t>(part)];
    };
    const size_t n = sizes.layers.size();
    for (size_t i = 0; i < n; ++i) {
        const LayerSizes& layer = sizes.layers[i];
        next(
            given(i, Part::attention) + given(i, Part::ffn_norm) + given(i, Part::kv_cache),
            layer.attention + layer.ffn_norm + layer.kv_cache
        );
        CHECK_EQ(plan.layers[i].has_attention, is_whole);
    }
    for (size_t i = 0; i < n; ++i) {
        next(given(i, Part::predictor), sizes.layers[i].predictor);
        CHECK_EQ(plan.layers[i].has_predictor, is_whole && sizes.has_predictor);
    }
    next(plan.part(Part::output).device_bytes, sizes.output);
    CHECK_EQ(plan.part(Part::embedding).device_bytes, uint64_t{0});
    uint64_t n_neurons = 0;
    for (size_t i = 0; i < n; ++i) {
        const std::vector<int32_t>& neurons = plan.layers[i].neurons;
        CHECK(is_whole || neurons.empty());
        CHECK(std::is_sorted(neurons.begin(), neurons.end()));
        CHECK(std::adjacent_find(neurons.begin(), neurons.end()) == neurons.end());
        CHECK(neurons.empty() || (neurons.front() >= 0 && neurons.back() < sizes.hidden_dim));
        CHECK_EQ(neurons.size() % static_cast<size_t>(plan.group), size_t{0});
        const uint64_t wanted =
            sizes.layers[i].neurons() * neurons.size() / static_cast<uint64_t>(sizes.hidden_dim);
        CHECK_EQ(given(i, Part::neurons), wanted);
        placed += wanted;
        n_neurons += neurons.size();
        CHECK(plan.layers[i].activation_share >= 0.0 && plan.layers[i].activation_share <= 1.0);
    }
    CHECK_EQ(plan.n_neurons, n_neurons);
    CHECK_EQ(plan.device_bytes, placed == 0 ? 0 : placed + sizes.reserve);
    CHECK_MSG(
        plan.device_bytes <= plan.vram_budget,
        "%llu of %llu",
        static_cast<unsigned long long>(plan.device_bytes),
        static_cast<unsigned long long>(plan.vram_budget)
    );
    uint64_t by_part = 0;
    for (const PartPlacement& part : plan.parts) {
        CHECK(part.device_bytes <= part.n_bytes);
        by_part += part.device_bytes;
    }
    CHECK_EQ(by_part, placed);
    const PartPlacement& neurons = plan.part(Part::neurons);
    const auto all = static_cast<double>(neurons.n_bytes);
    CHECK(neurons.device_read + neurons.host_read <= all * (1.0 + 1e-9));
    CHECK(neurons.device_read <= static_cast<double>(neurons.device_bytes) * (1.0 + 1e-9));
}

// The second plan holds all that the first holds.
void check_growth(const Placement& less, const Placement& more) {
    CHECK(more.device_bytes >= less.device_bytes);
    CHECK(more.activation_share >= less.activation_share - 1e-12);
    for (size_t p = 0; p < kParts; ++p) {
        CHECK(more.parts[p].device_bytes >= less.parts[p].device_bytes);
    }
    for (size_t i = 0; i < less.layers.size(); ++i) {
        CHECK(contains(more.layers[i].neurons, less.layers[i].neurons));
    }
}

void plans_keep_to_any_budget_and_only_grow() {
    Random random(1);
    for (int model = 0; model < 150; ++model) {
        const ModelSizes sizes = random_sizes(random);
        const std::vector<double> counts =
            random.below(2) == 0 ? random_counts(random, sizes) : std::vector<double>();
        const uint64_t all = all_bytes(sizes);
        std::set<uint64_t> budgets = {
            0, 1, sizes.reserve, sizes.reserve + dense_bytes(sizes), all - 1, all, all + 1, kNoLimit
        };
        for (int i = 0; i < 40; ++i) {
            budgets.insert(random.below(all));
        }
        Placement last;
        last.layers.resize(sizes.layers.size());
        for (const uint64_t budget : budgets) {
            const Placement plan = place(sizes, {.vram_budget = budget, .counts = counts});
            check_plan(sizes, plan);
            check_growth(last, plan);
            last = plan;
        }
        CHECK_EQ(place(sizes, {.vram_budget = all}).device_bytes, all);
        CHECK(place(sizes, {.vram_budget = all - 1}).device_bytes < all);
        CHECK_NEAR(last.activation_share, 1.0, 1e-9);
    }
}

ModelSizes plain_sizes(size_t n_layers, int hidden_dim) {
    ModelSizes sizes;
    sizes.hidden_dim = hidden_dim;
    sizes.has_neuron_rows = true;
    sizes.has_predictor = true;
    sizes.has_zeros = true;
    sizes.output = 1000;
    sizes.reserve = 500;
    const auto f = static_cast<uint64_t>(hidden_dim);
    sizes.layers.assign(n_layers, {100, 50, 20, 4, 10 * f, 20 * f});
    return sizes;
}

void a_short_budget_takes_a_prefix_of_layers_with_their_caches() {
    const ModelSizes sizes = plain_sizes(4, 64);
    const Placement plan = place(sizes, {.vram_budget = 500 + 2 * 154 + 153});
    CHECK_EQ(plan.device_bytes, uint64_t{500 + 2 * 154});
    CHECK_EQ(plan.part(Part::attention).device_bytes, uint64_t{200});
    CHECK_EQ(plan.part(Part::kv_cache).device_bytes, uint64_t{100});
    CHECK_EQ(plan.part(Part::ffn_norm).device_bytes, uint64_t{8});
    CHECK_EQ(plan.part(Part::predictor).device_bytes, uint64_t{0}); // one would fit
    CHECK_EQ(plan.neuron_budget, uint64_t{0});
    check_plan(sizes, plan);
    // The device's own needs alone are no reason to use it.
    CHECK_EQ(place(sizes, {.vram_budget = 500}).device_bytes, uint64_t{0});
    CHECK_EQ(place(sizes, {.vram_budget = 499}).device_bytes, uint64_t{0});
}

void each_layer_is_placed_by_its_own_counts() {
    const ModelSizes sizes = plain_sizes(12, 64);
    // Only four neurons of each layer fire, others in each, so that the order of layers 0, 1, 10,
    // 11, 2 ... would choose others.
    std::vector<double> counts(12 * 64);
    for (size_t i = 0; i < 12; ++i) {
        for (size_t j = 0; j < 4; ++j) {
            counts[i * 64 + 5 * i + j] = static_cast<double>(100 + i);
        }
    }
    const uint64_t rest = 500 + dense_bytes(sizes);
    const uint64_t group = uint64_t{4} * 30;
    const Placement plan =
        place(sizes, {.vram_budget = rest + 12 * group, .group = 4, .counts = counts});
    for (size_t i = 0; i < 12; ++i) {
        const auto first = static_cast<int32_t>(5 * i);
        const std::vector<int32_t> wanted = {first, first + 1, first + 2, first + 3};
        CHECK_MSG(plan.layers[i].neurons == wanted, "layer %zu", i);
    }
    CHECK_NEAR(plan.activation_share, 1.0, 1e-12);
    // With less, the layers that fire less go first.
    const Placement less =
        place(sizes, {.vram_budget = rest + 3 * group, .group = 4, .counts = counts});
    for (size_t i = 0; i < 12; ++i) {
        CHECK_EQ(less.layers[i].neurons.size(), size_t{i < 9 ? 0U : 4U});
    }
    CHECK_NEAR(less.activation_share, (109.0 + 110 + 111) / (12 * 100 + 66), 1e-12);
}

void ties_go_by_layer_and_then_by_group() {
    const ModelSizes sizes = plain_sizes(2, 8);
    const std::vector<double> counts(16, 3.0);
    const uint64_t budget = 500 + dense_bytes(sizes) + 6 * 30;
    const Placement counted = place(sizes, {.vram_budget = budget, .group = 2, .counts = counts});
    CHECK(counted.layers[0].neurons == std::vector<int32_t>({0, 1, 2, 3, 4, 5}));
    CHECK(counted.layers[1].neurons.empty());
    CHECK(counted.has_counts);
    // Without counts, evenly over the layers.
    const Placement uncounted = place(sizes, {.vram_budget = budget, .group = 2});
    CHECK(uncounted.layers[0].neurons == std::vector<int32_t>({0, 1, 2, 3}));
    CHECK(uncounted.layers[1].neurons == std::vector<int32_t>({0, 1}));
    CHECK(!uncounted.has_counts);
    CHECK_NEAR(uncounted.activation_share, 6.0 / 16, 1e-12);
}

void groups_suit_the_neurons() {
    const auto group = [](int hidden_dim) { return natural_group(plain_sizes(1, hidden_dim)); };
    CHECK_EQ(group(11008), 256);
    CHECK_EQ(group(13824), 256);
    CHECK_EQ(group(28672), 256);
    CHECK_EQ(group(96), 32);
    CHECK_EQ(group(960), 64);
    CHECK_EQ(group(7), 1);
    ModelSizes dense = plain_sizes(2, 96);
    dense.has_neuron_rows = false;
    CHECK_EQ(natural_group(dense), 96);
    const Placement plan =
        place(dense, {.vram_budget = 500 + dense_bytes(dense) + 96 * 30 + 95 * 30});
    CHECK_EQ(plan.layers[0].neurons.size(), size_t{96});
    CHECK(plan.layers[1].neurons.empty());
    CHECK_ERROR(invalid_argument, "stay together", place(dense, {.group = 32}));
}

void reads_follow_what_fires() {
    ModelSizes sizes = plain_sizes(1, 4);
    const std::vector<double> counts = {8, 4, 2, 0};
    const uint64_t budget = 500 + dense_bytes(sizes) + 30;
    PlacementOptions options{.vram_budget = budget, .group = 1, .counts = counts};
    options.counted_tokens = 16.0;
    const auto neurons = [&] { return place(sizes, options).part(Part::neurons); };
    CHECK_NEAR(neurons().device_read, 0.5 * 30, 1e-9); // a predictor leaves the others unread
    CHECK_NEAR(neurons().host_read, (0.25 + 0.125) * 30, 1e-9);
    sizes.has_predictor = false; // every gate is tested
    CHECK_NEAR(neurons().device_read, 10 + 0.5 * 20, 1e-9);
    CHECK_NEAR(neurons().host_read, 30 + 0.375 * 20, 1e-9);
    sizes.has_zeros = false; // everything is read
    CHECK_NEAR(neurons().device_read, 30, 1e-9);
    CHECK_NEAR(neurons().host_read, 90, 1e-9);
    sizes.has_zeros = sizes.has_predictor = true;
    options.counted_tokens = 0.0; // the hottest fires at every token
    CHECK_NEAR(neurons().device_read, 30, 1e-9);
    CHECK_NEAR(neurons().host_read, 0.75 * 30, 1e-9);
    options.counts = {};
    options.active_share = 0.25;
    CHECK_NEAR(neurons().device_read, 0.25 * 30, 1e-9);
    CHECK_NEAR(neurons().host_read, 0.25 * 90, 1e-9);
    const Placement none = place(sizes, {});
    CHECK_EQ(none.part(Part::attention).host_read, 100.0);
    CHECK_EQ(none.part(Part::attention).device_read, 0.0);
}

void given_neurons_fit_or_are_refused() {
    const ModelSizes sizes = plain_sizes(2, 8);
    const Neurons neurons = {{1, 5, 6}, {}};
    const uint64_t budget = 500 + dense_bytes(sizes) + 3 * 30;
    PlacementOptions options{.vram_budget = budget, .neurons = &neurons};
    const Placement plan = place(sizes, options);
    CHECK(plan.layers[0].neurons == neurons[0] && plan.layers[1].neurons.empty());
    CHECK_EQ(plan.device_bytes, budget);
    options.vram_budget = budget - 1;
    CHECK_ERROR(
        invalid_argument, "neurons of 90 bytes, the budget leaves 89", place(sizes, options)
    );
    ModelSizes dense = sizes;
    dense.has_neuron_rows = false;
    options.vram_budget = kNoLimit;
    CHECK_ERROR(invalid_argument, "stay together", place(dense, options));
}

void options_that_make_no_sense_are_refused() {
    const ModelSizes sizes = plain_sizes(2, 8);
    const std::vector<double> few(15, 1.0);
    CHECK_ERROR(invalid_argument, "8 neurons in 2 layers, got 15", place(sizes, {.counts = few}));
    for (const double wrong : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
        std::vector<double> counts(16, 1.0);
        counts[7] = wrong;
        CHECK_ERROR(invalid_argument, "finite", place(sizes, {.counts = counts}));
        CHECK_ERROR(invalid_argument, "counted_tokens", place(sizes, {.counted_tokens = wrong}));
        CHECK_ERROR(invalid_argument, "active_share", place(sizes, {.active_share = wrong}));
    }
    const std::vector<double> none(16, 0.0);
    CHECK_ERROR(invalid_argument, "ever active", place(sizes, {.counts = none}));
    CHECK_ERROR(invalid_argument, "divisor", place(sizes, {.group = 3}));
    CHECK_ERROR(invalid_argument, "divisor", place(sizes, {.group = -2}));
}

// 13B in F16 (spec 3.3): rows of three matrices of 5120 halves. The capacity of upstream's formula
// is 429,432, as it takes the length of a column for that of a row.
void the_capacity_is_that_of_whole_rows() {
    constexpr uint64_t kBytes = 13'357'166'592;
    constexpr int kDim = 5120;
    constexpr uint64_t kRow = kDim * 2;
    ModelSizes sizes;
    sizes.hidden_dim = 13824;
    sizes.has_neuron_rows = true;
    sizes.layers.resize(40);
    for (LayerSizes& layer : sizes.layers) {
        layer.tested = kRow * 13824;
        layer.rest = 2 * kRow * 13824;
    }
    const uint64_t capacity = place(sizes, {.vram_budget = kBytes, .group = 1}).n_neurons;
    CHECK_EQ(capacity, kBytes / 3 / kRow);
    CHECK_EQ(capacity, uint64_t{434803});
    CHECK_EQ(place(sizes, {.vram_budget = kBytes}).n_neurons, capacity / 256 * 256);
}

void sizes_add_up_to_the_model() {
    for (const char* family : {"llama", "bamboo", "falcon", "opt"}) {
        for (const bool is_sparse : {true, false}) {
            TinyShape shape;
            shape.family = family;
            shape.is_sparse = is_sparse;
            shape.type = DType::q8_0;
            const test::Bytes bytes = TinyModel(shape).build();
            const Model model(
                std::make_shared<Weights>(
                    std::make_shared<const GgufFile>(GgufFile::from_bytes(bytes)),
                    WeightOptions{.repack = Repack::never}
                ),
                {}
            );
            const ContextShape context{
                .n_ctx = 50, .n_sequences = 3, .n_batch = 4, .kv_type = DType::f32
            };
            const ModelSizes sizes = model_sizes(model, context);
            const bool is_tied = shape.family == "opt";
            uint64_t weights = sizes.embedding + sizes.output;
            weights -= is_tied ? model.output().n_bytes() : 0; // there twice
            uint64_t neurons = 0;
            for (const LayerSizes& layer : sizes.layers) {
                weights += layer.attention + layer.predictor + layer.ffn_norm + layer.neurons();
                neurons += layer.neurons();
                CHECK_EQ(layer.neurons() % 96, uint64_t{0});
                CHECK_EQ(layer.predictor > 0, is_sparse);
                CHECK(sizes.has_zeros == is_sparse);
            }
            CHECK_MSG(weights == model.weight_bytes(), "%s", family);
            const uint64_t biases = is_tied ? uint64_t{2 * 96 * 4} : 0;
            CHECK_EQ(neurons, model.ffn_bytes() + biases);
            const Config& config = model.config();
            const KvCache cache(DType::f32, 2, config.n_kv_heads, config.head_dim, 50, 3);
            CHECK_EQ(sizes.layers[0].kv_cache + sizes.layers[1].kv_cache, cache.n_bytes());
            CHECK(sizes.has_neuron_rows == is_sparse);
            check_plan(sizes, place(sizes, {.vram_budget = sizes.reserve + 40'000}));
            // Scratch grows with what it is for.
            ContextShape larger = context;
            larger.n_batch = 64;
            CHECK(model_sizes(model, larger).reserve > sizes.reserve);
        }
    }
}

} // namespace

int main() {
    CHECK_RUN(plans_keep_to_any_budget_and_only_grow);
    CHECK_RUN(a_short_budget_takes_a_prefix_of_layers_with_their_caches);
    CHECK_RUN(each_layer_is_placed_by_its_own_counts);
    CHECK_RUN(ties_go_by_layer_and_then_by_group);
    CHECK_RUN(groups_suit_the_neurons);
    CHECK_RUN(reads_follow_what_fires);
    CHECK_RUN(given_neurons_fit_or_are_refused);
    CHECK_RUN(options_that_make_no_sense_are_refused);
    CHECK_RUN(the_capacity_is_that_of_whole_rows);
    CHECK_RUN(sizes_add_up_to_the_model);
    return check::finish();
}
