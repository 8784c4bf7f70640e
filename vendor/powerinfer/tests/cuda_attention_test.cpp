// Attention on the device, against plain loops in double.
#include "cuda_step.h"

#include <limits>
#include <string>

using namespace cuda_step;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// All shapes of kernels: groups that fill a tile of heads, do not, need two; heads that fill the
// lanes, do not, need two tiles of columns; rows that are no words of 16 bytes.
struct Shape {
    int n_heads;
    int n_kv_heads;
    int head_dim;
};

constexpr Shape kShapes[] = {
    {1, 1, 8},
    {4, 2, 16},
    {8, 1, 64},
    {3, 3, 2},
    {6, 2, 80},
    {12, 1, 12},
    {9, 1, 64},
    {5, 1, 128},
    {4, 4, 64},
    {2, 2, 128},
    {2, 1, 256},
    {2, 2, 160},
    {3, 1, 70},
};

// Every edge of pages and chunks, in two sequences, one as a prompt has it.
std::vector<Token> edges() {
    std::vector<Token> tokens;
    for (const int position : {0, 1, 31, 32, 255, 256, 257, 700}) {
        tokens.push_back({position % 2, position});
    }
    tokens.push_back({1, 30});
    return tokens;
}

std::string name_of(const Shape& shape, DType type, int n_ctx) {
    return std::to_string(shape.n_heads) + "/" + std::to_string(shape.n_kv_heads) + "x" +
           std::to_string(shape.head_dim) + " " + std::string(dtype_info(type).name) + " of " +
           std::to_string(n_ctx);
}

void attention_is_that_of_a_plain_loop() {
    twin::Random random(2);
    for (const Shape& shape : kShapes) {
        for (const DType type : {DType::f16, DType::f32}) {
            const std::string name = name_of(shape, type, 768);
            const Heads heads = {Rope::pairs, shape.n_heads, shape.n_kv_heads, shape.head_dim};
            Step step(heads, type, 768, edges(), random);
            step.fill(random);
            const Step::Output result = step.attend(0, step.n(), cpu::max_step(16));
            step.check_values(result.out, name.c_str());
            step.check_packed(result, 16, name.c_str());
        }
    }
}

// Every order, every token alone: always the same bits.
void bits_depend_on_the_token_alone() {
    twin::Random random(3);
    for (const Shape& shape : {kShapes[1], kShapes[2], kShapes[9]}) {
        for (const DType type : {DType::f16, DType::f32}) {
            const Heads heads = {Rope::pairs, shape.n_heads, shape.n_kv_heads, shape.head_dim};
            std::vector<Token> tokens = edges();
            while (tokens.size() < cuda::kMaxTokens) {
                const int i = static_cast<int>(tokens.size());
                tokens.push_back({i % 4, i % 5 == 0 ? 8 * i : i});
            }
            Step step(heads, type, 768, tokens, random);
            step.fill(random);
            std::vector<Step::Output> results;
            device::in_all_orders([&] {
                results.push_back(step.attend(0, step.n(), cpu::max_step(8)));
            });
            step.check_values(results[0].out, name_of(shape, type, 768).c_str());
            step.check_packed(results[0], 8, name_of(shape, type, 768).c_str());
            for (const Step::Output& other : results) {
                CHECK(same_bits<float>(results[0].out, other.out));
                CHECK(results[0].low == other.low && results[0].high == other.high);
                CHECK(same_bits<cuda::BlockScale>(results[0].blocks, other.blocks));
            }
            const size_t dim = at(heads.dim());
            for (int t = 0; t < step.n(); ++t) {
                const Step::Output alone = step.attend(t, 1, cpu::max_step(8));
                const std::span<const float> beside(results[0].out.data() + at(t) * dim, dim);
                CHECK_MSG(same_bits<float>(alone.out, beside), "token %d", t);
            }
        }
    }
}

void a_model_of_many_heads() {
    twin::Random random(4);
    const Shape shape = {32, 32, 128};
    const Heads heads = {Rope::halves, shape.n_heads, shape.n_kv_heads, shape.head_dim};
    Step step(heads, DType::f16, 64, {{0, 40}, {1, 3}}, random);
    step.fill(random);
    const Step::Output result = step.attend(0, step.n(), cpu::max_step(16));
    step.check_values(result.out, name_of(shape, DType::f16, 64).c_str());
    step.check_packed(result, 16, name_of(shape, DType::f16, 64).c_str());
}

// Chunks of more pages than a block has warps: sums of a warp go on over several pages.
void long_contexts_have_longer_chunks() {
    CHECK_EQ(cuda::attention_chunk(1), 256);
    CHECK_EQ(cuda::attention_chunk(64 * 256), 256);
    CHECK_EQ(cuda::attention_chunk(64 * 256 + 1), 512);
    CHECK_EQ(cuda::attention_chunk(1 << 20), 1 << 14);
    twin::Random random(5);
    for (const Shape& shape : {Shape{1, 1, 16}, Shape{3, 1, 64}, Shape{6, 1, 16}}) {
        const Heads heads = {Rope::pairs, shape.n_heads, shape.n_kv_heads, shape.head_dim};
        for (const int n_ctx : {20000, 40000}) {
            Step step(heads, DType::f16, n_ctx, {{0, 1100}, {0, 511}, {0, 512}, {1, 290}}, random);
            step.fill(random);
            for (float& x : step.q) {
                x *= 5; // the maximum moves from page to page
            }
            const Step::Output result = step.attend(0, step.n(), cpu::max_step(16));
            step.check_values(result.out, name_of(shape, DType::f16, n_ctx).c_str());
        }
    }
}

// Scores that overflow when their maximum is not subtracted.
void large_scores_are_exact() {
    twin::Random random(6);
    Step step({Rope::pairs, 4, 2, 16}, DType::f32, 768, {{0, 600}, {1, 20}}, random);
    step.fill(random);
    for (float& x : step.q) {
        x = std::round(x * 4) * 512;
    }
    for (const int sequence : {0, 1}) {
        for (int p = 0; p < step.length(sequence); ++p) {
            for (int c = 0; c < step.heads.kv_dim(); ++c) {
                step.set(step.keys, sequence, p, c, std::round(random.normal() * 8) / 8);
            }
        }
    }
    step.check_values(step.attend(0, 2, cpu::max_step(16)).out, "large scores");
}

void infinite_and_undefined_scores() {
    twin::Random random(7);
    for (const Shape& shape : {Shape{4, 2, 16}, Shape{2, 2, 64}}) {
        const Heads heads = {Rope::pairs, shape.n_heads, shape.n_kv_heads, shape.head_dim};
        for (const float bad : {std::nanf(""), kInfinity, -kInfinity}) {
            for (const int at_position : {0, 40, 299}) {
                Step step(heads, DType::f16, 512, {{0, 0}, {0, 39}, {0, 299}, {1, 299}}, random);
                step.fill(random);
                for (int i = 0; i < heads.dim(); ++i) {
                    // The last head is worth +inf where the others are worth -inf.
                    const bool is_last = i / heads.head_dim == heads.n_heads - 1;
                    for (int t = 0; i % heads.head_dim == 0 && t < step.n(); ++t) {
                        step.q[at(t * heads.dim() + i)] = is_last ? -1.0f : 1.0f;
                    }
                }
                for (int h = 0; h < heads.n_kv_heads; ++h) {
                    step.set(step.keys, 0, at_position, h * heads.head_dim, bad);
                }
                const Step::Output result = step.attend(0, step.n(), cpu::max_step(16));
                step.check_values(result.out, "bad key");
                step.check_packed(result, 16, "bad key");
                const bool is_nan = std::isnan(result.out[2 * at(heads.dim())]);
                CHECK_EQ(is_nan, !(bad < 0)); // -inf alone is no harm
                CHECK(!std::isnan(result.out[3 * at(heads.dim())]));
            }
            // Whole pages of -inf, and nothing but that.
            Step step(heads, DType::f16, 512, {{0, 299}, {0, 259}}, random);
            step.fill(random);
            for (float& x : step.q) {
                x = std::abs(x) + 0.01f;
            }
            for (int p = 0; p < 260; ++p) {
                for (int h = 0; h < heads.n_kv_heads; ++h) {
                    step.set(step.keys, 0, p, h * heads.head_dim, bad);
                }
            }
            const Step::Output result = step.attend(0, step.n(), cpu::max_step(16));
            step.check_values(result.out, "pages of bad keys");
            CHECK_EQ(std::isnan(result.out[0]), !(bad < 0));
            CHECK(std::isnan(result.out[at(heads.dim())]));
        }
    }
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(attention_is_that_of_a_plain_loop);
    CHECK_RUN(bits_depend_on_the_token_alone);
    CHECK_RUN(a_model_of_many_heads);
    CHECK_RUN(long_contexts_have_longer_chunks);
    CHECK_RUN(large_scores_are_exact);
    CHECK_RUN(infinite_and_undefined_scores);
    return check::finish();
}
