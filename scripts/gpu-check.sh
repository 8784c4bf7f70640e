#!/usr/bin/env bash
# Checks and measures the native core on this machine's GPU, in ten minutes at most:
#   scripts/gpu-check.sh [build] [test] [cli] [sanitize] [bench]        default: all of them
# Needs nvcc, CMake, make or ninja, and a C++ compiler; neither Rust nor a network. What all parts
# say is kept in the folder OUT [target/gpu-check], their results are one table at the end. A part
# that fails or takes too long does not stop the next ones, but the script ends with an error.
#   POWERINFER_TEST_DATA   folder with reference data [shared or ../shared, where there is one]
#   POWERINFER             a powerinfer with the feature `cuda` [target/release/powerinfer]
#   POWERINFER_CUDA_ARCHS  GPUs to build for, as CMake's CUDA_ARCHITECTURES [this machine's]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly LIMIT=585 # seconds for everything
readonly build=target/native-gpu
out="${OUT:-target/gpu-check}"
table="$out/table.txt"

die() {
    echo "gpu-check: $*" >&2
    exit 1
}

# part what result seconds
row() {
    printf '%-9s %-46s %-9s %4s s\n' "$@" | tee -a "$table" >&2
}

# status log: what to say of a program that ended.
result_of() {
    case "$1" in
    0) if grep -q '^skipped' "$2"; then echo skipped; else echo ok; fi ;;
    124 | 137) echo "${late:-TOO LONG}" ;;
    *) echo "FAILED" ;;
    esac
}

# part what seconds command...: runs it, with its output at the end of the part's log. It gets no
# more time than there is left.
check() {
    local part="$1" what="$2" left=$((LIMIT - SECONDS)) status=0 start=$SECONDS log
    local seconds=$(($3 < left ? $3 : left > 1 ? left : 1))
    shift 3
    log="$(mktemp)"
    echo "==> $what" >"$log"
    timeout --kill-after=5 "$seconds" "$@" >>"$log" 2>&1 || status=$?
    cat "$log" >>"$out/$part.log"
    [ "$status" -eq 0 ] || tail -n 15 "$log" >&2
    row "$part" "$what" "$(result_of "$status" "$log")" $((SECONDS - start))
    rm -f "$log"
    return "$status"
}

# Programs that test operators, and those that test whole models.
operators() {
    (cd "$build" && printf '%s\n' cuda_*_test) | grep -v -e engine -e golden
}
models() {
    (cd "$build" && printf '%s\n' cuda_*_test) | grep -e engine -e golden
}

# Says so once where there is none.
has_device() {
    [ -z "${device:-}" ] || return 0
    if [ ! -x "$build/cuda_bench" ]; then
        row device "$build has no programs: build first" FAILED 0
    elif device="$("$build/cuda_bench" device 2>&1)"; then
        row device "$device" ok 0
    else
        echo "gpu-check: $device" >&2
        device=""
        row device "there is none, see above" FAILED 0
    fi
    [ -n "${device:-}" ]
}

# ---- parts ----

build() {
    local archs="${POWERINFER_CUDA_ARCHS:-}" targets=(cuda_bench)
    if [ -z "$archs" ] && command -v nvidia-smi >/dev/null; then
        archs="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
            head -n 1 | tr -cd '0-9')"
    fi
    # CMake asks for make unless it is told otherwise.
    if ! command -v make >/dev/null && command -v ninja >/dev/null; then
        local -x CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
    fi
    for file in vendor/powerinfer/tests/cuda_*_test.cpp; do
        targets+=("$(basename "$file" .cpp)")
    done
    check build "configure for ${archs:-native}" 60 "$cmake" -S vendor/powerinfer -B "$build" \
        -DCMAKE_BUILD_TYPE=Release -DPOWERINFER_CUDA=ON -DPOWERINFER_TESTS=ON \
        -DCMAKE_CUDA_ARCHITECTURES="${archs:-native}" &&
        check build "compile" 300 "$cmake" --build "$build" \
            --parallel "$(getconf _NPROCESSORS_ONLN)" --target "${targets[@]}"
}

# Operators all at once, as nothing is timed; models one by one, as they watch the free memory.
test_programs() {
    for name in $(operators); do
        check test "$name" 100 "$build/$name" &
    done
    wait
    for name in $(models); do
        check test "$name" 100 "$build/$name"
    done
}

run_cli() {
    local program="${POWERINFER:-target/release/powerinfer}" model
    model="$(find models -name '*.gguf' | sort | head -n 1)"
    if ! "$program" --version >/dev/null 2>&1; then
        row cli "$program does not run" skipped 0
        return
    fi
    for memory in 1 80; do # GiB: a part of the demo model, and all of it
        check cli "plan --vram-budget $memory" 20 "$program" plan -m "$model" --vram-budget "$memory"
    done
    check cli "run --gpu required" 60 "$program" run -m "$model" --gpu required -n 64 \
        --prompt "Once upon a time"
    check cli "run --gpu off" 60 "$program" run -m "$model" --gpu off -n 64 \
        --prompt "Once upon a time"
}

# Operators alone: whole models take minutes under these tools.
sanitize() {
    local sanitizer late
    sanitizer="$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)"
    if [ -z "$sanitizer" ]; then
        row sanitize "there is no compute-sanitizer" skipped 0
        return
    fi
    if timeout 60 "$sanitizer" "$build/cuda_runtime_test" 2>&1 | grep -q "Device not supported"; then
        row sanitize "compute-sanitizer: device not supported" skipped 0
        return
    fi
    for tool in memcheck racecheck synccheck; do
        for name in $(operators); do
            # Errors of the API are what some tests want.
            check sanitize "$tool $name" 50 "$sanitizer" --tool "$tool" --error-exitcode 9 \
                --report-api-errors no "$build/$name" &
        done
        wait
        late="no time" # for the next tools
    done
}

bench() {
    check bench "copies and kernels" 120 "$build/cuda_bench" copy kernels:7b kernels:1b
    check bench "model of the shape 7b" 300 "$build/cuda_bench" 7b
    overlap
}

# How much of the shorter of both sides' shares they computed at once, from the bench's table, in
# which it is the third column from the end.
overlap() {
    local both
    both="$(awk '$2 == "predictor" && /30 % of the neurons/ { print $(NF - 2) }' "$out/bench.log")"
    [ -z "$both" ] || row bench "CPU and GPU at once, 30 % of neurons: $both %" \
        "$(awk -v both="$both" 'BEGIN { print both >= 80 ? "ok" : "LOW" }')" 0
}

# ---- all of it ----

parts=("$@")
[ $# -gt 0 ] || parts=(build test cli sanitize bench)
for part in "${parts[@]}"; do
    case "$part" in
    build | test | cli | sanitize | bench) ;;
    *) die "want build, test, cli, sanitize or bench; found \"$part\"" ;;
    esac
done
cmake="${CMAKE:-cmake}"
command -v "$cmake" >/dev/null || die "cmake is missing; install CMake 3.18 or newer, or name one in CMAKE"
mkdir -p "$out" || die "cannot make the folder $out"
for part in "${parts[@]}"; do
    rm -f "$out/$part.log"
done
: >"$table"

for folder in "${POWERINFER_TEST_DATA:-}" shared ../shared; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then
        POWERINFER_TEST_DATA="$(cd "$folder" && pwd)"
        export POWERINFER_TEST_DATA
        break
    fi
done
export POWERINFER_REQUIRE_GPU=1
# For the models that programs make, also those that are killed.
TMPDIR="$(mktemp -d)" || die "cannot make a temporary folder"
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for part in "${parts[@]}"; do
    if [ "$part" != build ] && ! has_device; then
        break
    fi
    case "$part" in
    build) build ;;
    test) test_programs ;;
    cli) run_cli ;;
    sanitize) sanitize ;;
    bench) bench ;;
    esac
done

if [ -f "$out/bench.log" ]; then
    cat "$out/bench.log"
fi
cat "$table"
echo "gpu-check: $SECONDS s, logs in $out"
! grep -q -e FAILED -e "TOO LONG" "$table"
