#!/usr/bin/env python3
"""Speed of a server: 8 greedy streams against 1, and what it adds to `powerinfer run` per token.

scripts/server-bench.py [--powerinfer PROGRAM] [--model FILE] [--tokens 128] [--repeat 7]
    [-- ARGUMENTS OF BOTH SERVE AND RUN]

Once as streams and once as whole answers, because a client that reads 8 fast streams takes much of a
small machine. All that is compared runs in turn, round by round; what counts are the medians of the rounds.
Needs nothing but Python. Close other programs.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.parse

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "server"))

from server import serve  # noqa: E402

# As long as each other, so that the streams begin together.
PROMPTS = ["The dog", "The cat", "The sun", "The boy", "The man", "The sea", "The car", "The bed"]


async def ask(url, prompt, tokens, streams):
    """Times at which the pieces of a completion came; of a whole one, when it did."""
    where = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
    body |= {"temperature": 0, "repeat_penalty": 1}
    if streams:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: {where.netloc}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    times, usage = [], None
    async for line in reader:
        # What takes the client's time is left for the end.
        if line.startswith(b"data: {") or line.startswith(b"{"):
            times.append(time.perf_counter())
            usage = line if b'"completion_tokens"' in line else usage
    writer.close()
    usage = json.loads(usage.removeprefix(b"data: "))["usage"]
    if usage["completion_tokens"] != tokens:
        raise RuntimeError(f"wanted {tokens} tokens, the server made {usage}")
    return times[: -2 if streams else None]  # without the end and the usage


async def together(url, prompts, tokens, streams=True):
    """Tokens a second of all of them, prompts included, and milliseconds a token of the first."""
    start = time.perf_counter()
    times = await asyncio.gather(*[ask(url, prompt, tokens, streams) for prompt in prompts])
    seconds = max(pieces[-1] for pieces in times) - start
    each = 1000 * (times[0][-1] - times[0][0]) / (tokens - 1)
    return len(prompts) * tokens / seconds, each


def alone(arguments, prompt):
    """Milliseconds a token of `powerinfer run`, by its own account."""
    command = [arguments.powerinfer, "run", "-p", prompt, "--temp", "0", "--ignore-eos", "--json"]
    command += ["-n", str(arguments.tokens), *arguments.common]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return 1000 / answer["metrics"]["decode_tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--powerinfer", default=os.path.join(ROOT, "target/release/powerinfer"))
    parser.add_argument("--model", help="a model file [default: the demo model]")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("common", nargs="*", help="arguments of both serve and run, after --")
    arguments = parser.parse_args()
    if arguments.model:
        arguments.common += ["-m", arguments.model]
    rounds = []
    with serve(arguments.powerinfer, "--parallel", "8", *arguments.common) as server:

        def measure(n, streams=True):
            return asyncio.run(together(server.url, PROMPTS[:n], arguments.tokens, streams))

        for _ in range(arguments.repeat + 1):
            (one, served), run, (eight, _) = measure(1), alone(arguments, PROMPTS[0]), measure(8)
            (whole_one, _), (whole_eight, _) = measure(1, streams=False), measure(8, streams=False)
            rounds.append(
                {
                    "streams_1_tokens_per_second": one,
                    "streams_8_tokens_per_second": eight,
                    "streams_speedup": eight / one,
                    "whole_1_tokens_per_second": whole_one,
                    "whole_8_tokens_per_second": whole_eight,
                    "whole_speedup": whole_eight / whole_one,
                    "run_ms_per_token": run,
                    "server_ms_per_token": served,
                    "added_ms_per_token": served - run,
                }
            )
    result = {}
    for name in rounds[0]:
        values = [round(each[name], 3) for each in rounds[1:]]  # the first is to warm up
        result[name] = {"median": statistics.median(values), "range": [min(values), max(values)]}
    for name, value in result.items():
        print(f"{name:<28} {json.dumps(value)}")


if __name__ == "__main__":
    main()
