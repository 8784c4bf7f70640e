// How much memory may be taken, and in which pages: what the system's files say.
#include "check.h"
#include "system_memory.h"
#include "temporary_directory.h"

using powerinfer::SystemMemory;
using test::TemporaryDirectory;

namespace {

constexpr const char* kMeminfo =
    "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n";
constexpr uint64_t kAvailable = 8'192'000'000;

// Folders in the form of /sys/fs/cgroup; 0 where nothing is known.
uint64_t available(
    const TemporaryDirectory& groups, const char* membership, const char* meminfo = kMeminfo
) {
    return powerinfer::available_memory(meminfo, groups.path(), membership).value_or(0);
}

void without_limits_the_machine_decides() {
    const TemporaryDirectory groups;
    CHECK_EQ(available(groups, ""), kAvailable);
    CHECK_EQ(available(groups, "0::/nowhere\n7:memory:/nowhere\n"), kAvailable);
    CHECK_EQ(available(groups, "0::/\n", ""), uint64_t{0});
    groups.write("job/memory.max", "max\n");
    groups.write("job/memory.current", "5000000000\n");
    groups.write("memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    groups.write("memory/job/memory.usage_in_bytes", "5000000000\n");
    CHECK_EQ(available(groups, "0::/job\n7:memory:/job\n"), kAvailable);
    CHECK_EQ(available(groups, "7:memory:/job\n", ""), uint64_t{0});
}

void a_group_leaves_its_limit_without_what_it_uses() {
    const TemporaryDirectory groups;
    groups.write("job/memory.max", "4000000000\n");
    groups.write("job/memory.current", "3000000000\n");
    CHECK_EQ(available(groups, "0::/job\n"), uint64_t{1'000'000'000});
    CHECK_EQ(available(groups, "0::/job\n", ""), uint64_t{1'000'000'000});
    groups.write("job/memory.high", "3500000000\n");
    CHECK_EQ(available(groups, "0::/job\n"), uint64_t{500'000'000});
    groups.write("job/memory.current", "5000000000\n"); // above, until the system has reclaimed
    CHECK_EQ(available(groups, "0::/job\n"), uint64_t{0});
}

void cached_files_count_as_available() {
    const TemporaryDirectory groups;
    groups.write("job/memory.max", "4000000000\n");
    groups.write("job/memory.current", "3000000000\n");
    groups.write(
        "job/memory.stat",
        "anon 900000000\nfile 7\ninactive_file 2000000000\nactive_file 100000000\n"
    );
    CHECK_EQ(available(groups, "0::/job\n"), uint64_t{3'100'000'000});
}

void the_tightest_of_the_groups_above_counts() {
    const TemporaryDirectory groups;
    groups.write("slice/memory.max", "2000000000\n");
    groups.write("slice/memory.current", "500000000\n");
    groups.write("slice/job/memory.max", "max\n");
    CHECK_EQ(available(groups, "0::/slice/job\n"), uint64_t{1'500'000'000});
}

void the_older_form_is_read_too() {
    const TemporaryDirectory groups;
    groups.write("memory/job/memory.limit_in_bytes", "4000000000\n");
    groups.write("memory/job/memory.usage_in_bytes", "3000000000\n");
    groups.write(
        "memory/job/memory.stat",
        "inactive_file 1\nactive_file 1\ntotal_inactive_file 500000000\ntotal_active_file 0\n"
    );
    CHECK_EQ(available(groups, "4:cpu:/\n9:memory:/job\n"), uint64_t{1'500'000'000});
}

void the_word_in_brackets_says_whether_there_are_large_pages() {
    struct Case {
        const char* common;
        const char* size; // nullptr: an older system without
        bool wanted;
    };
    for (const Case& test : {
             Case{"[always] madvise never\n", nullptr, true},
             Case{"always [madvise] never\n", nullptr, true},
             Case{"always madvise [never]\n", nullptr, false},
             Case{"always madvise [never]\n", "always inherit madvise [never]\n", false},
             Case{"always madvise [never]\n", "always [inherit] madvise never\n", false},
             Case{"always [madvise] never\n", "always [inherit] madvise never\n", true},
             Case{"[always] madvise never\n", "always inherit madvise [never]\n", false},
             Case{"always madvise [never]\n", "always inherit [madvise] never\n", true},
         }) {
        const TemporaryDirectory root;
        root.write("enabled", test.common);
        if (test.size != nullptr) {
            root.write("hugepages-2048kB/enabled", test.size);
        }
        const bool found = powerinfer::has_transparent_huge_pages(root.path());
        CHECK_MSG(found == test.wanted, "%s %s", test.common, test.size ? test.size : "");
    }
    CHECK(!powerinfer::has_transparent_huge_pages(TemporaryDirectory().path()));
}

void this_machine_has_memory() {
#if defined(__linux__)
    CHECK(SystemMemory::now().available_bytes.value_or(0) > 0);
#else
    CHECK(!SystemMemory::now().available_bytes.has_value());
#endif
}

} // namespace

int main() {
    CHECK_RUN(without_limits_the_machine_decides);
    CHECK_RUN(a_group_leaves_its_limit_without_what_it_uses);
    CHECK_RUN(cached_files_count_as_available);
    CHECK_RUN(the_tightest_of_the_groups_above_counts);
    CHECK_RUN(the_older_form_is_read_too);
    CHECK_RUN(the_word_in_brackets_says_whether_there_are_large_pages);
    CHECK_RUN(this_machine_has_memory);
    return check::finish();
}
