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

# Compiles what is for GPUs, for one kind of them, and runs its tests, which skip without a GPU.
cuda_compiles() {
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        echo "skipped: compiling for CUDA needs Linux on x86-64; this is $(uname -sm)"
        return
    fi
    if [ -z "${CUDACXX:-}${CUDAToolkit_ROOT:-}${CUDA_PATH:-}" ] && ! has nvcc; then
        scripts/setup-cuda.sh target/cuda
        local -x CUDA_PATH="$PWD/target/cuda"
    fi
    local -x POWERINFER_CUDA_ARCHS=90
    if has nvidia-smi; then
        POWERINFER_CUDA_ARCHS=native
    fi
    local build=target/native-cuda programs=()
    for file in vendor/powerinfer/tests/cuda_*_test.cpp; do
        programs+=("$(basename "$file" .cpp)")
    done
    "${CMAKE:-cmake}" -S vendor/powerinfer -B "$build" -DPOWERINFER_CUDA=ON \
        -DPOWERINFER_TESTS=ON -DPOWERINFER_WERROR=ON \
        -DCMAKE_CUDA_ARCHITECTURES="$POWERINFER_CUDA_ARCHS" >/dev/null
    "${CMAKE:-cmake}" --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)" \
        --target "${programs[@]}" cuda_bench
    for program in "${programs[@]}"; do
        "$build/$program"
    done
    cargo clippy -p powerinfer-sys --features cuda --all-targets --locked -- -D warnings
    cargo test -p powerinfer-sys --features cuda --locked
}

# The same sources under the names of HIP. There is no AMD GPU among the machines that we test on.
hip_compiles() {
    if ! has hipcc; then
        echo "skipped: no hipcc"
        return
    fi
    for file in vendor/powerinfer/src/cuda/*.cu vendor/powerinfer/src/cuda/*.cpp; do
        [ "$(basename "$file")" != none.cpp ] || continue # what a build without a GPU has
        # It gives the compiler libraries to link, also where nothing is linked; `#pragma unroll(n)` is
        # right for both compilers.
        hipcc -x hip -std=c++20 --offload-arch=gfx1030 -Wall -Wextra -Werror \
            -Wno-unused-command-line-argument -Wno-cuda-compat -fsyntax-only "$file"
    done
}

# What the page of the server does is tested in a browser, if there is one or it can be installed.
browser() {
    local name
    if ! has chromium && ! has chromium-browser && ! has google-chrome; then
        install_packages "Chromium" "chromium" "chromium" "" || true
    fi
    for name in chromium chromium-browser google-chrome; do
        if has "$name"; then
            export POWERINFER_REQUIRE_BROWSER=1
            return
        fi
    done
    echo "skipped: no Chromium, and it cannot be installed; the page of the server is not tested"
}

stage "tools" . scripts/setup.sh test
export POWERINFER_REQUIRE_LIBCLANG=1
stage "format" format
# With the same features everywhere nothing is built twice; otel is none of the defaults.
stage "lints" cargo clippy --workspace --all-targets --features otel --locked -- -D warnings
stage "lints without features" cargo clippy -p powerinfer-cli --no-default-features --locked -- -D warnings
stage "native tests" scripts/native-tests.sh plain
stage "native tests, address and undefined sanitizer" scripts/native-tests.sh address
stage "native tests, thread sanitizer" scripts/native-tests.sh thread
stage "browser" browser
stage "tests" cargo test --workspace --features otel --locked
stage "tests with clients of others" scripts/server-tests.sh
stage "CUDA compiles" cuda_compiles
stage "HIP compiles" hip_compiles
stage "benchmarks, once" cargo test --features otel --locked --bench generation --bench kernels
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features otel --locked
stage "package" scripts/package-check.sh
echo "==> all checks passed in $SECONDS s"
