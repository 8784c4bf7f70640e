// Whole models on the device, or shared by device and host, against reference logits.
#include "golden.h"
#include "on_device.h"

#include <algorithm>

namespace {

using golden::Case;

void run_case(const Case& test) {
    const engine::File file = engine::open_file(test.model.string());
    const engine::Options options{.n_ctx = 64};
    for (const on_device::Budget& budget : on_device::kBudgets) {
        const engine::Placement placement = on_device::place(file.get(), budget, options);
        const engine::Model model = on_device::load(file.get(), placement.get(), test.strategy());
        std::vector<float> decode;
        {
            const engine::Context one = engine::context(model.get(), options);
            decode = engine::decode_logits(one.get(), model.get(), test.tokens);
        }
        const engine::Context all = engine::context(model.get(), options);
        const std::vector<float> batch = engine::batch_logits(all.get(), model.get(), test.tokens);
        const double distance = engine::distance(decode, test.reference);
        std::printf(
            "  %-32s %-20s %.3e (limit %.3e)\n",
            test.name.c_str(),
            budget.name,
            distance,
            test.limit
        );
        CHECK_MSG(distance <= test.limit, "%s, %s: %g", test.name.c_str(), budget.name, distance);
        CHECK_MSG(
            decode == batch, "%s, %s: decode and batch differ", test.name.c_str(), budget.name
        );
    }
}

void families_match_the_reference() {
    if (const auto root = test_data::root()) {
        const std::vector<Case> cases = golden::families(*root);
        CHECK(cases.size() >= 12);
        std::for_each(cases.begin(), cases.end(), run_case);
    }
}

void internals_match_the_reference() {
    if (const auto root = test_data::root()) {
        const std::vector<Case> cases = golden::internals(*root);
        CHECK(!cases.empty());
        std::for_each(cases.begin(), cases.end(), run_case);
    }
}

} // namespace

int main() {
    CHECK_RUN(families_match_the_reference);
    CHECK_RUN(internals_match_the_reference);
    return check::finish();
}
