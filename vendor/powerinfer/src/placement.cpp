#include "placement.h"

#include "error.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace powerinfer {

namespace {

constexpr int kMaxGroup = 256;
constexpr uint64_t kLeftFree = 256U << 20;

// Of n neurons of a layer; without rows of their own n is all or nothing.
uint64_t bytes_of(const LayerSizes& layer, size_t n, int hidden_dim) noexcept {
    const auto all = static_cast<size_t>(hidden_dim);
    return n == all ? layer.neurons() : layer.neurons() / all * n;
}

// Gives what is asked for until it cannot once.
class Budget {
public:
    explicit Budget(uint64_t n_bytes) : left_(n_bytes) {}

    bool take(uint64_t n_bytes) noexcept {
        is_open_ = is_open_ && n_bytes <= left_;
        left_ -= is_open_ ? n_bytes : 0;
        return is_open_;
    }
    uint64_t left() const noexcept { return is_open_ ? left_ : 0; }

private:
    uint64_t left_;
    bool is_open_ = true;
};

// How often neurons fire, if that is known.
class Activations {
public:
    Activations(const ModelSizes& sizes, const PlacementOptions& options)
        : counts_(options.counts), hidden_dim_(static_cast<size_t>(sizes.hidden_dim)),
          tokens_(options.counted_tokens), active_share_(options.active_share) {
        const size_t wanted = sizes.layers.size() * hidden_dim_;
        PI_CHECK(
            counts_.empty() || counts_.size() == wanted,
            invalid_argument,
            "counts: want one of each of %zu neurons in %zu layers, got %zu",
            hidden_dim_,
            sizes.layers.size(),
            counts_.size()
        );
        double largest = 0.0;
        for (const double count : counts_) {
            PI_CHECK(
                std::isfinite(count) && count >= 0.0,
                invalid_argument,
                "counts: want finite numbers of at least 0, got %g",
                count
            );
            largest = std::max(largest, count);
        }
        PI_CHECK(
            counts_.empty() || largest > 0.0,
            invalid_argument,
            "counts: no neuron was ever active; leave them out to place neurons in file order"
        );
        PI_CHECK(
            std::isfinite(tokens_) && tokens_ >= 0.0,
            invalid_argument,
            "counted_tokens: want a finite number of at least 0, got %g",
            tokens_
        );
        PI_CHECK(
            active_share_ >= 0.0 && active_share_ <= 1.0,
            invalid_argument,
            "active_share: want 0 to 1, got %g",
            active_share_
        );
        tokens_ = tokens_ > 0.0 ? tokens_ : largest;
    }

    bool are_known() const noexcept { return !counts_.empty(); }
    // What a neuron weighs when choosing; where nothing is known all are equal.
    double weight(size_t layer, size_t neuron) const noexcept {
        return are_known() ? counts_[layer * hidden_dim_ + neuron] : 1.0;
    }
    // Of a token to need the neuron.
    double probability(size_t layer, size_t neuron) const noexcept {
        return are_known() ? std::min(1.0, weight(layer, neuron) / tokens_) : active_share_;
    }

private:
    std::span<const double> counts_;
    size_t hidden_dim_;
    double tokens_;
    double active_share_;
};

// The neurons of each layer, those that fire most first, ties in file order, cut into groups.
class Groups {
public:
    Groups(const ModelSizes& sizes, const Activations& activations, int group)
        : size_(static_cast<size_t>(group)),
          per_layer_(static_cast<size_t>(sizes.hidden_dim) / size_) {
        for (size_t layer = 0; layer < sizes.layers.size(); ++layer) {
            std::vector<int32_t> order(static_cast<size_t>(sizes.hidden_dim));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
                return activations.weight(layer, static_cast<size_t>(a)) >
                       activations.weight(layer, static_cast<size_t>(b));
            });
            by_weight_.push_back(std::move(order));
        }
        sort(activations);
    }

    // Takes groups from the budget, the heaviest first.
    Neurons choose(const ModelSizes& sizes, Budget& budget) const {
        Neurons chosen(sizes.layers.size());
        for (const Group& group : groups_) {
            if (!budget.take(bytes_of(sizes.layers[group.layer], size_, sizes.hidden_dim))) {
                break;
            }
            const std::span<const int32_t> neurons = members(group);
            chosen[group.layer].insert(chosen[group.layer].end(), neurons.begin(), neurons.end());
        }
        for (std::vector<int32_t>& neurons : chosen) {
            std::sort(neurons.begin(), neurons.end());
        }
        return chosen;
    }

private:
    struct Group {
        double weight;
        size_t layer;
        size_t number;
    };

    std::span<const int32_t> members(const Group& group) const {
        return std::span(by_weight_[group.layer]).subspan(group.number * size_, size_);
    }

    void sort(const Activations& activations) {
        for (size_t layer = 0; layer < by_weight_.size(); ++layer) {
            for (size_t number = 0; number < per_layer_; ++number) {
                Group group{0.0, layer, number};
                for (const int32_t neuron : members(group)) {
                    group.weight += activations.weight(layer, static_cast<size_t>(neuron));
                }
                groups_.push_back(group);
            }
        }
        // Where nothing is known, evenly over the layers.
        const bool by_layer = activations.are_known();
        std::sort(groups_.begin(), groups_.end(), [&](const Group& a, const Group& b) {
            if (a.weight != b.weight) {
                return a.weight > b.weight;
            }
            return by_layer ? std::pair(a.layer, a.number) < std::pair(b.layer, b.number)
                            : std::pair(a.number, a.layer) < std::pair(b.number, b.layer);
        });
    }

    size_t size_;
    size_t per_layer_;
    Neurons by_weight_;
    std::vector<Group> groups_;
};

int checked_group(const ModelSizes& sizes, int group) {
    const int natural = natural_group(sizes);
    if (group == 0) {
        return natural;
    }
    PI_CHECK(
        group > 0 && sizes.hidden_dim % group == 0,
        invalid_argument,
        "group: want 0 or a divisor of the %d neurons of a layer, got %d",
        sizes.hidden_dim,
        group
    );
    PI_CHECK(
        sizes.has_neuron_rows || group == sizes.hidden_dim,
        invalid_argument,
        "group: the neurons of a layer of a GGUF file stay together, want 0 or %d, got %d",
        sizes.hidden_dim,
        group
    );
    return group;
}

// Those of an index, all or an error.
const Neurons& taken(const ModelSizes& sizes, const Neurons& neurons, Budget& budget) {
    for (const std::vector<int32_t>& layer : neurons) {
        PI_CHECK(
            sizes.has_neuron_rows || layer.empty() ||
                layer.size() == static_cast<size_t>(sizes.hidden_dim),
            invalid_argument,
            "the GPU index divides the neurons of a layer, which stay together in a GGUF file; use "
            "the PWRI file that it was made for"
        );
    }
    const uint64_t left = budget.left();
    const uint64_t wanted = neuron_bytes(sizes, neurons);
    PI_CHECK(
        wanted == 0 || budget.take(wanted),
        invalid_argument,
        "the GPU index places neurons of %llu bytes, the budget leaves %llu for them; make an "
        "index "
        "for this budget, or give at least that of the index",
        static_cast<unsigned long long>(wanted),
        static_cast<unsigned long long>(left)
    );
    return neurons;
}

void place_dense(const ModelSizes& sizes, Budget& budget, Placement& out) {
    const auto give = [&](LayerPlacement& layer, Part part, uint64_t n_bytes) {
        layer.device_bytes[static_cast<size_t>(part)] = n_bytes;
    };
    for (size_t i = 0; i < sizes.layers.size(); ++i) {
        const LayerSizes& layer = sizes.layers[i];
        if (budget.take(layer.attention + layer.ffn_norm + layer.kv_cache)) {
            out.layers[i].has_attention = true;
            give(out.layers[i], Part::attention, layer.attention);
            give(out.layers[i], Part::ffn_norm, layer.ffn_norm);
            give(out.layers[i], Part::kv_cache, layer.kv_cache);
        }
    }
    for (size_t i = 0; i < sizes.layers.size(); ++i) {
        if (budget.take(sizes.layers[i].predictor)) {
            out.layers[i].has_predictor = sizes.has_predictor;
            give(out.layers[i], Part::predictor, sizes.layers[i].predictor);
        }
    }
    PartPlacement& output = out.parts[static_cast<size_t>(Part::output)];
    output.n_bytes = sizes.output;
    output.device_bytes = budget.take(sizes.output) ? sizes.output : 0;
}

// Expected reads of a layer's neurons on both sides, and the layer's share of activations.
struct NeuronReads {
    double device = 0.0;
    double host = 0.0;
    double device_weight = 0.0;
    double weight = 0.0;
};

NeuronReads neuron_reads(
    const ModelSizes& sizes,
    const Activations& activations,
    size_t layer,
    std::span<const int32_t> neurons
) {
    const auto n = static_cast<size_t>(sizes.hidden_dim);
    const double tested = static_cast<double>(sizes.layers[layer].tested) / static_cast<double>(n);
    const double rest = static_cast<double>(sizes.layers[layer].rest) / static_cast<double>(n);
    NeuronReads reads;
    size_t next = 0;
    for (size_t i = 0; i < n; ++i) {
        const double needed = sizes.has_zeros ? activations.probability(layer, i) : 1.0;
        const double bytes = (sizes.has_predictor ? needed : 1.0) * tested + needed * rest;
        const double weight = activations.weight(layer, i);
        const bool is_on_device = next < neurons.size() && static_cast<size_t>(neurons[next]) == i;
        next += is_on_device ? 1 : 0;
        (is_on_device ? reads.device : reads.host) += bytes;
        reads.device_weight += is_on_device ? weight : 0.0;
        reads.weight += weight;
    }
    return reads;
}

void place_neurons(
    const ModelSizes& sizes, const Activations& activations, Neurons neurons, Placement& out
) {
    PartPlacement& part = out.parts[static_cast<size_t>(Part::neurons)];
    double device_weight = 0.0;
    double weight = 0.0;
    for (size_t i = 0; i < sizes.layers.size(); ++i) {
        LayerPlacement& layer = out.layers[i];
        layer.neurons = std::move(neurons[i]);
        layer.device_bytes[static_cast<size_t>(Part::neurons)] =
            bytes_of(sizes.layers[i], layer.neurons.size(), sizes.hidden_dim);
        const NeuronReads reads = neuron_reads(sizes, activations, i, layer.neurons);
        layer.activation_share = reads.weight > 0.0 ? reads.device_weight / reads.weight : 0.0;
        part.device_read += reads.device;
        part.host_read += reads.host;
        device_weight += reads.device_weight;
        weight += reads.weight;
        out.n_neurons += layer.neurons.size();
    }
    out.activation_share = weight > 0.0 ? device_weight / weight : 0.0;
}

void sum_parts(const ModelSizes& sizes, Placement& out) {
    const auto part = [&](Part which) -> PartPlacement& {
        return out.parts[static_cast<size_t>(which)];
    };
    for (size_t i = 0; i < sizes.layers.size(); ++i) {
        const LayerSizes& layer = sizes.layers[i];
        part(Part::attention).n_bytes += layer.attention;
        part(Part::kv_cache).n_bytes += layer.kv_cache;
        part(Part::predictor).n_bytes += layer.predictor;
        part(Part::ffn_norm).n_bytes += layer.ffn_norm;
        part(Part::neurons).n_bytes += layer.neurons();
        for (size_t p = 0; p < kParts; ++p) {
            out.parts[p].device_bytes += out.layers[i].device_bytes[p];
        }
    }
    for (const Part which :
         {Part::attention, Part::kv_cache, Part::predictor, Part::ffn_norm, Part::output}) {
        PartPlacement& dense = part(which);
        dense.device_read = static_cast<double>(dense.device_bytes);
        dense.host_read = static_cast<double>(dense.n_bytes - dense.device_bytes);
    }
    part(Part::embedding).n_bytes = sizes.embedding;
    part(Part::embedding).host_read = static_cast<double>(sizes.embedding_row);
    uint64_t placed = 0;
    for (const PartPlacement& each : out.parts) {
        placed += each.device_bytes;
    }
    out.device_bytes = placed > 0 ? placed + out.reserve : 0;
}

} // namespace

bool Placement::is_whole() const noexcept {
    return std::all_of(parts.begin(), parts.end(), [&](const PartPlacement& part) {
        return &part == &this->part(Part::embedding) || part.device_bytes == part.n_bytes;
    });
}

int natural_group(const ModelSizes& sizes) noexcept {
    if (!sizes.has_neuron_rows) {
        return sizes.hidden_dim;
    }
    int group = kMaxGroup;
    while (sizes.hidden_dim % group != 0) {
        group /= 2;
    }
    return group;
}

uint64_t neuron_bytes(const ModelSizes& sizes, const Neurons& neurons) noexcept {
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < sizes.layers.size(); ++i) {
        n_bytes += bytes_of(sizes.layers[i], neurons[i].size(), sizes.hidden_dim);
    }
    return n_bytes;
}

uint64_t default_vram_budget(uint64_t free_bytes) noexcept {
    return free_bytes - std::min(free_bytes, kLeftFree);
}

Placement place(const ModelSizes& sizes, const PlacementOptions& options) {
    const Activations activations(sizes, options);
    Placement out;
    out.vram_budget = options.vram_budget;
    out.reserve = sizes.reserve;
    out.hidden_dim = sizes.hidden_dim;
    out.group = checked_group(sizes, options.group);
    out.has_counts = activations.are_known();
    out.layers.resize(sizes.layers.size());

    Budget budget(options.vram_budget);
    budget.take(sizes.reserve);
    place_dense(sizes, budget, out);
    out.neuron_budget = budget.left();
    Neurons neurons = options.neurons != nullptr
                          ? taken(sizes, *options.neurons, budget)
                          : Groups(sizes, activations, out.group).choose(sizes, budget);
    place_neurons(sizes, activations, std::move(neurons), out);
    sum_parts(sizes, out);
    return out;
}

} // namespace powerinfer
