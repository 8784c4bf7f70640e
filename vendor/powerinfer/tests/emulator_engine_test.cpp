// The engine on the emulated device, where the emulator shows what a GPU would not: that memory is
// what was planned, that no wait is missing, and what happens without a device or when it fails.
#include "check.h"
#include "emulator_cases.h"
#include "model_sizes.h"
#include "on_device.h"
#include "tiny_engine.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using emulator_cases::Restore;
using engine::file_of;
using engine::kTokens;
using on_device::Budget;
using on_device::kBudgets;
using powerinfer::DType;
using test::TinyShape;

namespace {

constexpr Budget kShared = {"40 % of the neurons", UINT32_MAX, UINT32_MAX, true, 0.4};

// Runs a model with this plan: the bytes that were used, at most those that were planned.
void check_memory(
    const pi_file* file,
    const pi_placement* plan,
    const engine::Options& options,
    pi_strategy strategy,
    const char* name
) {
    emu::reset_memory_peak();
    const size_t before = emu::memory_in_use();
    {
        const engine::Model model = on_device::load(file, plan, strategy);
        const engine::Context context = engine::context(model.get(), options);
        engine::decode_logits(context.get(), model.get(), {1, 2, 3, 4});
    }
    const uint64_t planned = on_device::info(plan).device_bytes - powerinfer::device_overhead();
    const uint64_t used = emu::memory_peak() - before;
    CHECK_MSG(
        used <= planned,
        "%s, strategy %u, batch %u: %llu of %llu",
        name,
        strategy,
        options.n_batch,
        static_cast<unsigned long long>(used),
        static_cast<unsigned long long>(planned)
    );
    // Planned are whole pages and a slack for the beginnings of arrays.
    CHECK(used + (uint64_t{5} << 20) > planned);
    CHECK_EQ(emu::memory_in_use(), before);
}

void no_more_memory_is_used_than_was_planned() {
    for (const char* family : {"llama", "falcon", "opt"}) {
        for (const bool is_sparse : {true, false}) {
            TinyShape shape;
            shape.family = family;
            shape.is_sparse = is_sparse;
            shape.n_layers = 3;
            const engine::File file = file_of(shape);
            for (const Budget& budget : on_device::budgets()) {
                for (const uint32_t n_batch : {1U, 512U}) {
                    const engine::Options options{
                        .n_sequences = 3, .n_batch = n_batch, .adapt_every = 1
                    };
                    const engine::Placement plan = on_device::place(file.get(), budget, options);
                    const std::string name = std::string(family) + ", " + budget.name;
                    check_memory(
                        file.get(), plan.get(), options, PI_STRATEGY_DEFAULT, name.c_str()
                    );
                }
            }
        }
    }
}

// With the same budget, and so the same memory, more neurons.
void what_a_strategy_does_not_read_leaves_room_for_neurons() {
    TinyShape shape;
    shape.dim = 96;
    shape.hidden_dim = 960;
    shape.rank = 64;
    shape.n_layers = 3;
    const engine::File file = file_of(shape);
    const engine::Options options{.n_batch = 16};
    const uint64_t budget =
        on_device::info(on_device::place(file.get(), kShared, options).get()).device_bytes;
    const auto plan_for = [&](pi_strategy strategy) {
        pi_placement_options wanted = on_device::placement_options(options, strategy);
        wanted.vram_budget = budget;
        wanted.group = 1;
        return on_device::place(file.get(), wanted);
    };
    const engine::Placement predicting = plan_for(PI_STRATEGY_PREDICTOR);
    const pi_placement_info before = on_device::info(predicting.get());
    const uint64_t predictor = on_device::part_bytes(predicting.get(), PI_PART_PREDICTOR);
    const uint64_t neuron = uint64_t{3} * 96 * sizeof(float);
    CHECK(predictor > 20 * neuron);
    check_memory(file.get(), predicting.get(), options, PI_STRATEGY_PREDICTOR, "predictor");
    for (const pi_strategy strategy : {PI_STRATEGY_EXACT, PI_STRATEGY_DENSE}) {
        const engine::Placement plan = plan_for(strategy);
        const pi_placement_info after = on_device::info(plan.get());
        CHECK_EQ(after.strategy, strategy);
        CHECK_EQ(on_device::part_bytes(plan.get(), PI_PART_PREDICTOR), uint64_t{0});
        CHECK(after.reserve < before.reserve); // nor its scratch
        const uint64_t freed = predictor + before.reserve - after.reserve;
        CHECK(after.n_neurons * neuron + neuron > before.n_neurons * neuron + freed);
        CHECK(after.device_bytes <= budget);
        check_memory(file.get(), plan.get(), options, strategy, "freed");
    }
    CHECK_EQ(before.strategy, PI_STRATEGY_PREDICTOR);
    CHECK_EQ(on_device::info(plan_for(PI_STRATEGY_DEFAULT).get()).strategy, PI_STRATEGY_PREDICTOR);
    const engine::Placement automatic = plan_for(PI_STRATEGY_AUTO);
    CHECK_EQ(on_device::part_bytes(automatic.get(), PI_PART_PREDICTOR), predictor);
    CHECK_ERROR(invalid_argument, "strategy: want 0 to 4, got 5", plan_for(5));
}

// A microsecond for each operation: steps of one kind take the same time, launched one by one or as
// a graph but for that launch; what a layer with more on the device has to do takes longer.
void device_times_are_those_of_what_was_enqueued() {
    const engine::File file = file_of(TinyShape{});
    const auto times = [&](const Budget& budget) {
        const engine::Placement plan = on_device::place(file.get(), budget, {});
        const engine::Model model = on_device::load(file.get(), plan.get());
        const engine::Context context = engine::context(model.get(), {.time_device = 1});
        std::vector<std::pair<uint64_t, uint64_t>> steps;
        for (const int32_t token : {1, 2, 3, 4}) {
            pi_context_reset_stats(context.get());
            engine::decode_logits(context.get(), model.get(), {token});
            const pi_stats stats = on_device::stats(context.get());
            CHECK_EQ(stats.device_ns % 1000, uint64_t{0});
            steps.emplace_back(stats.device_ns, stats.device_share_ns);
        }
        return steps;
    };
    const auto shared = times(kShared);
    const uint64_t n_pieces = 4; // of two layers
    CHECK(shared[2] == shared[1] && shared[3] == shared[1]);
    CHECK_EQ(shared[1].first, shared[0].first + n_pieces * 1000);
    CHECK_EQ(shared[1].second, shared[0].second + n_pieces / 2 * 1000);
    CHECK(times(kShared) == shared);
    CHECK(times(kBudgets[3])[0].second < shared[0].second); // no neurons
    const auto all = times(kBudgets[6]);
    CHECK_EQ(all[0].second, uint64_t{0});
    CHECK(all[0].first > 0);
}

void no_wait_is_missing() {
    const Restore restore;
    for (const char* family : {"llama", "falcon"}) {
        TinyShape shape;
        shape.family = family;
        shape.n_layers = 3;
        const engine::File file = file_of(shape);
        for (const Budget& budget : {kBudgets[2], kShared, kBudgets[6]}) {
            const engine::Placement plan = on_device::place(file.get(), budget, {});
            const engine::Model model = on_device::load(file.get(), plan.get());
            const auto logits = [&] {
                const engine::Context context = engine::context(model.get());
                return engine::decode_logits(context.get(), model.get(), kTokens);
            };
            emu::config().lazy = false;
            const std::vector<float> wanted = logits();
            emu::config().lazy = true;
            for (const emu::Order order :
                 {emu::Order::Forward, emu::Order::Reverse, emu::Order::Shuffle}) {
                emu::config().order = order;
                for (const unsigned n_threads : {1U, 2U}) {
                    emu::config().threads = n_threads;
                    CHECK_MSG(logits() == wanted, "%s, %s", family, budget.name);
                }
            }
            emu::config() = {};
        }
    }
}

void a_machine_without_a_device_says_so() {
    const Restore restore;
    const engine::File file = file_of(TinyShape{});
    const engine::Placement plan = on_device::place(file.get(), kShared, {});
    emu::config().n_devices = 0;
    pi_device_info info{};
    info.struct_size = sizeof info;
    CHECK_ERROR(device, "no GPU can be used", engine::check(pi_device_get_info(0, &info)));
    CHECK_ERROR(device, "no GPU can be used", on_device::load(file.get(), plan.get()));
    emu::config().n_devices = 1;
    emu::config().driver = 0;
    CHECK_ERROR(device, "no driver is installed", on_device::load(file.get(), plan.get()));
    emu::config().driver = 12040;
    CHECK_ERROR(
        device,
        "the driver is for CUDA 12.4, this program is for 13.0",
        on_device::load(file.get(), plan.get())
    );
    emu::config().driver = 13000;
    emu::config().has_kernels = false;
    CHECK_ERROR(
        device,
        "runs nothing of this program: no kernel image is available",
        on_device::load(file.get(), plan.get())
    );
}

// Whatever could not be enqueued: the device is done then, and the step can be made again.
void a_step_that_fails_can_be_made_again() {
    const Restore restore;
    TinyShape shape;
    shape.type = DType::q5_0; // whose kernels no other case has loaded
    const engine::File file = file_of(shape);
    engine::Batch batch;
    for (uint32_t i = 0; i < 5; ++i) {
        batch.add(kTokens[i], i, 0, i < 3 ? PI_OUTPUT_HIDDEN : PI_OUTPUT_LOGITS);
    }
    for (const Budget& budget : {kBudgets[2], kShared, kBudgets[6]}) {
        const engine::Placement plan = on_device::place(file.get(), budget, {});
        const engine::Model model = on_device::load(file.get(), plan.get());
        std::vector<std::vector<float>> logits; // of the step, made again unless the call was none
        for (bool fails = true; fails;) {
            const engine::Context context = engine::context(model.get());
            emu::config().fail_in = static_cast<int>(logits.size()) + 1;
            pi_error* error = batch.try_decode(context.get());
            emu::config().fail_in = 0;
            CHECK_EQ(emu::waiting_operations(), size_t{0});
            fails = error != nullptr;
            if (fails) {
                CHECK_EQ(pi_error_get_kind(error), PI_ERROR_DEVICE);
                pi_error_free(error);
                batch.decode(context.get());
            }
            logits.emplace_back();
            for (const uint32_t i : {3U, 4U}) {
                engine::append_logits(
                    logits.back(), context.get(), i, engine::info(model.get()).vocab_size
                );
            }
        }
        CHECK_MSG(logits.size() > 20, "%s: %zu", budget.name, logits.size());
        CHECK_EQ(std::ranges::count(logits, logits.back()), std::ssize(logits));
    }
}

// All but the first one are left alone; the emulator refuses to touch them.
void a_second_device_is_not_touched() {
    const Restore restore;
    emu::config().n_devices = 2;
    pi_device_info info{};
    info.struct_size = sizeof info;
    engine::check(pi_device_get_info(0, &info));
    CHECK_EQ(info.n_devices, 2U);
    const engine::File file = file_of(TinyShape{});
    CHECK(on_device::load(file.get(), on_device::place(file.get(), kShared, {}).get()) != nullptr);
}

void a_device_with_too_little_memory_is_an_error() {
    const Restore restore;
    const engine::File file = file_of(TinyShape{});
    const engine::Placement plan = on_device::place(file.get(), kShared, {});
    const uint64_t planned = on_device::info(plan.get()).device_bytes;
    const size_t before = emu::memory_in_use();
    emu::config().memory = before + planned - 1;
    CHECK_ERROR(
        out_of_memory, "plan with a smaller budget", on_device::load(file.get(), plan.get())
    );
    CHECK_EQ(emu::memory_in_use(), before);
    emu::config().memory = before + planned;
    CHECK(on_device::load(file.get(), plan.get()) != nullptr);
}

struct Steps {
    std::vector<uint64_t> done = {};
    uint64_t total = 0;
    size_t stop_after = SIZE_MAX; // calls
};

uint32_t on_progress(void* user, uint64_t done, uint64_t total) {
    Steps& steps = *static_cast<Steps*>(user);
    steps.done.push_back(done);
    steps.total = total;
    return steps.done.size() < steps.stop_after ? 1 : 0;
}

// Whichever matrix was sent last: copies that are on their way end before their memory goes.
void a_cancelled_load_leaves_the_device_as_it_was() {
    const Restore restore;
    const engine::File file = file_of(TinyShape{});
    const engine::Placement plan = on_device::place(file.get(), kShared, {});
    Steps steps;
    pi_model_options options = engine::model_options(PI_REPACK_NEVER);
    options.placement = plan.get();
    options.progress = on_progress;
    options.progress_user = &steps;
    const auto logits = [&] {
        const engine::Model model = engine::load(file.get(), options);
        const engine::Context context = engine::context(model.get());
        return engine::decode_logits(context.get(), model.get(), kTokens);
    };
    const std::vector<float> wanted = logits();
    const size_t n_steps = steps.done.size();
    CHECK(std::is_sorted(steps.done.begin(), steps.done.end()));
    CHECK(n_steps > 8 && steps.done.front() > 0 && steps.done.back() <= steps.total);
    const size_t before = emu::memory_in_use();
    for (const bool lazy : {true, false}) {
        emu::config().lazy = lazy;
        for (size_t n = 1; n <= n_steps; ++n) {
            steps = {.stop_after = n};
            CHECK_ERROR(cancelled, "the load was cancelled", engine::load(file.get(), options));
            CHECK_EQ(steps.done.size(), n);
            CHECK_EQ(emu::waiting_operations(), size_t{0});
            CHECK_EQ(emu::memory_in_use(), before);
        }
        steps = {};
        CHECK(logits() == wanted);
    }
}

} // namespace

int main() {
    CHECK_RUN(a_step_that_fails_can_be_made_again); // first: it loads kernels
    CHECK_RUN(no_more_memory_is_used_than_was_planned);
    CHECK_RUN(what_a_strategy_does_not_read_leaves_room_for_neurons);
    CHECK_RUN(device_times_are_those_of_what_was_enqueued);
    CHECK_RUN(no_wait_is_missing);
    CHECK_RUN(a_machine_without_a_device_says_so);
    CHECK_RUN(a_second_device_is_not_touched);
    CHECK_RUN(a_device_with_too_little_memory_is_an_error);
    CHECK_RUN(a_cancelled_load_leaves_the_device_as_it_was);
    return check::finish();
}
