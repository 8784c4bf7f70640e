// Whole models on the device, or shared by device and host, against reference logits.
#include "golden.h"
#include "on_device.h"
#include "sanitized.h"
#include "test_device.h"

namespace {

using golden::Case;

// Logits of a context of its own: the model has one at a time.
std::vector<float> batch(const pi_model* model, const Case& test) {
    const engine::Context context = engine::context(model, {.n_ctx = 64});
    return engine::batch_logits(context.get(), model, test.tokens);
}

std::vector<float> decode(const pi_model* model, const Case& test) {
    const engine::Context context = engine::context(model, {.n_ctx = 64});
    return engine::decode_logits(context.get(), model, test.tokens);
}

void run_case(const Case& test) {
    const engine::File file = engine::open_file(test.model.string());
    for (const on_device::Budget& budget : on_device::kBudgets) {
        const bool is_shared = budget.neurons > 0.0 && budget.neurons < 0.5;
        if (kIsSanitized && !is_shared) {
            continue;
        }
        const engine::Placement placement =
            on_device::place(file.get(), budget, {.n_ctx = 64}, test.strategy());
        const engine::Model model = on_device::load(file.get(), placement.get(), test.strategy());
        const std::vector<float> logits = batch(model.get(), test);
        const double distance = engine::distance(logits, test.reference);
        std::printf(
            "  %-32s %-24s %.3e (limit %.3e)\n",
            test.name.c_str(),
            budget.name,
            distance,
            test.limit
        );
        CHECK_MSG(distance <= test.limit, "%s, %s: %g", test.name.c_str(), budget.name, distance);
        if (is_shared || budget.neurons == 1.0) {
            CHECK_MSG(
                decode(model.get(), test) == logits,
                "%s, %s: decode and batch differ",
                test.name.c_str(),
                budget.name
            );
        }
    }
}

void families_match_the_reference() {
    golden::for_families(run_case);
}

void internals_match_the_reference() {
    golden::for_internals(run_case);
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(families_match_the_reference);
    CHECK_RUN(internals_match_the_reference);
    return check::finish();
}
