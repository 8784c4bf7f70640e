#include "page_lock.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <string>

#ifndef _WIN32
#include <sys/mman.h>
#include <sys/resource.h>
#endif

namespace powerinfer {

#ifdef _WIN32

void lock_pages(std::span<const std::byte>) {
    PI_THROW(unsupported, "locking a model in memory is not supported on Windows");
}

void unlock_pages(std::span<const std::byte>) noexcept {}

#else

namespace {

std::string lock_limit() {
    struct rlimit limit = {};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return "unknown";
    }
    return limit.rlim_cur == RLIM_INFINITY ? "unlimited"
                                           : std::to_string(limit.rlim_cur) + " bytes";
}

} // namespace

void lock_pages(std::span<const std::byte> bytes) {
    if (bytes.empty() || ::mlock(bytes.data(), bytes.size()) == 0) {
        return;
    }
    const int reason = errno;
    PI_THROW(
        out_of_memory,
        "cannot lock %zu bytes in memory: %s; RLIMIT_MEMLOCK is %s. Raise it with `ulimit -l "
        "unlimited`, LimitMEMLOCK=infinity in a systemd unit or memlock in "
        "/etc/security/limits.conf, or load without locking",
        bytes.size(),
        std::strerror(reason),
        lock_limit().c_str()
    );
}

void unlock_pages(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) {
        ::munlock(bytes.data(), bytes.size());
    }
}

#endif

} // namespace powerinfer
