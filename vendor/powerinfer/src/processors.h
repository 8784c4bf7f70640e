// How many threads this process can keep busy.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace powerinfer {

// Processors that this process may use, hyper-threads of one core counted once, and no more than
// its control group has time for; at least 1.
int physical_cores();

// The tightest limit of processor time in the control groups that `membership` (the text of
// /proc/self/cgroup) names, and those above them, below the folder `root` (/sys/fs/cgroup), in
// whole processors and at least 1. Absent where there is none.
std::optional<int> processor_quota(const std::string& root, std::string_view membership);

} // namespace powerinfer
