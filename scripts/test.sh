#!/usr/bin/env bash
# All checks of the project, in the order in which they fail fastest. Installs what is missing.
# POWERINFER_TEST_DATA names a folder with reference data; tests that need it skip without.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

current=""
trap '[ $? -eq 0 ] || echo "==> FAILED: $current" >&2' EXIT

stage() {
    local start=$SECONDS
    current="$1"
    shift
    echo "==> $current"
    "$@"
    echo "==> $current: $((SECONDS - start)) s"
}

format() {
    cargo fmt --all --check
    find vendor/powerinfer -name '*.h' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cu*' | sort |
        xargs clang-format --dry-run -Werror
}

stage "tools" . scripts/setup.sh test
export POWERINFER_REQUIRE_LIBCLANG=1
stage "format" format
stage "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
stage "native tests, address and undefined sanitizer" scripts/sanitize.sh address
stage "native tests, thread sanitizer" scripts/sanitize.sh thread
stage "tests" cargo test --workspace --locked
stage "benchmarks, once" cargo test --locked --bench generation --bench kernels
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
stage "package" scripts/package-check.sh
echo "==> all checks passed in $SECONDS s"
