// The container reader: what it reads from good files and how it refuses each kind of bad one.
#include "check.h"
#include "gguf.h"
#include "gguf_walk.h"
#include "gguf_writer.h"

#include <cmath>
#include <limits>
#include <utility>

using namespace powerinfer;
using test::Bytes;
using test::bytes_of;
using test::GgufWriter;

namespace {

GgufFile parse(GgufWriter& writer) {
    return GgufFile::from_bytes(writer.build());
}
GgufFile parse(GgufWriter&& writer) {
    return GgufFile::from_bytes(writer.build());
}
GgufFile parse(std::string_view text) {
    return GgufFile::from_bytes(bytes_of(text));
}

GgufWriter with_tensor(DType type, std::vector<uint64_t> ne) {
    GgufWriter writer;
    writer.add_tensor("x", type, std::move(ne));
    return writer;
}

// A header whose only tensor has the shape and type given and no bytes at all.
GgufWriter with_shape(std::vector<uint64_t> ne, uint32_t type = 0) {
    GgufWriter writer;
    writer.tensors.push_back({"x", type, std::move(ne), {}});
    return writer;
}

GgufWriter with_alignment(uint32_t alignment) {
    GgufWriter writer;
    writer.alignment = alignment;
    writer.add_u32("general.alignment", alignment);
    writer.add_tensor("x", DType::f32, {3});
    writer.add_tensor("y", DType::f32, {3});
    return writer;
}

void reads_header_and_tensors_of_a_model() {
    GgufWriter writer = test::model_writer();
    const Bytes bytes = writer.build();
    const GgufFile file = GgufFile::from_bytes(bytes);
    CHECK(file.is_sparse());
    CHECK_EQ(file.version(), 3U);
    CHECK_EQ(file.alignment(), 32U);
    CHECK_EQ(file.file_bytes(), bytes.size());
    CHECK_EQ(file.data_offset(), (writer.header_bytes() + 31) / 32 * 32);
    CHECK_EQ(file.metadata().size(), size_t{19});
    CHECK_EQ(file.tensors().size(), writer.tensors.size());
    for (const test::WriterTensor& wanted : writer.tensors) {
        const TensorInfo* tensor = file.find_tensor(wanted.name);
        CHECK_MSG(tensor != nullptr, "%s", wanted.name.c_str());
        CHECK_EQ(static_cast<uint32_t>(tensor->type), wanted.type);
        CHECK_EQ(static_cast<size_t>(tensor->n_dims), wanted.ne.size());
        for (size_t d = 0; d < 4; d++) {
            CHECK_EQ(tensor->ne[d], d < wanted.ne.size() ? wanted.ne[d] : 1);
        }
        CHECK_EQ(tensor->n_bytes, wanted.data.size());
        CHECK(std::equal(wanted.data.begin(), wanted.data.end(), tensor->data));
    }
    CHECK(file.find_tensor("x") == nullptr);
    CHECK(test::walk(file).is_consistent);
}

void version_2_without_tensors_is_read() {
    const GgufFile file = parse(test::vocab_writer());
    CHECK(!file.is_sparse());
    CHECK_EQ(file.version(), 2U);
    CHECK_EQ(file.tensors().size(), size_t{0});
    CHECK_EQ(file.find("tokenizer.ggml.merges")->strings[1], "ab c");
}

void zero_length_tensors_of_a_gpu_index_are_read() {
    GgufWriter writer = test::gpu_index_writer();
    const GgufFile file = parse(writer);
    CHECK_EQ(file.find_tensor("blk.1.gpu_bucket")->n_bytes, 0U);
    CHECK_EQ(file.find_tensor("blk.1.gpu_bucket")->ne[0], 0U);
    writer.pads_last_tensor = false;
    CHECK_EQ(parse(writer).tensors().size(), size_t{4}); // it stands behind the absent padding
    writer.tensors.back().offset = 256;
    CHECK_ERROR(format, "'blk.1.gpu_bucket'", parse(writer));
}

void typed_look_ups_convert_what_fits() {
    const GgufFile file = parse(test::model_writer());
    CHECK_EQ(file.u32("test.u8").value_or(0), 200U);
    CHECK_EQ(file.u32("test.u16").value_or(0), 50000U);
    CHECK_EQ(file.u64("test.u64").value_or(0), uint64_t{1} << 40);
    CHECK_EQ(file.f32("powerinfer.sparse_threshold").value_or(-1.0F), 0.15F);
    CHECK_EQ(file.f32("test.f64").value_or(-1.0F), 0.25F);
    CHECK(file.boolean("test.bool") == true);
    CHECK_EQ(file.string("general.architecture").value_or("absent"), "llama");
    CHECK_EQ(file.string("general.name").value_or("absent"), "");
    CHECK(!file.u32("absent") && !file.u64("absent") && !file.f32("absent"));
    CHECK(!file.boolean("absent") && !file.string("absent"));
}

void typed_look_ups_refuse_other_types_and_values() {
    const GgufFile file = parse(test::model_writer());
    CHECK_ERROR(
        format, "'test.u64': want u32, the file has the value 1099511627776", file.u32("test.u64")
    );
    CHECK_ERROR(format, "'test.i32': want u32, the file has the value -7 of", file.u32("test.i32"));
    CHECK_ERROR(format, "the value -1099511627776", file.u64("test.i64"));
    CHECK_ERROR(format, "want u32, the file has bool", file.u32("test.bool"));
    CHECK_ERROR(format, "want u64, the file has f64", file.u64("test.f64"));
    CHECK_ERROR(format, "want f32, the file has u8", file.f32("test.u8"));
    CHECK_ERROR(format, "want bool, the file has u8", file.boolean("test.u8"));
    CHECK_ERROR(format, "want string, the file has u8", file.string("test.u8"));
    CHECK_ERROR(format, "the file has array of string", file.string("tokenizer.ggml.tokens"));
    CHECK_ERROR(format, "the file has array of f32", file.f32("tokenizer.ggml.scores"));
    CHECK_ERROR(format, "the file has array of bool", file.boolean("test.flags"));
    GgufWriter writer;
    writer.add("wide", MetaType::f64, 1e39);
    writer.add("infinite", MetaType::f64, std::numeric_limits<double>::infinity());
    writer.add("largest", MetaType::u64, std::numeric_limits<uint64_t>::max());
    const GgufFile extremes = parse(writer);
    CHECK_ERROR(format, "f64 value 1e+39", extremes.f32("wide"));
    CHECK(std::isinf(extremes.f32("infinite").value_or(-1.0F)));
    CHECK_EQ(extremes.u64("largest").value_or(0), std::numeric_limits<uint64_t>::max());
    CHECK_ERROR(format, "the value 18446744073709551615", extremes.u32("largest"));
}

void elements_widen() {
    const GgufFile file = parse(test::model_writer());
    const MetaValue& scores = *file.find("tokenizer.ggml.scores");
    CHECK(scores.is_array);
    CHECK_EQ(scores.n, 4U);
    CHECK_EQ(GgufFile::number(scores, 1), -1.5);
    CHECK_EQ(GgufFile::integer(scores, 1), -1);
    CHECK_EQ(GgufFile::number(*file.find("test.flags"), 2), 1.0);
    CHECK_EQ(GgufFile::integer(*file.find("test.i8"), 0), -100);
    CHECK_EQ(GgufFile::integer(*file.find("test.i16"), 0), -20000);
    CHECK_EQ(GgufFile::number(*file.find("test.i64"), 0), -1099511627776.0);
    CHECK_EQ(file.find("test.none")->n, 0U);
    const MetaValue& tokens = *file.find("tokenizer.ggml.tokens");
    CHECK_EQ(tokens.strings.size(), size_t{4});
    CHECK_EQ(tokens.strings[3].size(), size_t{1}); // a NUL is a fine token
    CHECK_EQ(GgufFile::integer(tokens, 0), 0);
    GgufWriter writer;
    const std::vector<double> values = {1e300, -1e300, std::nan(""), 9223372036854775808.0};
    writer.add_array<double>("x", MetaType::f64, values);
    const GgufFile extremes = parse(writer);
    const MetaValue& x = *extremes.find("x");
    CHECK_EQ(GgufFile::integer(x, 0), std::numeric_limits<int64_t>::max());
    CHECK_EQ(GgufFile::integer(x, 1), std::numeric_limits<int64_t>::min());
    CHECK_EQ(GgufFile::integer(x, 2), 0);
    CHECK_EQ(GgufFile::integer(x, 3), std::numeric_limits<int64_t>::max());
}

void views_survive_moves() {
    GgufFile first = parse(test::model_writer());
    const MetaValue* value = first.find("general.architecture");
    const TensorInfo* tensor = first.find_tensor("token_embd.weight");
    const std::byte* data = tensor->data;
    GgufFile second = std::move(first);
    GgufFile third = parse(test::vocab_writer());
    third = std::move(second);
    CHECK(third.find("general.architecture") == value);
    CHECK(third.find_tensor("token_embd.weight") == tensor);
    CHECK(tensor->data == data);
    CHECK_EQ(value->strings[0], "llama");
    CHECK(test::walk(third).is_consistent);
}

void other_versions_are_unsupported() {
    GgufWriter writer = test::model_writer();
    for (const uint32_t version : {0U, 4U, 0x00010003U}) {
        writer.version = version;
        CHECK_ERROR(unsupported, "this build reads 2 and 3", parse(writer));
    }
    writer.version = 1;
    CHECK_ERROR(unsupported, "GGUF version 1, ", parse(writer));
}

void big_endian_files_are_recognised() {
    GgufWriter writer = test::model_writer();
    writer.version = 0x03000000; // version 3 in big-endian order
    CHECK_ERROR(unsupported, "big-endian", parse(writer));
    CHECK_ERROR(unsupported, "big-endian", parse("FUGG\0\0\0\3"));
    CHECK_ERROR(unsupported, "big-endian", parse("IRWP\0\0\0\3"));
}

void counts_are_bounded_by_the_file() {
    for (const uint64_t n : {uint64_t{100}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
        GgufWriter writer = test::model_writer();
        writer.n_tensors = n;
        CHECK_ERROR(format, "the tensor count is ", parse(writer));
        writer.n_tensors = {};
        writer.n_pairs = n;
        CHECK_ERROR(format, "the key/value count is ", parse(writer));
    }
    for (const MetaType type : {MetaType::u8, MetaType::string, MetaType::f64, MetaType::boolean}) {
        for (const uint64_t n : {uint64_t{64}, (uint64_t{1} << 61) + 1, UINT64_MAX}) {
            GgufWriter writer;
            writer.begin_array("x", type, n);
            CHECK_ERROR(format, "'x' wants ", parse(writer));
        }
    }
}

void string_lengths_are_bounded_by_the_file() {
    for (const uint64_t n : {uint64_t{64}, uint64_t{1} << 63, UINT64_MAX}) {
        GgufWriter writer;
        writer.begin_pair("x", static_cast<uint32_t>(MetaType::string));
        writer.number(n);
        CHECK_ERROR(format, "string 0 of 'x' needs " + std::to_string(n), parse(writer));
        writer = {};
        writer.begin_array("x", MetaType::string, 2);
        writer.string("ok");
        writer.number(n);
        CHECK_ERROR(format, "string 1 of 'x' needs " + std::to_string(n), parse(writer));
    }
}

void keys_are_not_empty_and_unique() {
    GgufWriter writer;
    writer.add_u32("", 1);
    CHECK_ERROR(format, "the name of key 0 is empty", parse(writer));
    writer = {};
    writer.add_u32("a", 1);
    writer.add_u32("b", 1);
    writer.add_string("a", "1");
    CHECK_ERROR(format, "key 'a' is in the file twice", parse(writer));
    writer = {};
    writer.add_u32(std::string_view("a\0b", 3), 1);
    CHECK_ERROR(format, "contains a NUL byte: 'a\\x00b'", parse(writer));
}

void booleans_are_0_or_1() {
    GgufWriter writer;
    writer.add("x", MetaType::boolean, uint8_t{2});
    CHECK_ERROR(format, "element 0 of 'x' is a boolean of value 2", parse(writer));
    writer = {};
    writer.add_array<uint8_t>("x", MetaType::boolean, std::vector<uint8_t>{0, 1, 255});
    CHECK_ERROR(format, "element 2 of 'x' is a boolean of value 255", parse(writer));
}

void value_types_are_known() {
    GgufWriter writer;
    writer.begin_pair("x", 13);
    writer.number<uint64_t>(0);
    CHECK_ERROR(format, "the value type of 'x' is 13", parse(writer));
    writer = {};
    writer.begin_array("x", static_cast<MetaType>(13), 0);
    CHECK_ERROR(format, "the element type of 'x' is 13", parse(writer));
}

void nested_arrays_are_unsupported() {
    GgufWriter writer;
    writer.begin_array("x", MetaType::array, 1);
    writer.number(static_cast<uint32_t>(MetaType::u8));
    writer.number<uint64_t>(0);
    CHECK_ERROR(unsupported, "'x' is an array of arrays", parse(writer));
}

void alignment_is_a_power_of_two_within_bounds() {
    for (const uint32_t alignment : {8U, 16U, 64U, 65536U}) {
        const GgufFile file = parse(with_alignment(alignment));
        CHECK_EQ(file.alignment(), alignment);
        CHECK_EQ(file.find_tensor("y")->offset, file.data_offset() + std::max(16U, alignment));
    }
    for (const uint32_t alignment : {1U, 4U, 24U, 131072U}) {
        CHECK_ERROR(
            format, "want a power of two from 8 to 65536", parse(with_alignment(alignment))
        );
    }
    GgufWriter writer;
    writer.add_u32("general.alignment", 0);
    CHECK_ERROR(format, "'general.alignment' is 0", parse(writer));
    writer = {};
    writer.add("general.alignment", MetaType::u64, uint64_t{32});
    CHECK_ERROR(format, "'general.alignment' has type u64, want u32", parse(writer));
    writer = {};
    writer.add_array<uint32_t>("general.alignment", MetaType::u32, std::vector<uint32_t>{32});
    CHECK_ERROR(format, "has type array of u32, want u32", parse(writer));
}

void tensor_names_have_1_to_63_bytes_and_are_unique() {
    GgufWriter writer = with_tensor(DType::f32, {1});
    writer.tensors[0].name = "";
    CHECK_ERROR(format, "the name of tensor 0 is empty", parse(writer));
    writer.tensors[0].name = std::string(63, 'n');
    CHECK_EQ(parse(writer).tensors()[0].name.size(), size_t{63});
    writer.tensors[0].name = std::string(64, 'n');
    CHECK_ERROR(format, "has 64 bytes, want at most 63", parse(writer));
    writer.tensors[0].name = std::string("a\0", 2);
    CHECK_ERROR(format, "contains a NUL byte", parse(writer));
    writer = with_tensor(DType::f32, {1});
    writer.add_tensor("x", DType::f32, {1});
    CHECK_ERROR(format, "tensor 'x' is in the file twice", parse(writer));
}

void tensors_have_1_to_4_dimensions() {
    const GgufFile file = parse(with_tensor(DType::f32, {2, 1, 3, 2}));
    CHECK_EQ(file.tensors()[0].n_bytes, 48U);
    for (const uint32_t n_dims : {0U, 5U, UINT32_MAX}) {
        GgufWriter writer = with_tensor(DType::f32, {1, 1, 1, 1, 1});
        writer.tensors[0].n_dims = n_dims;
        CHECK_ERROR(format, "tensor 'x' has " + std::to_string(n_dims) + " dim", parse(writer));
    }
}

void shapes_that_overflow_are_refused() {
    const uint64_t half = uint64_t{1} << 32;
    CHECK_ERROR(format, "2^63 elements", parse(with_shape({half, half})));
    CHECK_ERROR(format, "2^63 elements", parse(with_shape({UINT64_MAX})));
    CHECK_ERROR(format, "2^63 elements", parse(with_shape({half, half, half, half})));
    CHECK_ERROR(format, "2^63 elements", parse(with_shape({0, half, half, half})));
    CHECK_ERROR(format, "2^63 elements", parse(with_shape({half, half, half, 0})));
    CHECK_ERROR(format, "2^63 bytes", parse(with_shape({half, half / 4})));
    CHECK_ERROR(format, "needs 4611686018427387904 bytes", parse(with_shape({half, half / 16})));
}

void rows_are_whole_blocks() {
    CHECK_ERROR(format, "rows of 31 elements, want a multiple of 32", parse(with_shape({31}, 2)));
    CHECK_ERROR(format, "the block of type q6_k", parse(with_shape({32, 8}, 14)));
}

void element_types_are_known() {
    for (const uint32_t type : {4U, 5U, 99U, UINT32_MAX}) {
        const std::string message = "tensor 'x' has element type " + std::to_string(type);
        CHECK_ERROR(unsupported, message, parse(with_shape({32}, type)));
    }
    // Known, though no kernel computes with it: such a file can be inspected.
    GgufWriter writer = with_tensor(static_cast<DType>(10), {256});
    CHECK(!dtype_info(parse(writer).tensors()[0].type).is_weight);
}

void tensor_offsets_are_aligned_and_inside() {
    GgufWriter writer = with_tensor(DType::f32, {8});
    for (const uint64_t offset : {uint64_t{1}, uint64_t{16}, uint64_t{33}, UINT64_MAX}) {
        writer.tensors[0].offset = offset;
        CHECK_ERROR(format, "want a multiple of the alignment 32", parse(writer));
    }
    for (const uint64_t offset : {uint64_t{32}, uint64_t{1} << 40}) {
        writer.tensors[0].offset = offset;
        CHECK_ERROR(format, "tensor 'x' needs 32 bytes at offset", parse(writer));
    }
    for (const uint64_t offset : {uint64_t{INT64_MAX} - 31, ~uint64_t{31}}) {
        writer.tensors[0].offset = offset;
        CHECK_ERROR(format, "which no file can have", parse(writer));
    }
}

void tensors_do_not_overlap() {
    GgufWriter writer;
    writer.add_tensor("a", DType::f32, {9});
    writer.add_tensor("b", DType::f32, {8});
    writer.add_tensor("c", DType::f32, {0});
    CHECK_EQ(parse(writer).tensors().size(), size_t{3});
    writer.tensors[1].offset = 32;
    CHECK_ERROR(format, "tensor 'b' at offset ", parse(writer));
    writer.tensors[1].offset = 0;
    CHECK_ERROR(format, " overlaps tensor ", parse(writer));
    writer.tensors[1].offset = {};
    writer.tensors[2].offset = 0; // no bytes, so nothing to overlap
    CHECK_EQ(parse(writer).tensors().size(), size_t{3});
    writer.tensors[0].offset = 32; // any order in the file is fine
    writer.tensors[1].offset = 0;
    const GgufFile file = parse(writer);
    CHECK_EQ(file.find_tensor("b")->offset, file.data_offset());
}

void other_files_are_named() {
    const std::string safetensors = std::string("\x40\0\0\0\0\0\0\0", 8) + "{\"__metadata__\":{}}";
    CHECK_ERROR(format, "the file is empty", parse(""));
    CHECK_ERROR(format, "web page", parse("<!DOCTYPE html><html>"));
    CHECK_ERROR(format, "web page", parse("\xef\xbb\xbf\n <HTML lang=\"en\">"));
    CHECK_ERROR(format, "web page", parse("<?xml version=\"1.0\"?><Error>"));
    CHECK_ERROR(
        format, "text that begins with 'Invalid user", parse("Invalid username or password.")
    );
    CHECK_ERROR(format, "text that begins with '{\"error\"", parse("{\"error\": \"gated\"}"));
    CHECK_ERROR(
        format,
        "git lfs pull",
        parse("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    );
    CHECK_ERROR(unsupported, "safetensors", parse(safetensors));
    CHECK_ERROR(unsupported, "zip archive", parse("PK\x03\x04\x14"));
    CHECK_ERROR(unsupported, "pickle", parse("\x80\x02}q"));
    CHECK_ERROR(unsupported, "older than GGUF", parse("tjgg\x03"));
    CHECK_ERROR(unsupported, "gzip", parse("\x1f\x8b\x08"));
    CHECK_ERROR(format, "zero bytes", parse(std::string_view("\0\0\0\0\0\0", 6)));
    CHECK_ERROR(format, "found '\\xffGGU'", parse("\xffGGUF"));
    CHECK_ERROR(format, "the file ends after 3 bytes", parse("GGU"));
}

void parts_of_split_models_are_named() {
    GgufWriter writer = test::model_writer();
    writer.add("split.no", MetaType::u16, uint16_t{1});
    writer.add("split.count", MetaType::u16, uint16_t{3});
    CHECK_ERROR(unsupported, "part 2 of a model that was split into 3 files", parse(writer));
    writer = test::model_writer();
    writer.add("split.count", MetaType::u16, uint16_t{1});
    CHECK_EQ(parse(writer).version(), 3U);
}

} // namespace

int main() {
    CHECK_RUN(reads_header_and_tensors_of_a_model);
    CHECK_RUN(version_2_without_tensors_is_read);
    CHECK_RUN(zero_length_tensors_of_a_gpu_index_are_read);
    CHECK_RUN(typed_look_ups_convert_what_fits);
    CHECK_RUN(typed_look_ups_refuse_other_types_and_values);
    CHECK_RUN(elements_widen);
    CHECK_RUN(views_survive_moves);
    CHECK_RUN(other_versions_are_unsupported);
    CHECK_RUN(big_endian_files_are_recognised);
    CHECK_RUN(counts_are_bounded_by_the_file);
    CHECK_RUN(string_lengths_are_bounded_by_the_file);
    CHECK_RUN(keys_are_not_empty_and_unique);
    CHECK_RUN(booleans_are_0_or_1);
    CHECK_RUN(value_types_are_known);
    CHECK_RUN(nested_arrays_are_unsupported);
    CHECK_RUN(alignment_is_a_power_of_two_within_bounds);
    CHECK_RUN(tensor_names_have_1_to_63_bytes_and_are_unique);
    CHECK_RUN(tensors_have_1_to_4_dimensions);
    CHECK_RUN(shapes_that_overflow_are_refused);
    CHECK_RUN(rows_are_whole_blocks);
    CHECK_RUN(element_types_are_known);
    CHECK_RUN(tensor_offsets_are_aligned_and_inside);
    CHECK_RUN(tensors_do_not_overlap);
    CHECK_RUN(other_files_are_named);
    CHECK_RUN(parts_of_split_models_are_named);
    return check::finish();
}
