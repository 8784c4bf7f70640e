// Rotation and the paged cache on the device, against plain loops in double.
#include "cuda_step.h"

#include <limits>

using namespace cuda_step;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(keys_and_values_reach_their_rows);
    return check::finish();
}
