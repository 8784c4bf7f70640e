// The engine on the emulated device, where the emulator shows what a GPU would not: that memory is
// what was planned, that no wait is missing, and what happens without a device or when it fails.
#include "check.h"
#include "emulator_cases.h"
#include "model_sizes.h"
#include "on_device.h"
#include "tiny_engine.h"

#include <string>
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
                    emu::reset_memory_peak();
                    const size_t before = emu::memory_in_use();
                    {
                        const engine::Model model = on_device::load(file.get(), plan.get());
                        const engine::Context context = engine::context(model.get(), options);
                        engine::decode_logits(context.get(), model.get(), {1, 2, 3, 4});
                    }
                    const uint64_t planned =
                        on_device::info(plan.get()).device_bytes - powerinfer::device_overhead();
                    const uint64_t used = emu::memory_peak() - before;
                    CHECK_MSG(
                        used <= planned,
                        "%s, %s, batch %u: %llu of %llu",
                        family,
                        budget.name,
                        n_batch,
                        static_cast<unsigned long long>(used),
                        static_cast<unsigned long long>(planned)
                    );
                    // Planned are whole pages and a slack for the beginnings of arrays.
                    CHECK(used + (uint64_t{5} << 20) > planned);
                    CHECK_EQ(emu::memory_in_use(), before);
                }
            }
        }
    }
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

} // namespace

int main() {
    CHECK_RUN(no_more_memory_is_used_than_was_planned);
    CHECK_RUN(no_wait_is_missing);
    CHECK_RUN(a_machine_without_a_device_says_so);
    CHECK_RUN(a_device_with_too_little_memory_is_an_error);
    return check::finish();
}
