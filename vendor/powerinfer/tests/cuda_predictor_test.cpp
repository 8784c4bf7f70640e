// The predictor on the device: hidden layer, selection and what is handed to the host.
#include "check.h"
#include "cuda_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

using namespace op_cases;
using namespace powerinfer::cuda;
using cuda_cases::PackedRoom;
using cuda_cases::Tokens;
using cuda_cases::Weights;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kUnset = -77;

const char* name_of(DType type) {
    return powerinfer::dtype_info(type).name;
}

bool is_quantized(DType type) {
    return powerinfer::dtype_info(type).is_quantized;
}

// What the scalar table gives, (n_tokens, n_rows).
std::vector<float> products(const Matrix& m, Inputs& in) {
    const Ops& ops = powerinfer::cpu::scalar_ops();
    const auto n = static_cast<size_t>(m.n_rows);
    std::vector<float> out(n * static_cast<size_t>(in.n_tokens));
    const Activations x = in.view(ops, is_quantized(m.type));
    ops.of(m.type).dot_rows(out.data(), n, m.rows(nullptr, m.n_rows), x);
    return out;
}

device::vector<float> hidden_of(
    const Weights& fc1, const op_cases::Inputs& in, PackedRoom* packed
) {
    Tokens x(in);
    const DeviceMatrix w = fc1.view();
    device::vector<float> hidden(
        static_cast<size_t>(w.rows) * static_cast<size_t>(in.n_tokens), static_cast<float>(kUnset)
    );
    const Packed room = packed != nullptr ? packed->view() : Packed{};
    predict_hidden(nullptr, hidden.data(), room, w, x.view(), powerinfer::cpu::max_step(in.bits));
    device::wait();
    return hidden;
}

// ---- hidden layer ----

void hidden_is_the_positive_part_of_the_products() {
    Random random(11);
    for (const DType type : powerinfer::kWeightTypes) {
        std::vector<int> dims = sizes_of(type);
        dims.push_back(2048); // columns for every part of a row
        for (const int dim : dims) {
            for (const int rank : {1, 33, 70}) {
                const Matrix m = random_matrix(type, rank, dim, random);
                const Weights w(m);
                for (const int n_tokens : {1, 2, 3, 9, 32}) {
                    Inputs in = random_inputs(n_tokens, dim, random);
                    const std::vector<float> want = products(m, in);
                    const device::vector<float> hidden = hidden_of(w, in, nullptr);
                    size_t n_wrong = 0;
                    for (size_t k = 0; k < want.size(); ++k) {
                        // Terms are of about the size 1 and random; extremes are multiply's test.
                        const double error =
                            std::abs(static_cast<double>(hidden[k] - std::max(want[k], 0.0f)));
                        n_wrong += error <= 2e-7 * dim + 1e-6 && hidden[k] >= 0.0f ? 0 : 1;
                    }
                    CHECK_MSG(
                        n_wrong == 0,
                        "%s, %d x %d, %d tokens: %zu wrong",
                        name_of(type),
                        rank,
                        dim,
                        n_tokens,
                        n_wrong
                    );
                }
            }
        }
    }
}

void packed_hidden_is_hidden_rounded() {
    Random random(12);
    for (const DType type : {DType::f16, DType::q4_0, DType::q6_k}) {
        const int dim = sizes_of(type)[1];
        for (const int rank : {32, 96}) {
            const Weights w(random_matrix(type, rank, dim, random));
            for (const int n_tokens : {1, 2, 4, 11}) {
                const Inputs in = random_inputs(n_tokens, dim, random, n_tokens == 4 ? 8 : 16);
                device::in_all_orders([&] {
                    PackedRoom packed(static_cast<size_t>(n_tokens) * static_cast<size_t>(rank));
                    const device::vector<float> hidden = hidden_of(w, in, &packed);
                    Tokens want(make_inputs({hidden.begin(), hidden.end()}, n_tokens, rank, in.bits)
                    );
                    const Packed q = want.view().packed;
                    CHECK(std::equal(packed.low.begin(), packed.low.end(), q.low));
                    CHECK(std::equal(packed.high.begin(), packed.high.end(), q.high));
                    bool same = true;
                    for (size_t b = 0; b < packed.blocks.size(); ++b) {
                        const BlockScale& have = packed.blocks[b];
                        same = same && same_bits(have.scale, q.blocks[b].scale) &&
                               have.sums[0] == q.blocks[b].sums[0] &&
                               have.sums[1] == q.blocks[b].sums[1];
                    }
                    CHECK_MSG(same, "%s, rank %d, %d tokens", name_of(type), rank, n_tokens);
                });
            }
        }
    }
}

void hidden_of_a_token_has_the_same_bits_alone_and_in_any_batch() {
    Random random(13);
    for (const DType type : powerinfer::kWeightTypes) {
        const int dim = sizes_of(type)[2] + sizes_of(type)[1];
        constexpr int kRank = 45;
        const Weights w(random_matrix(type, kRank, dim, random));
        const Inputs all = random_inputs(32, dim, random);
        std::vector<device::vector<float>> alone;
        for (ptrdiff_t t = 0; t < 32; ++t) {
            const auto begin = all.f32.begin() + t * dim;
            alone.push_back(hidden_of(w, make_inputs({begin, begin + dim}, 1, dim), nullptr));
        }
        device::in_all_orders([&] {
            for (const int n_tokens : {2, 3, 8, 9, 32}) {
                const auto end = all.f32.begin() + ptrdiff_t{n_tokens} * dim;
                const device::vector<float> hidden =
                    hidden_of(w, make_inputs({all.f32.begin(), end}, n_tokens, dim), nullptr);
                for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t) {
                    const float* own = hidden.data() + t * kRank;
                    CHECK_MSG(
                        same_bits({own, own + kRank}, alone[t]),
                        "%s, token %zu of %d",
                        name_of(type),
                        t,
                        n_tokens
                    );
                }
            }
        });
    }
}

void hidden_of_nan_is_zero() {
    Random random(14);
    const Weights w(random_matrix(DType::f32, 32, 40, random));
    const Inputs in = make_inputs(std::vector<float>(40, std::nanf("")), 1, 40);
    for (const float h : hidden_of(w, in, nullptr)) {
        CHECK_EQ(h, 0.0f);
    }
}

// ---- selection ----

// A selection and its memory, exactly as long as it must be.
struct Lists {
    explicit Lists(int n)
        : counts(static_cast<size_t>(n), kUnset), rows(32 * counts.size(), kUnset),
          needed(32 * counts.size(), static_cast<uint32_t>(kUnset)) {}

    Selection view() { return {counts.data(), rows.data(), needed.data()}; }
    void add(size_t segment, int32_t row, uint32_t word) {
        const auto at = 32 * segment + static_cast<size_t>(counts[segment]++);
        rows[at] = row;
        needed[at] = word;
    }
    bool operator==(const Lists&) const = default;

    device::vector<int32_t> counts;
    device::vector<int32_t> rows;
    device::vector<uint32_t> needed;
};

// words[i]: which tokens need row i.
Lists lists_of(const std::vector<uint32_t>& words, int n_hot) {
    const auto n_rows = static_cast<int>(words.size());
    Lists lists(n_segments(n_hot, n_rows));
    std::fill(lists.counts.begin(), lists.counts.end(), 0);
    for (int i = 0; i < n_rows; ++i) {
        const int segment = i < n_hot ? i / 32 : (n_hot + 31) / 32 + (i - n_hot) / 32;
        if (words[static_cast<size_t>(i)] != 0) {
            lists.add(static_cast<size_t>(segment), i, words[static_cast<size_t>(i)]);
        }
    }
    return lists;
}

std::vector<uint32_t> words_of(const std::vector<float>& scores, size_t n_rows, float threshold) {
    std::vector<uint32_t> words(n_rows);
    for (size_t k = 0; k < scores.size(); ++k) {
        words[k % n_rows] |= uint32_t{scores[k] >= threshold} << k / n_rows;
    }
    return words;
}

// Thresholds with a share of about 1/10 and 1/2 above them, in the widest gap nearby: rounding does
// not matter then.
std::vector<float> thresholds(std::vector<float> scores) {
    std::sort(scores.begin(), scores.end());
    std::vector<float> found = {-kInfinity, kInfinity};
    for (const double share : {0.9, 0.5}) {
        const auto n = static_cast<double>(scores.size());
        auto begin = static_cast<size_t>(n * (share - 0.1));
        const auto end = static_cast<size_t>(n * (share + 0.1));
        size_t widest = begin;
        for (; begin + 1 < end; ++begin) {
            if (scores[begin + 1] - scores[begin] > scores[widest + 1] - scores[widest]) {
                widest = begin;
            }
        }
        if (widest + 1 < scores.size()) {
            found.push_back((scores[widest] + scores[widest + 1]) / 2);
        }
    }
    return found;
}

Lists selected(const Weights& fc2, const Inputs& hidden, float threshold, int n_hot) {
    Tokens h(hidden);
    Lists lists(n_segments(n_hot, fc2.view().rows));
    select(nullptr, lists.view(), fc2.view(), h.view(), threshold, n_hot);
    device::wait();
    // What lies behind a list is not promised; a row beyond the end would be seen in the list.
    for (size_t s = 0; s < lists.counts.size(); ++s) {
        for (size_t k = static_cast<size_t>(std::max(lists.counts[s], 0)); k < 32; ++k) {
            lists.rows[32 * s + k] = kUnset;
            lists.needed[32 * s + k] = static_cast<uint32_t>(kUnset);
        }
    }
    return lists;
}

void selection_lists_the_rows_that_reach_the_threshold() {
    Random random(15);
    for (const DType type : powerinfer::kWeightTypes) {
        const int rank = sizes_of(type)[1];
        for (const int n_rows : {1, 70, 101}) {
            const Matrix m = random_matrix(type, n_rows, rank, random);
            const Weights fc2(m);
            for (const int n_tokens : {1, 2, 3, 8, 9, 32}) {
                Inputs hidden = random_inputs(n_tokens, rank, random);
                const std::vector<float> scores = products(m, hidden);
                for (const float threshold : thresholds(scores)) {
                    const auto words = words_of(scores, static_cast<size_t>(n_rows), threshold);
                    for (const int n_hot : {0, 37, n_rows}) {
                        const int n = std::min(n_hot, n_rows);
                        CHECK_MSG(
                            selected(fc2, hidden, threshold, n) == lists_of(words, n),
                            "%s, %d rows, %d hot, %d tokens, threshold %g",
                            name_of(type),
                            n_rows,
                            n,
                            n_tokens,
                            static_cast<double>(threshold)
                        );
                    }
                }
            }
        }
    }
}

void selection_is_the_same_in_any_order_of_threads() {
    Random random(16);
    const Matrix m = random_matrix(DType::q4_0, 150, 96, random);
    const Weights fc2(m);
    for (const int n_tokens : {1, 11, 32}) {
        Inputs hidden = random_inputs(n_tokens, 96, random);
        const std::vector<float> scores = products(m, hidden);
        const float threshold = thresholds(scores).back();
        const Lists want = lists_of(words_of(scores, 150, threshold), 53);
        device::in_all_orders([&] { CHECK(selected(fc2, hidden, threshold, 53) == want); });
    }
}

void a_score_equal_to_the_threshold_selects_and_nan_does_not() {
    // Rows of one element: the scores are exact.
    Matrix m = {DType::f32, 3, 1, {}};
    const float rows[] = {1.0f, 2.0f, std::nanf("")};
    m.bytes.resize(sizeof rows);
    std::memcpy(m.bytes.data(), rows, sizeof rows);
    const Weights fc2(m);
    const Inputs hidden = make_inputs({1.0f, std::nanf(""), 2.0f}, 3, 1);
    CHECK(selected(fc2, hidden, 2.0f, 1) == lists_of({4, 5, 0}, 1));
    CHECK(selected(fc2, hidden, -kInfinity, 1) == lists_of({5, 5, 0}, 1));
    CHECK(selected(fc2, hidden, std::nanf(""), 1) == lists_of({0, 0, 0}, 1));
}

// ---- what the host computes ----

void hand_over_lists_cold_neurons_in_order_and_copies_the_input() {
    Random random(17);
    struct Case {
        int n_rows;
        int n_hot;
        int n_input;
    };
    // 40000 rows have more segments than one block has threads.
    for (const Case& c : std::initializer_list<Case>{
             {1, 0, 1},
             {1, 1, 0},
             {70, 0, 33},
             {70, 70, 1000},
             {101, 37, 0},
             {1000, 320, 1025},
             {40000, 0, 7},
             {40000, 3333, 40000},
         }) {
        for (const int share : {0, 10, 100}) {
            std::vector<uint32_t> words(static_cast<size_t>(c.n_rows));
            device::vector<int32_t> neurons(words.size());
            device::vector<int32_t> want_neurons;
            device::vector<uint32_t> want_needed;
            for (size_t i = 0; i < words.size(); ++i) {
                words[i] = random.below(100) < share ? static_cast<uint32_t>(random.bits()) | 1 : 0;
                neurons[i] = static_cast<int32_t>(7 * i + 3);
                if (words[i] != 0 && i >= static_cast<size_t>(c.n_hot)) {
                    want_neurons.push_back(neurons[i]);
                    want_needed.push_back(words[i]);
                }
            }
            Lists lists = lists_of(words, c.n_hot);
            const device::vector<float> input =
                device::copy(random.normals(static_cast<size_t>(c.n_input)));
            const auto check = [&] {
                device::vector<int32_t> n = {kUnset};
                device::vector<int32_t> out_neurons(want_neurons.size());
                device::vector<uint32_t> out_needed(want_needed.size());
                device::vector<float> out_input(input.size());
                hand_over(
                    nullptr,
                    {n.data(), out_neurons.data(), out_needed.data(), out_input.data()},
                    lists.view(),
                    neurons.data(),
                    c.n_hot,
                    c.n_rows,
                    input.data(),
                    c.n_input
                );
                device::wait();
                const bool same = n[0] == static_cast<int>(want_neurons.size()) &&
                                  out_neurons == want_neurons && out_needed == want_needed &&
                                  same_bits(out_input, input);
                CHECK_MSG(same, "%d rows, %d hot, %d %%", c.n_rows, c.n_hot, share);
            };
            if (c.n_rows < 40000) {
                device::in_all_orders(check);
            } else {
                check();
            }
        }
    }
}

} // namespace

int main() {
    if (!device::is_available()) {
        return check::finish();
    }
    CHECK_RUN(hidden_is_the_positive_part_of_the_products);
    CHECK_RUN(packed_hidden_is_hidden_rounded);
    CHECK_RUN(hidden_of_a_token_has_the_same_bits_alone_and_in_any_batch);
    CHECK_RUN(hidden_of_nan_is_zero);
    CHECK_RUN(selection_lists_the_rows_that_reach_the_threshold);
    CHECK_RUN(selection_is_the_same_in_any_order_of_threads);
    CHECK_RUN(a_score_equal_to_the_threshold_selects_and_nan_does_not);
    CHECK_RUN(hand_over_lists_cold_neurons_in_order_and_copies_the_input);
    return check::finish();
}
