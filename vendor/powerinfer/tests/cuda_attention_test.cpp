// Rotation, the paged cache and attention on the device, against plain loops in double.
#include "check.h"
#include "cpu/rounded.h"
#include "cuda/kernels.h"
#include "half.h"
#include "kv_cache.h"
#include "test_device.h"
#include "twin.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

using namespace powerinfer;
using cuda::Heads;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

size_t at(int i) {
    return static_cast<size_t>(i);
}

struct Token {
    int sequence;
    int position;
};

// A cache whose pages lie in random order, and the tokens of a step. All memory is exactly as long
// as it must be; pages that no token reaches are not in the lists.
struct Step {
    Heads heads;
    DType type;
    int n_ctx;
    std::vector<Token> tokens;

    device::vector<int32_t> positions;
    device::vector<int32_t> sequences;
    device::vector<int32_t> pages;
    device::vector<uint8_t> keys;
    device::vector<uint8_t> values;
    device::vector<float> rotation;
    device::vector<float> q;

    Step(Heads shape, DType dtype, int context, std::vector<Token> list, twin::Random& random)
        : heads(shape), type(dtype), n_ctx(context), tokens(std::move(list)) {
        int n_sequences = 0;
        for (const Token& token : tokens) {
            positions.push_back(token.position);
            sequences.push_back(token.sequence);
            n_sequences = std::max(n_sequences, token.sequence + 1);
        }
        pages.assign(at(n_sequences) * at(pages_per_sequence()), 0x40000000);
        int n_pages = 0;
        for (int s = 0; s < n_sequences; ++s) {
            for (int p = 0; p * kPageTokens < length(s); ++p) {
                page(s, p) = n_pages++;
            }
        }
        std::vector<int32_t> shuffled(at(n_pages));
        std::iota(shuffled.begin(), shuffled.end(), 0);
        for (int i = n_pages - 1; i > 0; --i) {
            std::swap(shuffled[at(i)], shuffled[at(random.below(i + 1))]);
        }
        for (int32_t& number : pages) {
            number = number < n_pages ? shuffled[at(number)] : number;
        }
        const size_t n_bytes = at(n_pages) * kPageTokens * row_bytes(type, heads.kv_dim());
        keys.assign(n_bytes, 0xff); // NaN
        values.assign(n_bytes, 0xff);
        q = device::copy(random.normals(tokens.size() * at(heads.dim())));
        for (const Token& token : tokens) {
            for (int i = 0; i < heads.head_dim / 2; ++i) {
                const double angle = token.position * std::pow(10000.0, -2.0 * i / heads.head_dim);
                rotation.push_back(static_cast<float>(std::cos(angle)));
            }
            for (int i = 0; i < heads.head_dim / 2; ++i) {
                const double angle = token.position * std::pow(10000.0, -2.0 * i / heads.head_dim);
                rotation.push_back(static_cast<float>(std::sin(angle)));
            }
        }
    }

    int n() const { return static_cast<int>(tokens.size()); }
    int pages_per_sequence() const { return (n_ctx + kPageTokens - 1) / kPageTokens; }
    int32_t& page(int sequence, int index) {
        return pages[at(sequence) * at(pages_per_sequence()) + at(index)];
    }
    // Positions that some token of the sequence sees.
    int length(int sequence) const {
        int longest = 0;
        for (const Token& token : tokens) {
            longest = std::max(longest, token.sequence == sequence ? token.position + 1 : 0);
        }
        return longest;
    }

    uint8_t* row(device::vector<uint8_t>& rows, int sequence, int position) {
        const int32_t number = page(sequence, position / kPageTokens);
        const size_t index = at(number) * kPageTokens + at(position % kPageTokens);
        return rows.data() + index * row_bytes(type, heads.kv_dim());
    }
    void set(device::vector<uint8_t>& rows, int sequence, int position, int column, float value) {
        uint8_t* p = row(rows, sequence, position) + row_bytes(type, column);
        const uint16_t half = f32_to_f16(value);
        std::memcpy(
            p,
            type == DType::f16 ? static_cast<const void*>(&half) : &value,
            at(static_cast<int>(row_bytes(type, 1)))
        );
    }
    double get(device::vector<uint8_t>& rows, int sequence, int position, int column) {
        return twin::weight(type, row(rows, sequence, position), column).value();
    }

    void fill(twin::Random& random) {
        for (int s = 0; s < static_cast<int>(pages.size()) / pages_per_sequence(); ++s) {
            for (int p = 0; p < length(s); ++p) {
                for (int c = 0; c < heads.kv_dim(); ++c) {
                    set(keys, s, p, c, random.normal());
                    set(values, s, p, c, random.normal());
                }
            }
        }
    }

    cuda::DeviceCache cache() { return {keys.data(), values.data(), type}; }
    // Tokens [begin, begin + count).
    cuda::DeviceTokens device_tokens(int begin, int count) {
        return {
            positions.data() + begin,
            sequences.data() + begin,
            pages.data(),
            pages_per_sequence(),
            heads.rope == Rope::none ? nullptr : rotation.data() + begin * heads.head_dim,
            count
        };
    }

    struct Output {
        device::vector<float> out;
        device::vector<int8_t> low;
        device::vector<int8_t> high;
        device::vector<cuda::BlockScale> blocks;
    };

    Output attend(int begin, int count, int max_step) {
        Output result;
        const size_t n_values = at(count) * at(heads.dim());
        result.out.assign(n_values, std::nanf(""));
        cuda::Packed packed;
        if (heads.dim() % 32 == 0) {
            result.low.assign(n_values, 0);
            result.high.assign(n_values, 0);
            result.blocks.resize(n_values / 32);
            packed = {result.low.data(), result.high.data(), result.blocks.data()};
        }
        device::vector<float> scratch(
            cuda::attention_scratch(heads.n_heads, heads.head_dim, count, n_ctx), std::nanf("")
        );
        cuda::attend(
            nullptr,
            result.out.data(),
            packed,
            q.data() + begin * heads.dim(),
            cache(),
            device_tokens(begin, count),
            heads,
            n_ctx,
            max_step,
            scratch.data()
        );
        device::wait();
        return result;
    }

    // What attend() should give, and how large an error to allow.
    void check_values(std::span<const float> out, const char* name) {
        const int group = heads.n_heads / heads.n_kv_heads;
        const double scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim));
        double worst = 0;
        for (int t = 0; t < n(); ++t) {
            const auto [s, position] = tokens[at(t)];
            for (int h = 0; h < heads.n_heads; ++h) {
                const int first = h / group * heads.head_dim;
                const int column = t * heads.dim() + h * heads.head_dim;
                std::vector<double> weights;
                double max = -HUGE_VAL;
                for (int p = 0; p <= position; ++p) {
                    double dot = 0;
                    for (int c = 0; c < heads.head_dim; ++c) {
                        dot += static_cast<double>(q[at(column + c)]) * get(keys, s, p, first + c);
                    }
                    weights.push_back(dot * scale);
                    max = std::fmax(max, dot * scale);
                }
                double sum = 0;
                for (double& weight : weights) {
                    weight = std::exp(weight - max);
                    sum += weight;
                }
                for (int c = 0; c < heads.head_dim; ++c) {
                    double wanted = 0;
                    double size = 0;
                    for (int p = 0; p <= position; ++p) {
                        const double term = weights[at(p)] / sum * get(values, s, p, first + c);
                        wanted += term;
                        size += std::abs(term);
                    }
                    const double found = static_cast<double>(out[at(column + c)]);
                    if (std::isnan(wanted) || std::isnan(found)) {
                        CHECK_MSG(
                            std::isnan(wanted) && std::isnan(found),
                            "%s: token %d, head %d, column %d: %g, not %g",
                            name,
                            t,
                            h,
                            c,
                            found,
                            wanted
                        );
                    } else {
                        worst = std::max(worst, std::abs(found - wanted) / (size + 1e-30));
                    }
                }
            }
        }
        CHECK_MSG(worst < 1e-5, "%s: worst error %g of the sum's terms", name, worst);
    }

    void check_packed(const Output& result, int bits, const char* name) {
        for (size_t b = 0; b < result.blocks.size(); ++b) {
            const cpu::RoundedBlock wanted = cpu::round_block(result.out.data() + 32 * b, bits);
            bool same = std::memcmp(&wanted.scale, &result.blocks[b].scale, sizeof(float)) == 0;
            for (size_t j = 0; j < 32; ++j) {
                const int step = 256 * result.high[32 * b + j] + result.low[32 * b + j];
                same = same && step == wanted.q[j];
            }
            same = same && result.blocks[b].sums[0] + result.blocks[b].sums[1] == wanted.sum;
            CHECK_MSG(same, "%s: rounded block %zu", name, b);
        }
    }
};

template <typename T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// ---- rotation and storing ----

// Floats that round in every way there is, then noise.
std::vector<float> values_to_store(size_t n, twin::Random& random) {
    std::vector<float> x = {
        0.0f,
        -0.0f,
        65519.0f,
        65520.0f,
        -1e6f,
        kInfinity,
        -kInfinity,
        0x1p-24f,
        0x1p-25f,
        0x1.8p-25f,
        0x1.8p-24f,
        -3e-6f,
        1.0f + 0x1p-11f,
        1.0f + 0x1.8p-10f,
        1.0f + 0x3p-11f,
        0x1.ffep-15f,
        0x1.fffp-15f,
        1e-40f
    };
    while (x.size() < n) {
        x.push_back(random.normal() * (random.below(4) == 0 ? 1e-5f : 1.0f));
    }
    x.resize(n);
    return x;
}

void rotate_pair(Rope rope, int head_dim, const float* rotation, double* head) {
    const int half = head_dim / 2;
    for (int i = 0; i < half; ++i) {
        const int a = rope == Rope::halves ? i : 2 * i;
        const int b = rope == Rope::halves ? i + half : 2 * i + 1;
        const double x = head[a];
        const double y = head[b];
        const auto cosine = static_cast<double>(rotation[i]);
        const auto sine = static_cast<double>(rotation[half + i]);
        head[a] = x * cosine - y * sine;
        head[b] = x * sine + y * cosine;
    }
}

std::vector<double> rotated(const Step& step, std::span<const float> x, int n_heads) {
    std::vector<double> result(x.begin(), x.end());
    const int dim = step.heads.head_dim;
    for (int t = 0; t < step.n() && step.heads.rope != Rope::none; ++t) {
        for (int h = 0; h < n_heads; ++h) {
            rotate_pair(
                step.heads.rope,
                dim,
                step.rotation.data() + t * dim,
                result.data() + (t * n_heads + h) * dim
            );
        }
    }
    return result;
}

// One rounding of each of three operations, of numbers no larger than `size`.
bool is_near(double found, double wanted, double size) {
    return std::abs(found - wanted) <= size * 0x1p-22;
}

void check_rows(Step& step, std::span<const float> k, std::span<const float> v) {
    const int kv_dim = step.heads.kv_dim();
    const bool turns = step.heads.rope != Rope::none;
    const std::vector<double> wanted = rotated(step, k, step.heads.n_kv_heads);
    Step other = step; // with what is not from k and v
    for (int t = 0; t < step.n(); ++t) {
        const auto [s, position] = step.tokens[at(t)];
        for (int c = 0; c < kv_dim; ++c) {
            const size_t i = at(t * kv_dim + c);
            other.set(other.values, s, position, c, v[i]);
            if (turns) {
                const double found = step.get(step.keys, s, position, c);
                const double half_step = step.type == DType::f16 ? 0x1p-11 : 0;
                const double error = std::abs(found - wanted[i]);
                const double allowed = std::abs(wanted[i]) * half_step + 5 * 0x1p-22 +
                                       (step.type == DType::f16 ? 0x1p-25 : 0);
                CHECK_MSG(
                    error <= allowed, "key %d of token %d: %g, not %g", c, t, found, wanted[i]
                );
                other.set(other.keys, s, position, c, static_cast<float>(found));
            } else {
                other.set(other.keys, s, position, c, k[i]);
            }
        }
    }
    CHECK(step.values == other.values);
    CHECK(step.keys == other.keys); // nothing else was written
}

void keys_and_values_reach_their_rows() {
    twin::Random random(1);
    for (const DType type : {DType::f16, DType::f32}) {
        for (const Rope rope : {Rope::pairs, Rope::halves, Rope::none}) {
            for (const Heads heads :
                 {Heads{rope, 1, 1, 8},
                  Heads{rope, 4, 2, 16},
                  Heads{rope, 5, 1, 6},
                  Heads{rope, 3, 3, 2},
                  Heads{rope, 9, 9, 64}}) {
                for (const int n : {1, 3, 32}) {
                    std::vector<Token> tokens;
                    for (int t = 0; t < n; ++t) {
                        tokens.push_back({t % 3, t < 3 ? 30 : 30 + t / 3});
                    }
                    const Step fresh(heads, type, 100, tokens, random);
                    const size_t n_kv = at(n) * at(heads.kv_dim());
                    const device::vector<float> k = device::copy(
                        rope == Rope::none ? values_to_store(n_kv, random) : random.normals(n_kv)
                    );
                    const device::vector<float> v = device::copy(values_to_store(n_kv, random));
                    const std::vector<double> wanted = rotated(fresh, fresh.q, heads.n_heads);
                    device::in_all_orders([&] {
                        Step step = fresh;
                        cuda::rotate_and_store(
                            nullptr,
                            step.q.data(),
                            k.data(),
                            v.data(),
                            step.cache(),
                            step.device_tokens(0, n),
                            heads
                        );
                        device::wait();
                        check_rows(step, k, v);
                        for (size_t i = 0; i < step.q.size(); ++i) {
                            CHECK(is_near(static_cast<double>(step.q[i]), wanted[i], 10));
                        }
                        if (rope == Rope::none) {
                            CHECK(step.q == fresh.q);
                        }
                    });
                }
            }
        }
    }
}

// ---- attention ----

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
    CHECK_RUN(keys_and_values_reach_their_rows);
    CHECK_RUN(attention_is_that_of_a_plain_loop);
    CHECK_RUN(bits_depend_on_the_token_alone);
    CHECK_RUN(a_model_of_many_heads);
    CHECK_RUN(long_contexts_have_longer_chunks);
    CHECK_RUN(large_scores_are_exact);
    CHECK_RUN(infinite_and_undefined_scores);
    return check::finish();
}
