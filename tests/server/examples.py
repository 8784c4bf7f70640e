"""Runs the examples of clients against a server: examples/curl.sh, and the one in Rust.

python3 examples.py PROGRAM CLIENT, where CLIENT is powerinfer-server/examples/client.rs as it was built.
"""

import os
import shutil
import subprocess
import sys

from server import serve

KEY = "secret"
CURL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "curl.sh")


def run(*command, **variables):
    """What a program prints that has to succeed."""
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def check_client(server, client):
    where = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": KEY}
    before = server.metric("powerinfer_generation_tokens_total")
    reply = run(client, "Tell me of a dog.", **where)
    assert reply.strip() and reply.endswith("\n"), f"no reply: {reply!r}"
    assert server.metric("powerinfer_generation_tokens_total") > before, "it spoke with another server"


def check_curl(server):
    if shutil.which("curl") is None:
        print("skipped: there is no curl for examples/curl.sh")
        assert "POWERINFER_REQUIRE_TEST_DATA" not in os.environ
        return
    printed = run(CURL, server.url, POWERINFER_API_KEY=KEY)
    headings = {line.removeprefix("# ") for line in printed.splitlines() if line.startswith("# /")}
    described = server.json("/openapi.json")["paths"]
    paths = {path for path in described if "{" not in path} | {"/openapi.json"}
    assert headings == paths, f"examples/curl.sh calls {headings}, the server has {paths}"
    for wanted in ["data: [DONE]", '"object":"chat.completion"', '"embedding":', '"usage":']:
        assert wanted in printed, f"no {wanted} in {printed}"
    assert '"error"' not in printed, printed


def main():
    program, client = sys.argv[1:]
    with serve(program, key=KEY) as server:
        check_client(server, client)
        check_curl(server)
    print("the examples of clients work")


if __name__ == "__main__":
    main()
