#!/usr/bin/env bash
# Counts the instructions of a decode step of the demo model with valgrind, one thread, for each
# strategy: the same number on a noisy machine as on a calm one, so that a change of it is a change
# of the code. Two runs that differ only in their length are subtracted, which leaves out the start.
# `scripts/instructions.sh [MODEL]`; POWERINFER_CPU chooses the operators.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
    echo "instructions: $*" >&2
    exit 1
}

command -v valgrind >/dev/null ||
    die "valgrind is missing; install it (apt-get install valgrind, dnf install valgrind)"
[ $# -le 1 ] || die "want at most one argument, the model; found $#"
model="${1:-models/stories-relu.q4_0.powerinfer.gguf}"

. scripts/setup.sh ""
cargo build --quiet --release --locked
powerinfer="${CARGO_TARGET_DIR:-target}/release/powerinfer"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

cpu_operators() { "$powerinfer" --version | sed -n 's/^cpu operators: //p'; }

note=""
if [ -z "${POWERINFER_CPU:-}" ] && [ "$(cpu_operators)" = avx512 ]; then
    export POWERINFER_CPU=avx2
    note=" (valgrind does not know the avx512 that this machine has)"
fi

readonly SKIP=16 COUNT=64 # tokens
story="Once upon a time there was a little girl who lived in a small house near the forest. One day \
she found a red ball under a big tree. She wanted to play with it, but the ball was stuck. A kind \
bird saw her and said, I can help you. The bird pushed the ball with its beak and it rolled down \
the hill. The girl laughed and ran after it. They played together all day until the sun went down."
ids="$("$powerinfer" tokenize -m "$model" --ids "$story" | cut -d, -f "1-$((SKIP + COUNT))")"
found="$(tr , '\n' <<<"$ids" | wc -l)"
[ "$found" -eq $((SKIP + COUNT)) ] ||
    die "the story has $found tokens in $model; want $((SKIP + COUNT))"

# count STRATEGY TOKENS: instructions of a process that decodes the first TOKENS, one by one.
count() {
    local log="$out/log" collected
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$powerinfer" logits -m "$model" \
        --tokens "$(cut -d, -f "1-$2" <<<"$ids")" --strategy "$1" --kv-type f16 -t 1 \
        --out "$out/logits.npy" >"$log" 2>&1 || {
        cat "$log" >&2
        die "$1: valgrind or powerinfer failed, see above"
    }
    collected="$(sed -n 's/.* Collected : \([0-9]*\)$/\1/p' "$log")"
    [ -n "$collected" ] || {
        cat "$log" >&2
        die "$1: want a line 'Collected : NUMBER' from valgrind, found the above"
    }
    echo "$collected"
}

echo "model      $model"
echo "operators  $(cpu_operators)$note, 1 thread"
echo "compiler   $("${CXX:-c++}" --version | head -n 1)"
echo "tokens     $((SKIP + 1)) to $((SKIP + COUNT)) of a story, one by one"
echo
printf '%-10s %s\n' strategy "instructions per token"
for strategy in dense exact predictor; do
    short="$(count "$strategy" "$SKIP")"
    long="$(count "$strategy" $((SKIP + COUNT)))"
    printf '%-10s %d\n' "$strategy" $(((long - short) / COUNT))
done
