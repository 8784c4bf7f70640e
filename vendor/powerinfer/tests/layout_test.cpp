// What a copy of the weights orders otherwise than the file: predictors by columns, and side by
// side the rows that are read for the same neurons.
#include "check.h"
#include "resident_model.h"
#include "temporary_directory.h"
#include "tiny_model.h"

#include <algorithm>
#include <string>

using namespace powerinfer;

namespace {

const test::TemporaryDirectory& directory() {
    static const test::TemporaryDirectory made;
    return made;
}

std::string write(const test::TinyShape& shape) {
    return directory().write("model.gguf", test::TinyModel(shape).build());
}

test::TinyShape shape_of(DType type, int hidden_dim, int rank) {
    test::TinyShape shape;
    shape.type = type;
    shape.hidden_dim = hidden_dim;
    shape.rank = rank;
    return shape;
}

void predictors_of_whole_groups_are_by_columns() {
    const auto is_by_columns = [](const std::string& path, Repack repack, Strategy strategy) {
        const auto model = test::load_resident(path, repack, strategy);
        CHECK_EQ(model->layer(0).fc2.is_by_columns, model->layer(1).fc2.is_by_columns);
        return model->layer(0).fc2.is_by_columns;
    };
    const std::string path = write(shape_of(DType::q4_0, 640, 96));
    CHECK(is_by_columns(path, Repack::always, Strategy::predictor));
    CHECK(is_by_columns(path, Repack::always, Strategy::automatic));
    CHECK(!is_by_columns(path, Repack::never, Strategy::predictor));
    CHECK(!is_by_columns(path, Repack::always, Strategy::exact));
    for (const auto& [type, hidden_dim] : {std::pair{DType::q4_0, 96}, {DType::q8_0, 128}}) {
        const std::string other = write(shape_of(type, hidden_dim, 64));
        CHECK(!is_by_columns(other, Repack::always, Strategy::predictor));
    }
}

bool has_same_rows(const Matrix& a, const Matrix& b) {
    bool is_same = a.rows == b.rows && a.n_row_bytes() == b.n_row_bytes();
    for (int i = 0; is_same && i < a.rows; ++i) {
        const std::byte* row = a.range(i, 1).data;
        is_same = std::equal(row, row + a.n_row_bytes(), b.range(i, 1).data);
    }
    return is_same;
}

struct Strides {
    int gate;
    int up;
    int down;
    bool operator==(const Strides&) const = default;
};

void check_strides(const test::TinyShape& shape, Strategy strategy, Strides wanted) {
    const std::string path = write(shape);
    const auto mapped = test::load_resident(path, Repack::never, strategy);
    const auto copied = test::load_resident(path, Repack::always, strategy);
    for (int i = 0; i < mapped->config().n_layers; ++i) {
        const Layer& a = mapped->layer(i);
        const Layer& b = copied->layer(i);
        CHECK((Strides{a.gate.stride, a.up.stride, a.down_t.stride} == Strides{1, 1, 1}));
        const Strides found{b.gate.stride, b.up.stride, b.down_t.stride};
        CHECK_MSG(found == wanted, "%d %d %d", found.gate, found.up, found.down);
        CHECK(a.gate.data == nullptr || has_same_rows(a.gate, b.gate));
        CHECK(has_same_rows(a.up, b.up));
        CHECK(has_same_rows(a.down_t, b.down_t));
        CHECK(has_same_rows(a.q, b.q)); // what lies around them is where it was
        CHECK(has_same_rows(a.fc1, b.fc1));
    }
}

void rows_of_a_neuron_lie_side_by_side() {
    test::TinyShape gated = shape_of(DType::q4_0, 96, 64); // not whole strips
    check_strides(gated, Strategy::predictor, {3, 3, 3});
    check_strides(gated, Strategy::automatic, {3, 3, 3});
    check_strides(gated, Strategy::exact, {1, 2, 2});
    check_strides(gated, Strategy::dense, {1, 1, 1});
    gated.type = DType::f16;
    gated.hidden_dim = 640;
    check_strides(gated, Strategy::predictor, {3, 3, 3});
}

// Biases lie between the matrices of a family with biases, so that these do not follow each other.
void matrices_that_are_apart_stay_apart() {
    test::TinyShape ungated = shape_of(DType::q4_0, 96, 64);
    ungated.family = "falcon";
    check_strides(ungated, Strategy::predictor, {1, 2, 2});
    check_strides(ungated, Strategy::exact, {1, 1, 1});
    ungated.family = "opt";
    check_strides(ungated, Strategy::predictor, {1, 1, 1});
}

} // namespace

int main() {
    CHECK_RUN(predictors_of_whole_groups_are_by_columns);
    CHECK_RUN(rows_of_a_neuron_lie_side_by_side);
    CHECK_RUN(matrices_that_are_apart_stay_apart);
    return check::finish();
}
