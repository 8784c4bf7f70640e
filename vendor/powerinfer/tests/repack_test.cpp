// Weights copied into large pages: the same results, no more memory than the file, and no copy
// where it cannot be. A program of its own, because it looks at the memory of the whole process.
#include "check.h"
#include "sanitized.h"
#include "temporary_directory.h"
#include "tiny_engine.h"
#include "weights.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#if defined(__linux__) && !defined(PI_IS_SANITIZED)
#define PI_SEES_MEMORY // what the system tells about this process's memory is the model's
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

using powerinfer::SystemMemory;
using test::TemporaryDirectory;

namespace {

constexpr size_t kMegabyte = 1'000'000;

// About 50 MB.
test::TinyShape medium() {
    test::TinyShape shape;
    shape.dim = 512;
    shape.hidden_dim = 2048;
    shape.n_layers = 3;
    return shape;
}

const TemporaryDirectory& directory() {
    static const TemporaryDirectory made;
    return made;
}

// A model of about 50 MB, written once.
const std::string& medium_path() {
    static const std::string path =
        directory().write("medium.gguf", test::TinyModel(medium()).build());
    return path;
}

// A file of `n_bytes`, most of it a hole that belongs to a tensor which nobody uses.
std::string path_with_hole(const char* name, uint64_t n_bytes) {
    test::TinyModel tiny({});
    const uint64_t n_floats = (n_bytes - kMegabyte) / sizeof(float);
    tiny.writer().tensors.push_back({"hole", 0, {n_floats}, {}});
    const std::string path = directory().write(name, tiny.build());
    std::filesystem::resize_file(path, n_bytes);
    return path;
}

engine::Model load_from(const std::string& path, const pi_model_options& options) {
    return engine::load(engine::open_file(path).get(), options);
}

engine::Model load_from(const std::string& path, pi_repack repack) {
    return load_from(path, engine::model_options(repack));
}

void auto_copies_where_it_pays_and_memory_allows() {
    constexpr uint64_t kModel = 1000 * kMegabyte;
    const SystemMemory enough = {.available_bytes = kModel / 4 * 5, .has_large_pages = true};
    CHECK_EQ(powerinfer::reason_to_stay_mapped(kModel, enough), "");
    struct Case {
        uint64_t n_bytes;
        SystemMemory memory;
        const char* reason;
    };
    for (const Case& test : {
             Case{uint64_t{64} << 20, enough, "67.1 MB of weights are too few"},
             Case{kModel, {kModel / 4 * 5, false}, "gets no large pages"},
             Case{kModel, {std::nullopt, true}, "does not tell how much memory"},
             Case{
                 kModel,
                 {kModel / 4 * 5 - 100'000, true},
                 "a copy of 1000.0 MB wants 1250.0 MB of available memory, there are 1249.9 MB"
             },
         }) {
        const std::string reason = powerinfer::reason_to_stay_mapped(test.n_bytes, test.memory);
        CHECK_MSG(reason.find(test.reason) != std::string::npos, "%s", reason.c_str());
    }
}

void copied_and_mapped_weights_give_the_same_bits() {
    for (const char* family : {"llama", "bamboo", "falcon", "opt"}) {
        for (const bool is_sparse : {true, false}) {
            test::TinyShape shape;
            shape.family = family;
            shape.is_sparse = is_sparse;
            shape.type = powerinfer::DType::q4_0;
            const std::string path =
                directory().write("small.gguf", test::TinyModel(shape).build());
            const engine::Model mapped = load_from(path, PI_REPACK_NEVER);
            const engine::Model copied = load_from(path, PI_REPACK_ALWAYS);
            CHECK_EQ(engine::info(mapped.get()).repacked_bytes, uint64_t{0});
            CHECK(engine::info(copied.get()).repacked_bytes > 0);
            const auto wanted = engine::run(mapped.get());
            CHECK_MSG(engine::run(copied.get()) == wanted, "%s %d", family, is_sparse);
        }
    }
    const engine::Model mapped = load_from(medium_path(), PI_REPACK_NEVER);
    const engine::Model copied = load_from(medium_path(), PI_REPACK_ALWAYS);
    CHECK(engine::run(copied.get(), {.n_threads = 2}) == engine::run(mapped.get()));
}

// Whatever the alignment of the file's own data.
void the_copy_holds_the_file_and_begins_at_a_cache_line() {
    uint64_t n_shifted = 0;
    for (const char* name : {"a", "a name that makes the header longer", "two of them"}) {
        test::TinyModel tiny({});
        tiny.writer().add_string("general.name", name);
        tiny.writer().tensors.push_back({name, 0, {8}, test::Bytes(32)});
        const std::string path = directory().write("aligned.gguf", tiny.build());
        auto file = std::make_shared<powerinfer::GgufFile>(powerinfer::GgufFile::open(path));
        powerinfer::Weights weights(file, {.repack = powerinfer::Repack::always});
        weights.make_resident({}, [](uint64_t, uint64_t) { return true; }, {});
        n_shifted += file->data_offset() % 64 / 32;
        const auto first = reinterpret_cast<uintptr_t>(weights.data(file->tensors().front()));
        CHECK_EQ(first % 64, uintptr_t{0});
        for (const powerinfer::TensorInfo& tensor : file->tensors()) {
            const auto data = file->file().bytes().subspan(tensor.offset, tensor.n_bytes);
            CHECK(std::equal(data.begin(), data.end(), weights.data(tensor)));
        }
    }
    CHECK(n_shifted > 0 && n_shifted < 3); // both kinds were seen
}

void the_model_says_what_was_done() {
    const engine::File file = engine::open_file(medium_path());
    pi_file_info container{};
    container.struct_size = sizeof container;
    pi_file_get_info(file.get(), &container);
    const engine::Model copied = engine::load(file.get(), engine::model_options(PI_REPACK_ALWAYS));
    const pi_model_info done = engine::info(copied.get());
    CHECK_EQ(done.repacked_bytes, container.file_bytes - container.data_offset);
    CHECK(done.repack_ns > 0);
    CHECK_EQ(std::string(done.repack_reason), "");
    struct Case {
        pi_repack repack;
        const char* reason;
    };
    for (const Case& test :
         {Case{PI_REPACK_AUTO, "too few to gain"}, Case{PI_REPACK_NEVER, "repack is never"}}) {
        const engine::Model mapped = engine::load(file.get(), engine::model_options(test.repack));
        const pi_model_info info = engine::info(mapped.get());
        CHECK_EQ(info.repacked_bytes + info.repack_ns, uint64_t{0});
        const std::string reason = info.repack_reason;
        CHECK_MSG(reason.find(test.reason) != std::string::npos, "%s", reason.c_str());
    }
}

void what_is_in_memory_already_is_not_copied() {
    const engine::File file = engine::file_of(test::TinyShape{});
    const engine::Model model = engine::load(file.get(), engine::model_options(PI_REPACK_ALWAYS));
    CHECK_EQ(engine::info(model.get()).repacked_bytes, uint64_t{0});
    const std::string reason = engine::info(model.get()).repack_reason;
    CHECK_EQ(reason, "the container is in memory already");
}

void what_is_done_is_logged() {
    std::vector<std::string> lines;
    pi_model_options options = engine::model_options(PI_REPACK_ALWAYS);
    options.log_user = &lines;
    options.log = [](void* user, pi_log_level level, const char* message) {
        if (level == PI_LOG_INFO) {
            static_cast<std::vector<std::string>*>(user)->emplace_back(message);
        }
    };
    load_from(medium_path(), options);
    options.repack = PI_REPACK_NEVER;
    load_from(medium_path(), options);
    CHECK_EQ(lines.size(), size_t{2});
    CHECK(lines.size() == 2 && lines[0].starts_with("weights copied into large pages: "));
    CHECK(lines.size() == 2 && lines[1] == "weights stay in the file: repack is never");
}

struct Steps {
    std::vector<uint64_t> done = {};
    uint64_t total = 0;
    size_t stop_after = std::numeric_limits<size_t>::max(); // calls
};

uint32_t on_progress(void* user, uint64_t done, uint64_t total) {
    Steps& steps = *static_cast<Steps*>(user);
    steps.done.push_back(done);
    steps.total = total;
    return steps.done.size() < steps.stop_after ? 1 : 0;
}

void a_copy_reports_progress_and_can_be_cancelled() {
    Steps steps;
    pi_model_options options = engine::model_options(PI_REPACK_ALWAYS);
    options.progress = on_progress;
    options.progress_user = &steps;
    const engine::Model model = load_from(medium_path(), options);
    CHECK_EQ(steps.total, engine::info(model.get()).repacked_bytes);
    CHECK(std::is_sorted(steps.done.begin(), steps.done.end()));
    CHECK(!steps.done.empty() && steps.done.back() == steps.total);
    steps = {.stop_after = 1};
    CHECK_ERROR(cancelled, "copying the weights was stopped", load_from(medium_path(), options));
    CHECK_EQ(steps.done.size(), size_t{1});
}

void a_shortened_file_is_an_error() {
    const std::string path = directory().write("cut.gguf", "");
    std::filesystem::copy_file(
        medium_path(), path, std::filesystem::copy_options::overwrite_existing
    );
    const engine::File file = engine::open_file(path);
    std::filesystem::resize_file(path, 20 * kMegabyte);
    const auto load = [&] {
        return engine::load(file.get(), engine::model_options(PI_REPACK_ALWAYS));
    };
    CHECK_ERROR(io, "cut.gguf: it became shorter", load());
}

void more_than_there_is_is_refused_or_stays_mapped() {
    const std::string path = path_with_hole("huge.gguf", uint64_t{1} << 40);
    CHECK_ERROR(
        out_of_memory, "a copy of the weights wants 1099511", load_from(path, PI_REPACK_ALWAYS)
    );
    const engine::Model model = load_from(path, PI_REPACK_AUTO);
    const std::string reason = engine::info(model.get()).repack_reason;
    const bool says_why = reason.find("a copy of 1099511.6 MB wants") != std::string::npos ||
                          reason.find("no large pages") != std::string::npos;
    CHECK_MSG(says_why, "%s", reason.c_str());
    CHECK(!engine::run(model.get()).empty());
}

void a_file_without_weights_is_no_model() {
    const std::string path = directory().write("vocab.gguf", test::vocab_writer().build());
    CHECK_ERROR(unsupported, "gpt2", load_from(path, PI_REPACK_ALWAYS));
}

void an_unknown_choice_is_refused() {
    CHECK_ERROR(invalid_argument, "repack: want 0 to 2, got 3", load_from(medium_path(), 3));
}

#ifdef PI_SEES_MEMORY
// "Rss:" of /proc/self/smaps_rollup, "VmLck:" of /proc/self/status, in bytes.
uint64_t proc_field(const char* file, const std::string& name) {
    std::ifstream lines(file);
    for (std::string word; lines >> word;) {
        if (word == name) {
            uint64_t kibibytes = 0;
            lines >> kibibytes;
            return kibibytes * 1024;
        }
    }
    PI_THROW(io, "%s has no %s", file, name.c_str());
}

uint64_t resident() {
    ::malloc_trim(0); // what was freed before is not the model's
    return proc_field("/proc/self/smaps_rollup", "Rss:");
}

// Runs `body` in a child, whose limits end with it.
template <typename Body>
void check_in_child(Body&& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(body() ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ(::waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

void resident_memory_is_that_of_the_file() {
    const uint64_t file_bytes = std::filesystem::file_size(medium_path());
    const uint64_t before = resident();
    {
        const engine::Model model = load_from(medium_path(), PI_REPACK_ALWAYS);
        const uint64_t loaded = resident() - before;
        std::printf("  file %.1f MB, ", static_cast<double>(file_bytes) / 1e6);
        std::printf("resident %.1f MB\n", static_cast<double>(loaded) / 1e6);
        CHECK(loaded > file_bytes / 10 * 9);
        CHECK(loaded < file_bytes / 10 * 11);
        const engine::Context context = engine::context(model.get());
        engine::batch_logits(context.get(), model.get(), engine::kTokens);
        pi_stats stats{};
        stats.struct_size = sizeof stats;
        pi_context_get_stats(context.get(), &stats);
        const uint64_t beside = stats.kv_bytes + stats.scratch_bytes;
        CHECK(resident() - before < file_bytes / 10 * 11 + beside);
    }
    CHECK(resident() < before + 5 * kMegabyte);
}

// A limit of addresses is one that the system does not count as available memory.
void a_limit_of_this_process_is_no_failure() {
    const std::string path = path_with_hole("hole.gguf", 200 * kMegabyte);
    if (!powerinfer::reason_to_stay_mapped(200 * kMegabyte, SystemMemory::now()).empty()) {
        return check::skip("this machine has no large pages or too little memory");
    }
    check_in_child([&] {
        const uint64_t addresses = proc_field("/proc/self/status", "VmSize:") + 210 * kMegabyte;
        const struct rlimit limit = {addresses, addresses};
        if (::setrlimit(RLIMIT_AS, &limit) != 0) {
            return false;
        }
        const engine::Model model = load_from(path, PI_REPACK_AUTO);
        const std::string reason = engine::info(model.get()).repack_reason;
        return reason.find("the system refuses") != std::string::npos;
    });
}

void locking_locks_the_copy() {
    pi_model_options options = engine::model_options(PI_REPACK_ALWAYS);
    options.lock_memory = 1;
    check_in_child([&] { // the limit is the process's
        const uint64_t before = proc_field("/proc/self/status", "VmLck:");
        engine::Model model;
        try {
            model = load_from(medium_path(), options);
        } catch (const powerinfer::Error& error) {
            const std::string message = error.what();
            return error.kind() == powerinfer::ErrorKind::out_of_memory &&
                   message.find("RLIMIT_MEMLOCK") != std::string::npos;
        }
        const uint64_t copied = engine::info(model.get()).repacked_bytes;
        const bool is_locked = proc_field("/proc/self/status", "VmLck:") - before >= copied;
        model.reset();
        return is_locked && proc_field("/proc/self/status", "VmLck:") == before;
    });
    check_in_child([&] {
        const struct rlimit limit = {8192, 8192};
        constexpr uid_t kNobody = 65534; // root has no limit
        const engine::File file = engine::open_file(medium_path());
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
            (::getuid() == 0 && ::setuid(kNobody) != 0)) {
            return false;
        }
        try {
            engine::load(file.get(), options);
            return false;
        } catch (const powerinfer::Error& error) {
            return error.kind() == powerinfer::ErrorKind::out_of_memory &&
                   std::string(error.what()).find("RLIMIT_MEMLOCK is 8192") != std::string::npos;
        }
    });
}

long minor_faults() {
    struct rusage usage = {};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

// Page faults of decoding the same positions again.
long faults_of_decode(pi_context* context) {
    std::vector<engine::Batch> steps;
    for (uint32_t position = 0; position < engine::kTokens.size(); ++position) {
        steps.emplace_back().add(engine::kTokens[position], position);
    }
    engine::check(pi_context_sequence_truncate(context, 0, 0));
    const long before = minor_faults();
    for (const engine::Batch& step : steps) {
        step.decode(context);
    }
    return minor_faults() - before;
}

// The system may take pages back at any time, so that the best of some rounds counts: what decoding
// does itself shows in every one.
void decode_is_free_of_page_faults_after_a_warm_up() {
    for (const pi_repack repack : {PI_REPACK_ALWAYS, PI_REPACK_NEVER}) {
        for (const uint32_t n_threads : {1U, 2U}) {
            pi_model_options options = engine::model_options(repack);
            options.prefetch = 1;
            const engine::Model model = load_from(medium_path(), options);
            const engine::Context context = engine::context(model.get(), {.n_threads = n_threads});
            faults_of_decode(context.get()); // warm-up: cache and scratch
            long fewest = std::numeric_limits<long>::max();
            for (int round = 0; round < 5; ++round) {
                fewest = std::min(fewest, faults_of_decode(context.get()));
            }
            CHECK_MSG(fewest == 0, "repack %u, %u threads: %ld", repack, n_threads, fewest);
        }
    }
}
#endif

} // namespace

int main() {
    CHECK_RUN(auto_copies_where_it_pays_and_memory_allows);
    CHECK_RUN(copied_and_mapped_weights_give_the_same_bits);
    CHECK_RUN(the_copy_holds_the_file_and_begins_at_a_cache_line);
    CHECK_RUN(the_model_says_what_was_done);
    CHECK_RUN(what_is_in_memory_already_is_not_copied);
    CHECK_RUN(what_is_done_is_logged);
    CHECK_RUN(a_copy_reports_progress_and_can_be_cancelled);
    CHECK_RUN(a_shortened_file_is_an_error);
    CHECK_RUN(more_than_there_is_is_refused_or_stays_mapped);
    CHECK_RUN(a_file_without_weights_is_no_model);
    CHECK_RUN(an_unknown_choice_is_refused);
#ifdef PI_SEES_MEMORY
    CHECK_RUN(resident_memory_is_that_of_the_file);
    CHECK_RUN(a_limit_of_this_process_is_no_failure);
    CHECK_RUN(locking_locks_the_copy);
    CHECK_RUN(decode_is_free_of_page_faults_after_a_warm_up);
#else
    check::skip("the memory of this process is not told, or a sanitizer's");
#endif
    return check::finish();
}
