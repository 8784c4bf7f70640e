#include "processors.h"

#include "control_groups.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace powerinfer {

namespace {

std::optional<int> whole_processors(long long quota, long long period) {
    if (quota <= 0 || period <= 0) {
        return std::nullopt; // -1 and "max" mean no limit
    }
    return static_cast<int>(std::clamp(quota / period, 1LL, 1LL << 20));
}

// Version 2 has "QUOTA PERIOD" or "max PERIOD" in one file, version 1 has two.
std::optional<int> quota_in(const std::string& folder, bool is_v2) {
    long long quota = 0;
    long long period = 0;
    if (is_v2) {
        std::sscanf(read_start(folder + "/cpu.max").c_str(), "%lld %lld", &quota, &period);
    } else {
        std::sscanf(read_start(folder + "/cpu.cfs_quota_us").c_str(), "%lld", &quota);
        std::sscanf(read_start(folder + "/cpu.cfs_period_us").c_str(), "%lld", &period);
    }
    return whole_processors(quota, period);
}

std::optional<int> smaller(std::optional<int> a, std::optional<int> b) {
    return a.has_value() && b.has_value() ? std::min(a, b) : (a.has_value() ? a : b);
}

} // namespace

std::optional<int> processor_quota(const std::string& root, std::string_view membership) {
    std::optional<int> tightest;
    for (const ControlGroup& group : control_groups(root, membership, "cpu")) {
        tightest = smaller(tightest, quota_in(group.folder, group.is_v2));
    }
    return tightest;
}

#if defined(__linux__)
int physical_cores() {
    const int fallback = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int quota =
        processor_quota(kControlGroupRoot, read_start(kControlGroupMembership)).value_or(1 << 20);
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return std::min(quota, fallback);
    }
    std::set<std::string> cores; // sets of sibling threads, each named once
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) {
            const std::string name = "cpu" + std::to_string(cpu);
            const std::string siblings =
                read_start("/sys/devices/system/cpu/" + name + "/topology/thread_siblings_list");
            cores.insert(siblings.empty() ? name : siblings);
        }
    }
    return std::clamp(static_cast<int>(cores.size()), 1, quota);
}
#else
int physical_cores() {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}
#endif

} // namespace powerinfer
