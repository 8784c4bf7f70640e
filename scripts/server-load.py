#!/usr/bin/env python3
"""Many streams at a time, some of which leave, and then SIGTERM under load.

scripts/server-load.py [--powerinfer PROGRAM] [--streams 64] [--seconds 60]

Fails unless every text that was finished is what it is alone, nothing runs or waits at the end, the
memory after the first fifth of the time stays within 5 percent, and no request that the server
accepted before SIGTERM is lost. Needs nothing but Python.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
import urllib.parse

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "server"))

from server import serve, wait_for  # noqa: E402

PROMPTS = ["Once upon a time", "The dog", "A girl named Lily", "Once upon a tree", "The sun", "Tom"]
TOKENS = [8, 24, 64]
MIB = 1 << 20


class Lost(Exception):
    """A stream that ended without its end."""


async def stream(url, body, leave_after=None, accepted=lambda: None):
    """The text of a streamed completion; None after `leave_after` pieces, when the client leaves."""
    where = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        data = json.dumps({**body, "stream": True}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: {where.netloc}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        await writer.drain()
        if leave_after == 0:
            return None  # perhaps before it has a sequence
        status = (await reader.readline()).split()
        if not status:
            raise Lost("the connection was closed without an answer")
        if status[1] != b"200":
            raise Lost(f"{status[1].decode()}: {(await reader.read())[-300:].decode()}")
        accepted()
        pieces = []
        async for line in reader:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                return "".join(pieces)
            chunk = json.loads(line[len(b"data: ") :])
            if "error" in chunk:
                raise Lost(chunk["error"]["message"])
            pieces.append(chunk["choices"][0]["text"])
            if len(pieces) == leave_after:
                return None
        raise Lost(f"the stream ended after {len(pieces)} pieces")
    finally:
        writer.close()


class Load:
    """What the clients share."""

    def __init__(self, server, seed):
        self.server = server
        self.random = random.Random(seed)
        self.alone = {}
        self.accepted = self.finished = self.left = 0
        self.wrong = []
        self.has_stopped = False

    @staticmethod
    def body(prompt, tokens):
        return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}

    async def learn(self):
        for prompt in PROMPTS:
            for tokens in TOKENS:
                body = self.body(prompt, tokens)
                self.alone[prompt, tokens] = await stream(self.server.url, body)

    def accept(self):
        self.accepted += 1

    async def one(self, leaves):
        prompt, tokens = self.random.choice(PROMPTS), self.random.choice(TOKENS)
        leave_after = self.random.randrange(tokens // 2) if leaves else None
        body = self.body(prompt, tokens)
        text = await stream(self.server.url, body, leave_after, self.accept)
        if text is None:
            self.left += 1
            return
        self.finished += 1
        if text != self.alone[prompt, tokens]:
            self.wrong.append((prompt, tokens, text))

    async def client(self):
        while not self.has_stopped:
            await self.one(leaves=self.random.random() < 0.3)


async def run(server, arguments):
    load = Load(server, arguments.seed)
    await load.learn()
    clients = [asyncio.create_task(load.client()) for _ in range(arguments.streams)]
    start, memory = time.monotonic(), []
    while (elapsed := time.monotonic() - start) < arguments.seconds:
        await asyncio.sleep(min(1, arguments.seconds / 20))
        memory.append((elapsed, await asyncio.to_thread(resident, server)))
        for client in clients:
            if client.done():
                client.result()  # raises what it ended by
    load.has_stopped = True
    await asyncio.gather(*clients)
    seconds = time.monotonic() - start
    await asyncio.to_thread(wait_for, "the last sequences", server.is_idle, 10)
    print(f"{arguments.streams} streams, {seconds:.0f} s: {load.finished} texts finished, {load.left} left")
    assert load.finished and load.left, "the load was no load"
    assert not load.wrong, f"{len(load.wrong)} texts are not what they are alone: {load.wrong[:3]}"
    warm = [bytes for at, bytes in memory if at >= arguments.seconds / 5]
    growth = max(warm) / warm[0] - 1
    print(f"resident memory: {memory[0][1] / MIB:.1f} MiB at first, {warm[0] / MIB:.1f} warm, "
          f"at most {max(warm) / MIB:.1f}, {warm[-1] / MIB:.1f} at the end: {growth:+.1%}")
    assert growth <= 0.05, f"the memory has grown by {growth:.1%} after the warm-up"
    await stop_under_load(server, load, arguments.streams)


def resident(server):
    return server.metric("powerinfer_resident_memory_bytes")


async def stop_under_load(server, load, streams):
    """SIGTERM while as many requests run and wait: all of them are answered in full."""
    load.accepted = load.finished = 0
    requests = [asyncio.create_task(load.one(leaves=False)) for _ in range(streams)]
    while load.accepted < streams:
        await asyncio.sleep(0.002)
        for request in requests:
            if request.done():
                request.result()  # raises what it ended by
    done_before = load.finished
    start = time.monotonic()
    server.terminate()
    results = await asyncio.gather(*requests, return_exceptions=True)
    lost = [result for result in results if isinstance(result, BaseException)]
    status = await asyncio.to_thread(server.ended, 60)
    print(f"SIGTERM with {streams - done_before} requests accepted and not done: {len(lost)} lost, "
          f"ended with {status} after {time.monotonic() - start:.2f} s")
    assert not lost, f"lost: {lost[:3]}"
    assert not load.wrong, f"cut: {load.wrong[:3]}"
    assert status == 0, f"the server ended with {status}"
    assert done_before < streams, "all was done before SIGTERM"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--powerinfer", default=os.path.join(ROOT, "target/release/powerinfer"))
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with serve(arguments.powerinfer, "--queue", str(arguments.streams)) as server:
        asyncio.run(run(server, arguments))


if __name__ == "__main__":
    main()
