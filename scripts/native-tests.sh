#!/usr/bin/env bash
# Runs the tests of the native core: `scripts/native-tests.sh [plain] [address] [thread]`, as they are
# or under sanitizers, all by default. `address` includes undefined behaviour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh ""

jobs="$(getconf _NPROCESSORS_ONLN)"
# The thread sanitizer wants a predictable address space; not every container lets us ask for it.
fixed=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed=(setarch "$(uname -m)" -R)
fi

for kind in "${@:-plain address thread}"; do
    for name in $kind; do
        build="target/native-$name"
        "${CMAKE:-cmake}" -S vendor/powerinfer -B "$build" -DCMAKE_BUILD_TYPE=Release \
            -DPOWERINFER_TESTS=ON -DPOWERINFER_WERROR=ON \
            -DPOWERINFER_SANITIZE="${name#plain}" >/dev/null
        "${CMAKE:-cmake}" --build "$build" --parallel "$jobs"
        (
            cd "$build"
            # Under sanitizers the emulated device takes minutes for these; others have the same
            # kinds of code. POWERINFER_ALL_TESTS runs all: after changes to kernels, say.
            skipped='^$'
            if [ -z "${POWERINFER_ALL_TESTS:-}" ]; then
                case "$name" in
                address) skipped='^(cuda_bench|cuda_golden)' ;;
                thread) skipped='^(cuda_(activations|attention|bench|engine|golden|multiply|predictor)|emulator_(adapt|engine))' ;;
                esac
            fi
            ${fixed[@]+"${fixed[@]}"} ctest --output-on-failure --no-tests=error \
                --parallel "$jobs" --exclude-regex "$skipped"
            grep -h "^skipped" Testing/Temporary/LastTest.log | sort | uniq -c || true
        )
    done
done
