#!/usr/bin/env bash
# Builds powerinfer, after installing what is missing, and lets its embedded model tell a story.
# Arguments go to the program: `scripts/demo.sh run --prompt "Once upon a time"`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh ""
cargo run --quiet --release --locked -- "$@"
