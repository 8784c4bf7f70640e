// Rotary positions against the formulas of the specification (2.1), written out here a second time.
#include "check.h"
#include "rope.h"
#include "tiny_engine.h"

#include <algorithm>
#include <cmath>

using powerinfer::Config;
using powerinfer::MetaType;
using test::TinyModel;
using test::TinyShape;

namespace {

constexpr double kPi = 3.14159265358979323846;

// What the specification calls theta / p, by linear scaling.
double linear(double base, double head_dim, double factor, int i) {
    return std::pow(base, -2.0 * i / head_dim) / factor;
}

double correction(double base, double head_dim, double original, double turns) {
    return head_dim * std::log(original / (2.0 * kPi * turns)) / (2.0 * std::log(base));
}

double yarn(double base, double head_dim, double factor, double original, int i) {
    const double low = std::max(0.0, std::floor(correction(base, head_dim, original, 32.0)));
    const double high =
        std::min(head_dim - 1.0, std::ceil(correction(base, head_dim, original, 1.0)));
    const double share = (i - low) / std::max(0.001, high - low);
    const double ramp = 1.0 - std::min(1.0, std::max(0.0, share));
    return linear(base, head_dim, factor, i) * (1.0 - ramp) + linear(base, head_dim, 1.0, i) * ramp;
}

struct Scaling {
    const char* type; // nullptr: no key
    float factor;     // 0: no key
    int original;     // 0: no key
};

// The configuration of a file with this scaling and heads of 128 dimensions, as in a 7B model.
Config config_of(const Scaling& scaling, float base = 10000.0F, int n_ctx = 4096) {
    TinyModel tiny{TinyShape{.dim = 256, .n_heads = 2, .n_ctx = n_ctx}};
    tiny.writer().add("llama.rope.freq_base", MetaType::f32, base);
    if (scaling.type != nullptr) {
        tiny.writer().add_string("llama.rope.scaling.type", scaling.type);
    }
    if (scaling.factor != 0.0F) {
        tiny.writer().add("llama.rope.scaling.factor", MetaType::f32, scaling.factor);
    }
    if (scaling.original != 0) {
        const auto original = static_cast<uint32_t>(scaling.original);
        tiny.writer().add_u32("llama.rope.scaling.original_context_length", original);
    }
    const powerinfer::GgufFile file = powerinfer::GgufFile::from_bytes(tiny.build());
    return powerinfer::read_config(file);
}

template <typename Formula>
void check_frequencies(const Config& config, Formula&& formula) {
    CHECK_EQ(config.head_dim, 128);
    for (int i = 0; i < 64; ++i) {
        const double wanted = formula(i);
        CHECK_NEAR(powerinfer::rope_frequency(config, i) / wanted, 1.0, 1e-6);
    }
}

void unscaled_frequencies_are_powers_of_the_base() {
    for (const float base : {10000.0F, 1e6F}) {
        for (const Scaling& scaling :
             {Scaling{nullptr, 0.0F, 0}, Scaling{"none", 8.0F, 0}, Scaling{"linear", 0.0F, 0}}) {
            const Config config = config_of(scaling, base);
            check_frequencies(config, [&](int i) {
                return linear(static_cast<double>(base), 128.0, 1.0, i);
            });
            CHECK_EQ(powerinfer::rope_magnitude(config), 1.0);
        }
    }
}

void linear_scaling_divides_every_frequency() {
    for (const char* type : {"linear", static_cast<const char*>(nullptr)}) {
        const Config config = config_of({type, 4.0F, 0});
        check_frequencies(config, [](int i) { return linear(10000.0, 128.0, 4.0, i); });
        CHECK_EQ(powerinfer::rope_magnitude(config), 1.0);
    }
}

void the_older_name_of_the_factor_counts_where_the_newer_is_missing() {
    TinyModel tiny{TinyShape{.dim = 256, .n_heads = 2}};
    tiny.writer().add("llama.rope.scale_linear", MetaType::f32, 2.0F);
    const powerinfer::GgufFile file = powerinfer::GgufFile::from_bytes(tiny.build());
    check_frequencies(powerinfer::read_config(file), [](int i) {
        return linear(10000.0, 128.0, 2.0, i);
    });
}

void yarn_scales_slow_frequencies_and_keeps_fast_ones() {
    const Config config = config_of({"yarn", 16.0F, 4096}, 10000.0F, 65536);
    check_frequencies(config, [](int i) { return yarn(10000.0, 128.0, 16.0, 4096.0, i); });
    // The shape of the formula, without the formula.
    CHECK_NEAR(powerinfer::rope_frequency(config, 0), 1.0, 1e-12);
    CHECK_NEAR(
        powerinfer::rope_frequency(config, 63) / linear(10000.0, 128.0, 16.0, 63), 1.0, 1e-6
    );
    const double middle = powerinfer::rope_frequency(config, 33);
    CHECK(middle < linear(10000.0, 128.0, 1.0, 33) && middle > linear(10000.0, 128.0, 16.0, 33));
    CHECK_NEAR(powerinfer::rope_magnitude(config), 1.0 + 0.1 * std::log(16.0), 1e-7);
}

void yarn_takes_the_context_of_the_file_as_the_original_one() {
    const Config config = config_of({"yarn", 4.0F, 0}, 10000.0F, 2048);
    check_frequencies(config, [](int i) { return yarn(10000.0, 128.0, 4.0, 2048.0, i); });
}

void a_tiny_original_context_leaves_no_ramp() {
    const Config config = config_of({"yarn", 4.0F, 4});
    check_frequencies(config, [](int i) { return yarn(10000.0, 128.0, 4.0, 4.0, i); });
    CHECK_NEAR(powerinfer::rope_frequency(config, 1), linear(10000.0, 128.0, 4.0, 1), 1e-9);
}

void impossible_scaling_is_refused() {
    CHECK_ERROR(unsupported, "want none, linear or yarn", config_of({"longrope", 4.0F, 0}));
    CHECK_ERROR(format, "rope.scaling.factor", config_of({"linear", -1.0F, 0}));
    CHECK_ERROR(
        format, "rope.scaling.factor", config_of({"linear", 1e-42F, 0})
    ); // 1 / it: infinity
    CHECK_ERROR(format, "rope.scaling.factor", config_of({"yarn", INFINITY, 0}));
    CHECK_ERROR(format, "rope.freq_base", config_of({nullptr, 0.0F, 0}, 1.0F));
}

// Heads (a0, a1, a2, a3): one form pairs neighbours, the other the halves.
void heads_turn_in_pairs_or_in_halves() {
    for (const char* name : {"llama", "falcon"}) {
        TinyModel tiny{TinyShape{.family = name}};
        const powerinfer::GgufFile file = powerinfer::GgufFile::from_bytes(tiny.build());
        Config config = powerinfer::read_config(file);
        config.head_dim = 4;
        const float rotation[] = {0.0F, 1.0F, 1.0F, 0.0F}; // a quarter turn, and none
        float heads[] = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F, 7.0F, 8.0F};
        powerinfer::rotate_heads(config, rotation, heads, 2);
        const float pairs[] = {-2.0F, 1.0F, 3.0F, 4.0F, -6.0F, 5.0F, 7.0F, 8.0F};
        const float halves[] = {-3.0F, 2.0F, 1.0F, 4.0F, -7.0F, 6.0F, 5.0F, 8.0F};
        const bool is_llama = std::string_view(name) == "llama";
        CHECK_MSG(std::equal(heads, heads + 8, is_llama ? pairs : halves), "%s", name);
    }
}

// Right formulas are of use only if the forward pass asks for them.
void scaling_reaches_the_logits() {
    const auto logits = [](const char* type, float factor) {
        TinyModel tiny{TinyShape{}};
        tiny.writer().add_string("llama.rope.scaling.type", type);
        tiny.writer().add("llama.rope.scaling.factor", MetaType::f32, factor);
        const engine::File file = engine::file_of(tiny.build());
        const engine::Model model = engine::load(file.get());
        return engine::run(model.get());
    };
    const auto plain = logits("none", 8.0F);
    CHECK(logits("linear", 1.0F) == plain);
    CHECK(logits("linear", 8.0F) != plain);
    CHECK(logits("yarn", 8.0F) != plain);
    CHECK(logits("yarn", 8.0F) != logits("linear", 8.0F));
}

} // namespace

int main() {
    CHECK_RUN(unscaled_frequencies_are_powers_of_the_base);
    CHECK_RUN(linear_scaling_divides_every_frequency);
    CHECK_RUN(the_older_name_of_the_factor_counts_where_the_newer_is_missing);
    CHECK_RUN(yarn_scales_slow_frequencies_and_keeps_fast_ones);
    CHECK_RUN(yarn_takes_the_context_of_the_file_as_the_original_one);
    CHECK_RUN(a_tiny_original_context_leaves_no_ramp);
    CHECK_RUN(impossible_scaling_is_refused);
    CHECK_RUN(heads_turn_in_pairs_or_in_halves);
    CHECK_RUN(scaling_reaches_the_logits);
    return check::finish();
}
