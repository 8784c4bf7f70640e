// How much memory this process may still take, and whether in large pages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace powerinfer {

struct SystemMemory {
    std::optional<uint64_t> available_bytes; // absent where the system does not tell
    bool has_large_pages = false;            // anonymous memory may get pages of 2 MiB

    // What holds now.
    static SystemMemory now();
};

// Bytes that can be taken without paging others out: MemAvailable of `meminfo` (the text of
// /proc/meminfo), or what the control groups of `membership` below `root` leave, if that is less.
// Cached files count as available in both, as the system drops them when memory is wanted.
std::optional<uint64_t> available_memory(
    std::string_view meminfo, const std::string& root, std::string_view membership
);

// Whether madvise(MADV_HUGEPAGE) has a meaning, by the files below `root`
// (/sys/kernel/mm/transparent_hugepage).
bool has_transparent_huge_pages(const std::string& root);

} // namespace powerinfer
