// What must end a program, run in a child process: sanitizers stop the program that they catch.
#pragma once

#include "check.h"

#include <cstdio>
#include <cstdlib>

#include <sys/wait.h>
#include <unistd.h>

namespace child {

// Whether a child that runs this ends with an error. What it says is not shown.
template <typename F>
bool fails(F&& run) {
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        static_cast<void>(std::freopen("/dev/null", "w", stdout));
        static_cast<void>(std::freopen("/dev/null", "w", stderr));
        check::n_failures = 0;
        run();
        std::exit(check::n_failures == 0 ? 0 : 1);
    }
    int status = 0;
    const bool waited = pid > 0 && waitpid(pid, &status, 0) == pid;
    CHECK(waited);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

} // namespace child
