// How many threads are started when nobody says: processors, and the time that control groups give.
#include "check.h"
#include "processors.h"
#include "temporary_directory.h"

#include <thread>

using powerinfer::processor_quota;

namespace {

// A folder in the form of /sys/fs/cgroup.
struct Groups : test::TemporaryDirectory {
    int quota(const char* membership) const {
        return processor_quota(path(), membership).value_or(0);
    }
};

void no_limit_is_no_quota() {
    const Groups groups;
    CHECK_EQ(groups.quota(""), 0);
    CHECK_EQ(groups.quota("0::/\n"), 0);
    CHECK_EQ(groups.quota("0::/nowhere/at/all"), 0);
    CHECK_EQ(groups.quota("nonsense\n::\n0:"), 0);
    groups.write("cpu.max", "max 100000\n");
    groups.write("cpu/cpu.cfs_quota_us", "-1\n");
    groups.write("cpu/cpu.cfs_period_us", "100000\n");
    CHECK_EQ(groups.quota("0::/\n4:cpu:/\n"), 0);
}

void a_quota_counts_in_whole_processors() {
    const Groups groups;
    groups.write("job/cpu.max", "250000 100000\n");
    CHECK_EQ(groups.quota("0::/job\n"), 2);
    groups.write("job/cpu.max", "50000 100000\n");
    CHECK_EQ(groups.quota("0::/job\n"), 1);
    groups.write("job/cpu.max", "9223372036854775807 1\n");
    CHECK(groups.quota("0::/job\n") > 1000);
}

void the_tightest_of_the_groups_above_counts() {
    const Groups groups;
    groups.write("slice/cpu.max", "300000 100000\n");
    groups.write("slice/job/cpu.max", "max 100000\n");
    CHECK_EQ(groups.quota("0::/slice/job\n"), 3);
    groups.write("slice/job/cpu.max", "200000 100000\n");
    CHECK_EQ(groups.quota("0::/slice/job\n"), 2);
    groups.write("cpu.max", "100000 100000\n"); // a container sees its own group as the root
    CHECK_EQ(groups.quota("0::/docker/of/the/host\n"), 1);
}

void the_older_form_is_read_too() {
    const Groups groups;
    groups.write("cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n");
    groups.write("cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    CHECK_EQ(groups.quota("9:memory:/job\n4:cpu,cpuacct:/job\n0::/\n"), 4);
    CHECK_EQ(groups.quota("9:cpuset:/job\n"), 0);
}

void there_is_a_processor() {
    const auto n = static_cast<int>(std::thread::hardware_concurrency());
    CHECK(powerinfer::physical_cores() >= 1);
    CHECK(n == 0 || powerinfer::physical_cores() <= n);
}

} // namespace

int main() {
    CHECK_RUN(no_limit_is_no_quota);
    CHECK_RUN(a_quota_counts_in_whole_processors);
    CHECK_RUN(the_tightest_of_the_groups_above_counts);
    CHECK_RUN(the_older_form_is_read_too);
    CHECK_RUN(there_is_a_processor);
    return check::finish();
}
