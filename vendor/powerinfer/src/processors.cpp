#include "processors.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace powerinfer {

namespace {

// The first bytes of a file, which is all of the small ones read here; empty if it cannot be read.
std::string read_start(const std::string& path) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "r"), &std::fclose);
    std::string text(4096, '\0');
    text.resize(file == nullptr ? 0 : std::fread(text.data(), 1, text.size(), file.get()));
    return text;
}

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

bool names_cpu(std::string_view controllers) {
    const std::string list = "," + std::string(controllers) + ",";
    return list.find(",cpu,") != std::string::npos;
}

std::optional<int> smaller(std::optional<int> a, std::optional<int> b) {
    return a.has_value() && b.has_value() ? std::min(a, b) : (a.has_value() ? a : b);
}

} // namespace

std::optional<int> processor_quota(const std::string& root, std::string_view membership) {
    std::optional<int> tightest;
    while (!membership.empty()) { // lines "NUMBER:CONTROLLERS:PATH"
        const std::string_view line = membership.substr(0, membership.find('\n'));
        membership.remove_prefix(std::min(membership.size(), line.size() + 1));
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (first == std::string_view::npos || second == std::string_view::npos) {
            continue;
        }
        const std::string_view controllers = line.substr(first + 1, second - first - 1);
        const bool is_v2 = controllers.empty();
        if (!is_v2 && !names_cpu(controllers)) {
            continue;
        }
        const std::string mount = is_v2 ? root : root + "/" + std::string(controllers);
        std::string path(line.substr(second + 1));
        while (true) { // up to the root, which in a container is the container's own group
            tightest = smaller(tightest, quota_in(mount + path, is_v2));
            if (path.empty()) {
                break;
            }
            path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
        }
    }
    return tightest;
}

#if defined(__linux__)
int physical_cores() {
    const int fallback = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int quota =
        processor_quota("/sys/fs/cgroup", read_start("/proc/self/cgroup")).value_or(1 << 20);
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
