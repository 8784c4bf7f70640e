// The control groups that limit this process (Linux).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace powerinfer {

struct ControlGroup {
    std::string folder; // where the files of the controller lie
    bool is_v2;         // names and forms of the files differ between the versions
};

// The groups of `controller` that `membership` (the text of /proc/self/cgroup) names and those
// above them, up to the root, which in a container is the container's own group; `root` is
// /sys/fs/cgroup. Folders need not exist.
std::vector<ControlGroup> control_groups(
    const std::string& root, std::string_view membership, std::string_view controller
);

inline constexpr const char* kControlGroupRoot = "/sys/fs/cgroup";
inline constexpr const char* kControlGroupMembership = "/proc/self/cgroup";

// The first 4096 bytes of a file, which is all of the small ones read here; empty if it cannot be
// read.
std::string read_start(const std::string& path);

} // namespace powerinfer
