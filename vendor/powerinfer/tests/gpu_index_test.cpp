// GPU-index files: the layout byte for byte, round trips, and refusal of everything else; and the C
// interface that plans and writes them.
#include "check.h"
#include "gpu_index.h"
#include "mutate.h"
#include "temporary_directory.h"
#include "tiny_engine.h"

#include <filesystem>
#include <fstream>
#include <iterator>

using namespace powerinfer;
using test::Bytes;
using test::Random;
using test::TinyModel;
using test::TinyShape;

namespace {

GpuIndex small_index() {
    GpuIndex index;
    index.hidden_dim = 6;
    index.vram_capacity = uint64_t{1} << 33;
    index.neurons = {{0, 3, 5}, {}, {0, 1, 2, 3, 4, 5}};
    return index;
}

GpuIndex read(const Bytes& bytes, int n_layers = 3, int hidden_dim = 6) {
    return read_gpu_index(GgufFile::from_bytes(bytes), n_layers, hidden_dim);
}

// What the specification says, written down by the tests' own writer.
test::GgufWriter specified(const GpuIndex& index) {
    test::GgufWriter w;
    w.magic = "PWRI";
    w.add_string("general.architecture", "generic.gpu_index");
    w.add_u32("generic.gpu_index.block_count", static_cast<uint32_t>(index.neurons.size()));
    w.add("split.vram_capacity", MetaType::u64, index.vram_capacity);
    const auto add = [&](const std::string& name, const std::vector<int32_t>& values) {
        test::WriterTensor tensor{name, static_cast<uint32_t>(DType::i32), {values.size()}, {}};
        test::append(tensor.data, values.data(), values.size() * sizeof(int32_t));
        w.tensors.push_back(std::move(tensor));
    };
    for (size_t i = 0; i < index.neurons.size(); ++i) {
        std::vector<int32_t> flags(static_cast<size_t>(index.hidden_dim));
        for (const int32_t neuron : index.neurons[i]) {
            flags[static_cast<size_t>(neuron)] = 1;
        }
        add("blk." + std::to_string(i) + ".gpu_idx", flags);
        add("blk." + std::to_string(i) + ".gpu_bucket", index.neurons[i]);
    }
    return w;
}

void the_layout_is_that_of_the_specification() {
    const GpuIndex index = small_index();
    CHECK(encode_gpu_index(index) == specified(index).build());
}

void an_index_survives_its_file() {
    GpuIndex index = small_index();
    for (const bool has_model : {false, true}) {
        for (const bool has_statistics : {false, true}) {
            index.model = has_model ? std::optional<uint64_t>(~uint64_t{7}) : std::nullopt;
            index.statistics = has_statistics ? std::optional<uint64_t>(9) : std::nullopt;
            const GpuIndex back = read(encode_gpu_index(index));
            CHECK(back.neurons == index.neurons && back.hidden_dim == 6);
            CHECK_EQ(back.vram_capacity, index.vram_capacity);
            CHECK(back.model == index.model && back.statistics == index.statistics);
        }
    }
    GpuIndex empty = small_index();
    empty.neurons = {{}, {}};
    CHECK(read(encode_gpu_index(empty), 2).neurons == empty.neurons);
}

void every_truncation_is_refused() {
    const Bytes whole = encode_gpu_index(small_index());
    const size_t needed = specified(small_index()).build().size() - 8; // padding of 24 bytes
    CHECK_EQ(whole.size() % 32, size_t{0});
    for (size_t n = 0; n < needed; ++n) {
        const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
        CHECK_ERROR(format, "", read(part));
    }
}

// All bytes of the data count but padding.
void every_changed_value_is_refused() {
    const GpuIndex index = small_index();
    const Bytes whole = encode_gpu_index(index);
    const GgufFile file = GgufFile::from_bytes(whole);
    int n_changed = 0;
    for (const TensorInfo& tensor : file.tensors()) {
        for (uint64_t at = tensor.offset; at < tensor.offset + tensor.n_bytes; ++at) {
            for (const int value : {0, 1, 2, 5, 127, 255}) {
                Bytes bytes = whole;
                bytes[at] = static_cast<std::byte>(value);
                if (bytes != whole) {
                    CHECK_ERROR(format, "GPU index: blk.", read(bytes));
                    n_changed += 1;
                }
            }
        }
    }
    CHECK(n_changed > 500);
}

void damaged_files_are_refused_or_sound() {
    GpuIndex index = small_index();
    index.model = 5;
    const Bytes whole = encode_gpu_index(index);
    std::vector<test::Seed> seeds = {test::seed_of(specified(small_index()))};
    seeds.push_back({whole, seeds[0].u64_fields, seeds[0].header_bytes});
    const test::Tally tally = test::mutate(Random(2), seeds, 30'000, [](const Bytes& bytes) {
        try {
            const GpuIndex back = read(bytes);
            for (const std::vector<int32_t>& neurons : back.neurons) {
                if (!std::is_sorted(neurons.begin(), neurons.end()) ||
                    (!neurons.empty() && (neurons.front() < 0 || neurons.back() >= 6))) {
                    return test::Outcome::broken;
                }
            }
            return back.neurons.size() == 3 ? test::Outcome::accepted : test::Outcome::broken;
        } catch (const Error& error) {
            const bool is_input =
                error.kind() == ErrorKind::format || error.kind() == ErrorKind::unsupported;
            return is_input ? test::Outcome::refused : test::Outcome::broken;
        }
    });
    CHECK(tally.n_refused > 1000);
}

void files_of_another_kind_are_refused_with_the_reason() {
    const Bytes bytes = encode_gpu_index(small_index());
    CHECK_ERROR(format, "for 3 layers, the model has 4", read(bytes, 4));
    CHECK_ERROR(format, "for 6 neurons, the model has 8", read(bytes, 3, 8));
    CHECK_ERROR(format, "no GPU index", read(test::model_writer().build()));
    const auto changed = [&](auto&& change) {
        test::GgufWriter writer = specified(small_index());
        change(writer);
        return writer.build();
    };
    using Writer = test::GgufWriter;
    CHECK_ERROR(format, "no GPU index", read(changed([](Writer& w) { w.magic = "GGUF"; })));
    CHECK_ERROR(format, "want 6 tensors", read(changed([](Writer& w) { w.tensors.pop_back(); })));
    CHECK_ERROR(format, "want blk.0.gpu_idx as tensor 0", read(changed([](Writer& w) {
                    std::swap(w.tensors[0], w.tensors[1]);
                })));
    CHECK_ERROR(format, "list of i32", read(changed([](Writer& w) {
                    w.tensors[0].type = static_cast<uint32_t>(DType::f32);
                })));
    CHECK_ERROR(format, "list of i32", read(changed([](Writer& w) { w.tensors[0].ne = {6, 1}; })));
    test::GgufWriter no_capacity;
    no_capacity.magic = "PWRI";
    no_capacity.add_string("general.architecture", "generic.gpu_index");
    no_capacity.add_u32("generic.gpu_index.block_count", 3);
    CHECK_ERROR(format, "split.vram_capacity is missing", read(no_capacity.build()));
}

void staleness_compares_what_is_known() {
    GpuIndex index = small_index();
    const auto stale = [&](uint64_t model, std::optional<uint64_t> statistics) {
        return is_stale(GgufFile::from_bytes(encode_gpu_index(index)), model, statistics);
    };
    CHECK(!stale(1, std::nullopt) && !stale(1, 2)); // of others
    index.model = 1;
    CHECK(!stale(1, std::nullopt));
    CHECK(stale(2, std::nullopt));
    CHECK(stale(1, 7)); // made without statistics, which there are now
    index.statistics = 7;
    CHECK(!stale(1, 7) && !stale(1, std::nullopt));
    CHECK(stale(1, 8) && stale(2, 7));
}

void a_file_appears_whole_or_not() {
    const test::TemporaryDirectory folder;
    const std::string path = folder.write("x.gpuidx", "old");
    save_gpu_index(path, small_index());
    CHECK(read_gpu_index(GgufFile::open(path), 3, 6).neurons == small_index().neurons);
    const auto n_files = [&] {
        const std::filesystem::directory_iterator files(folder.path());
        return std::distance(begin(files), end(files));
    };
    CHECK_EQ(n_files(), 1);
    CHECK_ERROR(io, "cannot write", save_gpu_index(folder.at("none/x.gpuidx"), small_index()));
    std::filesystem::create_directories(folder.at("is_folder/full"));
    CHECK_ERROR(io, "is_folder", save_gpu_index(folder.at("is_folder"), small_index()));
    CHECK_EQ(n_files(), 2);
}

struct FreePlacement {
    void operator()(pi_placement* placement) const { pi_placement_free(placement); }
};
using Plan = std::unique_ptr<pi_placement, FreePlacement>;

// 96 neurons in 2 layers of a tiny model, with room for a third of them.
class Planner {
public:
    explicit Planner(uint64_t seed = 1) {
        TinyShape shape;
        shape.seed = seed;
        file_ = engine::file_of(shape);
        pi_placement_options_init(&options);
        options.n_batch = 32; // a longer step would take what the neurons are to leave
        options.vram_budget = uint64_t{1} << 40;
        const pi_placement_info whole = info(plan().get());
        options.vram_budget = whole.device_bytes - 2 * 64 * 3 * 64 * 4; // 64 neurons of each layer
    }

    Plan plan() const {
        pi_placement* placement = nullptr;
        engine::check(pi_file_place(file_.get(), &options, &placement));
        return Plan(placement);
    }
    std::string refusal() const {
        pi_placement* placement = nullptr;
        pi_error* error = pi_file_place(file_.get(), &options, &placement);
        CHECK(error != nullptr && placement == nullptr);
        const std::string message = error == nullptr ? "" : pi_error_get_message(error);
        pi_error_free(error);
        return message;
    }
    static pi_placement_info info(const pi_placement* placement) {
        pi_placement_info out{};
        out.struct_size = sizeof out;
        pi_placement_get_info(placement, &out);
        return out;
    }
    static std::vector<int32_t> neurons(const pi_placement* placement, uint32_t layer) {
        const int32_t* data = nullptr;
        uint32_t n = 0;
        engine::check(pi_placement_get_neurons(placement, layer, &data, &n));
        return {data, data + n};
    }

    pi_placement_options options;

private:
    engine::File file_;
};

void a_saved_plan_is_read_again_and_notices_changes() {
    const test::TemporaryDirectory folder;
    const std::string path = folder.at("x.generated.gpuidx");
    Planner planner;
    std::vector<double> counts(2 * 96, 1.0);
    for (size_t i = 0; i < 32; ++i) {
        counts[40 + i] = 5.0;
        counts[96 + 64 + i] = 5.0;
    }
    planner.options.counts = counts.data();
    planner.options.n_count_layers = 2;
    planner.options.n_count_neurons = 96;
    const Plan made = planner.plan();
    const std::vector<int32_t> first = Planner::neurons(made.get(), 0);
    CHECK(first.size() == 32 && first.front() == 40 && first.back() == 71);
    CHECK_EQ(Planner::info(made.get()).n_neurons, uint64_t{64});
    CHECK_EQ(Planner::info(made.get()).gpu_index, PI_GPU_INDEX_NONE);
    engine::check(pi_placement_save_gpu_index(made.get(), path.c_str()));

    planner.options.gpu_index = path.c_str();
    const auto check_used = [&](pi_gpu_index_state wanted) {
        const Plan plan = planner.plan();
        CHECK_EQ(Planner::info(plan.get()).gpu_index, wanted);
        const bool is_same = Planner::neurons(plan.get(), 0) == first;
        CHECK_EQ(is_same, wanted != PI_GPU_INDEX_STALE);
        CHECK(Planner::info(plan.get()).device_bytes <= planner.options.vram_budget);
    };
    check_used(PI_GPU_INDEX_USED);
    planner.options.counts = nullptr; // the index is enough
    check_used(PI_GPU_INDEX_USED);
    counts[0] = 50.0;
    planner.options.counts = counts.data();
    check_used(PI_GPU_INDEX_STALE);
    planner.options.counts = nullptr;
    planner.options.vram_budget -= 1;
    CHECK(planner.refusal().find("the budget leaves") != std::string::npos);

    Planner other(2); // the same shape with other weights
    other.options.gpu_index = path.c_str();
    CHECK_EQ(Planner::info(other.plan().get()).gpu_index, PI_GPU_INDEX_STALE);
}

void an_index_beyond_its_own_capacity_is_refused() {
    const test::TemporaryDirectory folder;
    const std::string path = folder.at("x.generated.gpuidx");
    Planner planner;
    engine::check(pi_placement_save_gpu_index(planner.plan().get(), path.c_str()));
    GpuIndex index = read_gpu_index(GgufFile::open(path), 2, 96);
    CHECK_EQ(index.vram_capacity, uint64_t{64 * 3 * 64 * 4});
    index.vram_capacity -= 1;
    save_gpu_index(path, index);
    planner.options.gpu_index = path.c_str();
    CHECK(planner.refusal().find("its split.vram_capacity is 49151") != std::string::npos);
    index.model.reset(); // of others: their capacity is counted otherwise
    save_gpu_index(path, index);
    CHECK_EQ(Planner::info(planner.plan().get()).gpu_index, PI_GPU_INDEX_FOREIGN);
}

void the_c_interface_refuses_with_the_reason() {
    Planner planner;
    std::vector<double> counts(96 * 2, 1.0);
    planner.options.counts = counts.data();
    planner.options.n_count_layers = 96;
    planner.options.n_count_neurons = 2;
    CHECK(planner.refusal().find("2 layers of 96 neurons") != std::string::npos);
    planner.options.counts = nullptr;
    planner.options.kv_dtype = 2;
    CHECK(planner.refusal().find("kv_dtype") != std::string::npos);
    planner.options.kv_dtype = 1;
    planner.options.n_batch = 0;
    CHECK(planner.refusal().find("n_batch") != std::string::npos);
    planner.options.n_batch = 1;
    planner.options.gpu_index = "/nonexistent/x.gpuidx";
    CHECK(planner.refusal().find("/nonexistent/x.gpuidx") != std::string::npos);
    planner.options.gpu_index = nullptr;
    const Plan plan = planner.plan();
    pi_placement_layer layer{};
    layer.struct_size = sizeof layer;
    pi_error* error = pi_placement_get_layer(plan.get(), 2, &layer);
    CHECK(error != nullptr && pi_error_get_kind(error) == PI_ERROR_INVALID_ARGUMENT);
    pi_error_free(error);
    pi_placement_part part{};
    part.struct_size = sizeof part;
    error = pi_placement_get_part(plan.get(), PI_N_PARTS, &part);
    CHECK(error != nullptr);
    pi_error_free(error);
    CHECK_EQ(pi_default_vram_budget(0), uint64_t{0});
    CHECK_EQ(pi_default_vram_budget(uint64_t{1} << 30), (uint64_t{1} << 30) - (256U << 20));
}

} // namespace

int main() {
    CHECK_RUN(the_layout_is_that_of_the_specification);
    CHECK_RUN(an_index_survives_its_file);
    CHECK_RUN(every_truncation_is_refused);
    CHECK_RUN(every_changed_value_is_refused);
    CHECK_RUN(damaged_files_are_refused_or_sound);
    CHECK_RUN(files_of_another_kind_are_refused_with_the_reason);
    CHECK_RUN(staleness_compares_what_is_known);
    CHECK_RUN(a_file_appears_whole_or_not);
    CHECK_RUN(a_saved_plan_is_read_again_and_notices_changes);
    CHECK_RUN(an_index_beyond_its_own_capacity_is_refused);
    CHECK_RUN(the_c_interface_refuses_with_the_reason);
    return check::finish();
}
