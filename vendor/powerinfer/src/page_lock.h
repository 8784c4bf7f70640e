// Memory that the system may not page out.
#pragma once

#include <cstddef>
#include <span>

namespace powerinfer {

// Keeps the pages of `bytes` in memory; locking them twice is fine. Throws Error(out_of_memory)
// that names the limit (RLIMIT_MEMLOCK) and how to raise it; Error(unsupported) on Windows.
void lock_pages(std::span<const std::byte> bytes);

// Undoes it, however often they were locked. Unmapping does so too.
void unlock_pages(std::span<const std::byte> bytes) noexcept;

} // namespace powerinfer
