#!/usr/bin/env bash
# Measures two commands in turn, A B A B ..., and compares the tokens a second that they print:
# what the machine does meanwhile hits both alike. A run of each that does not count comes first.
set -euo pipefail
export LC_ALL=C # a point before the decimals

usage() {
    cat <<'END'
usage: scripts/compare.sh [-n ROUNDS] [-k REGEX] [-K REGEX] -- "our command" "peer command"

  -n ROUNDS  runs of each command that count [default: 5]
  -k REGEX   what our number looks like [default: the key decode_tokens_per_second of our JSON]
  -K REGEX   what the peer's number looks like [default: a number before t/s, tok/s, tokens/s or
             tokens per second]

A REGEX is extended (POSIX), and its first group is the number. The last match in all that the
command prints, stderr included, counts. Commands are run by bash.
END
}

die() {
    echo "compare: $*" >&2
    exit 1
}

misused() {
    echo "compare: $*" >&2
    usage >&2
    exit 2
}

rounds=5
number='([0-9]+\.?[0-9]*([eE][-+]?[0-9]+)?)'
our_regex="\"decode_tokens_per_second\": *$number"
peer_regex="$number *(t/s|tok/s|tokens/s|tokens per second)"
while getopts ":n:k:K:h" option; do
    case "$option" in
    n) rounds="$OPTARG" ;;
    k) our_regex="$OPTARG" ;;
    K) peer_regex="$OPTARG" ;;
    h) usage && exit 0 ;;
    :) misused "-$OPTARG wants a value" ;;
    *) misused "unknown option -$OPTARG" ;;
    esac
done
shift $((OPTIND - 1))
[[ "$rounds" =~ ^[1-9][0-9]*$ ]] || misused "-n $rounds: want a whole number, at least 1"
[ $# -eq 2 ] || misused "want two commands, each quoted as one argument; found $#"

# check_regex OPTION REGEX: refuses what bash cannot read (status 2) and what has no group.
check_regex() {
    local status=0 or_group="$2|(^)"
    [[ "" =~ $2 ]] || status=$?
    [ "$status" -ne 2 ] || misused "$1 $2: no valid extended regular expression"
    [[ "" =~ $or_group ]]
    [ "${#BASH_REMATCH[@]}" -gt 2 ] || misused "$1 $2: want a group, (...), around the number"
}
check_regex -k "$our_regex"
check_regex -K "$peer_regex"

# measure WHO OPTION REGEX COMMAND: prints the number that the command printed.
measure() {
    local output status=0 rest found=""
    output="$(bash -c "$4" 2>&1 </dev/null)" || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 20 <<<"$output" >&2
        die "$1 failed with status $status: $4"
    fi
    rest="$output"
    while [[ "$rest" =~ $3 ]] && [ -n "${BASH_REMATCH[0]}" ]; do
        found="${BASH_REMATCH[1]}"
        rest="${rest#*"${BASH_REMATCH[0]}"}"
    done
    if ! [[ "$found" =~ ^$number$ ]]; then
        tail -n 20 <<<"$output" >&2
        die "$1: want a number in what is printed above, as $2 '$3' tells," \
            "found ${found:-none}: $4"
    fi
    awk -v rate="$found" 'BEGIN { exit !(rate > 0) }' ||
        die "$1: want a number above 0, found $found: $4"
    echo "$found"
}

# summary: reads one number a line; prints their median, the lowest and the highest.
summary() {
    sort -g | awk '{ x[NR] = $1 } END {
        median = NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2
        printf "%.10g %.10g %.10g\n", median, x[1], x[NR]
    }'
}

ours=()
peers=()
echo "ours: $1"
echo "peer: $2"
for round in $(seq 0 "$rounds"); do
    our="$(measure ours -k "$our_regex" "$1")"
    peer="$(measure peer -K "$peer_regex" "$2")"
    if [ "$round" -eq 0 ]; then
        continue
    fi
    ours+=("$our")
    peers+=("$peer")
    printf 'round %d of %d: ours %.2f, peer %.2f tok/s\n' "$round" "$rounds" "$our" "$peer"
done

read -r our low high < <(printf '%s\n' "${ours[@]}" | summary)
printf 'ours   median %.2f tok/s (%.2f to %.2f)\n' "$our" "$low" "$high"
read -r peer low high < <(printf '%s\n' "${peers[@]}" | summary)
printf 'peer   median %.2f tok/s (%.2f to %.2f)\n' "$peer" "$low" "$high"
read -r _ low high < <(
    paste <(printf '%s\n' "${ours[@]}") <(printf '%s\n' "${peers[@]}") |
        awk '{ printf "%.10g\n", $1 / $2 }' | summary
)
awk -v our="$our" -v peer="$peer" -v low="$low" -v high="$high" \
    'BEGIN { printf "ratio  %.3f of the medians (%.3f to %.3f by round)\n", our / peer, low, high }'
