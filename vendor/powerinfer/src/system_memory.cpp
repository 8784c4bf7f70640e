#include "system_memory.h"

#include "control_groups.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

namespace powerinfer {

namespace {

// The number behind `name` at the start of a line; 0 when there is none.
uint64_t field(std::string_view text, std::string_view name) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string_view::npos; ++at) {
        if (at == 0 || text[at - 1] == '\n') {
            return std::strtoull(
                std::string(text.substr(at + name.size(), 24)).c_str(), nullptr, 10
            );
        }
    }
    return 0;
}

// The number in a file; no limit where it says "max", which is no number, or cannot be read.
uint64_t limit_in(const std::string& path) {
    const std::string text = read_start(path);
    const bool is_number = !text.empty() && text[0] >= '0' && text[0] <= '9';
    return is_number ? std::strtoull(text.c_str(), nullptr, 10)
                     : std::numeric_limits<uint64_t>::max();
}

// What a group leaves; the largest number without a limit.
uint64_t left_in(const ControlGroup& group) {
    const std::string& folder = group.folder;
    const std::string stat = read_start(folder + "/memory.stat");
    uint64_t limit = 0;
    uint64_t used = 0;
    uint64_t cached = 0;
    if (group.is_v2) {
        limit = std::min(limit_in(folder + "/memory.max"), limit_in(folder + "/memory.high"));
        used = limit_in(folder + "/memory.current");
        cached = field(stat, "inactive_file ") + field(stat, "active_file ");
    } else {
        limit = limit_in(folder + "/memory.limit_in_bytes");
        used = limit_in(folder + "/memory.usage_in_bytes");
        cached = field(stat, "total_inactive_file ") + field(stat, "total_active_file ");
    }
    if (limit == std::numeric_limits<uint64_t>::max()) {
        return limit;
    }
    used -= std::min(used, cached);
    return limit - std::min(limit, used);
}

} // namespace

std::optional<uint64_t> available_memory(
    std::string_view meminfo, const std::string& root, std::string_view membership
) {
    uint64_t least = std::numeric_limits<uint64_t>::max();
    const uint64_t kibibytes = field(meminfo, "MemAvailable:");
    if (kibibytes > 0) {
        least = kibibytes * 1024;
    }
    for (const ControlGroup& group : control_groups(root, membership, "memory")) {
        least = std::min(least, left_in(group));
    }
    // Version 1 writes "no limit" as a number near 2^63.
    return least >= uint64_t{1} << 62 ? std::nullopt : std::optional<uint64_t>(least);
}

bool has_transparent_huge_pages(const std::string& root) {
    const auto says = [&](const char* file, const char* word) {
        return read_start(root + file).find(word) != std::string::npos;
    };
    // Newer systems have a file for each size, which may leave the answer to the common one.
    const char* const kSize = "/hugepages-2048kB/enabled";
    if (says(kSize, "[always]") || says(kSize, "[madvise]")) {
        return true;
    }
    return !says(kSize, "[never]") &&
           (says("/enabled", "[always]") || says("/enabled", "[madvise]"));
}

#if defined(__linux__)
SystemMemory SystemMemory::now() {
    const bool is_disabled = ::prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1; // for this process
    return {
        .available_bytes = available_memory(
            read_start("/proc/meminfo"), kControlGroupRoot, read_start(kControlGroupMembership)
        ),
        .has_large_pages =
            !is_disabled && has_transparent_huge_pages("/sys/kernel/mm/transparent_hugepage"),
    };
}
#else
SystemMemory SystemMemory::now() {
    return {};
}
#endif

} // namespace powerinfer
