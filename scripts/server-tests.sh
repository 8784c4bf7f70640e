#!/usr/bin/env bash
# Drives `powerinfer serve` from outside: ten seconds of load, the examples of clients, and with
# programs of others, the official openai client for Python and schemathesis, which sends what
# /openapi.json allows and forbids.
#   scripts/server-tests.sh [CASES]   with CASES cases of schemathesis instead of 600
# Installs these two from PyPI, and skips with a note where that cannot be reached, unless
# POWERINFER_REQUIRE_TEST_DATA is set: then a skipped test is a failed one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="$PWD/target/server-tests"
wanted=(openai==3.54.0 schemathesis==4.32.5)

# The versions that are there stand in a file, so that nothing is asked of the network again.
install() {
    [ "$(cat "$venv/wanted" 2>/dev/null)" = "${wanted[*]}" ] && return
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
            "${wanted[@]}" &&
        echo "${wanted[*]}" >"$venv/wanted"
}

# Builds what `scripts/test.sh` has built already.
cargo test --workspace --features otel --locked --no-run --quiet
built="${CARGO_TARGET_DIR:-target}/debug"
program="$built/powerinfer"
python3 scripts/server-load.py --powerinfer "$program" --seconds 10
python3 tests/server/examples.py "$program" "$built/examples/client"
if ! install; then
    echo "skipped: cannot install ${wanted[*]} for $(command -v python3 || echo "no python3")"
    [ -z "${POWERINFER_REQUIRE_TEST_DATA:-}" ]
    exit
fi
"$venv/bin/python" tests/server/openai_client.py "$program"
"$venv/bin/python" tests/server/conformance.py "$program" "$@"
