"""The load generator: so many clients, each with one connection and one request under way.

A process of its own, the same for every candidate, and cheap: requests are bytes with a running number
put in, answers are read no further than their status and length. It takes its task as JSON on standard
input and writes what it saw as JSON on standard output.

Task: `port`, `clients`, `head` and `body` (texts with `@@@@@@@@@@` for the number), `seconds` or
`requests` (whichever comes first), `first` (the first number); or `values`, texts to put in in turn.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from typing import Any, cast

import uvloop

MARK = "@@@@@@@@@@"
PATIENCE_SECONDS = 30


class Run:
    """What all clients share: the requests to send, the end, and what was seen."""

    def __init__(self, task: dict[str, Any], done: asyncio.Event) -> None:
        body = task["body"].encode()
        head = f"{task['head']}Content-Length: {len(body)}\r\n\r\n".encode()
        self._parts = (head + body).split(MARK.encode())
        first = int(task["first"])
        numbers = (b"%010d" % number for number in range(first, first + int(task["requests"])))
        self._values = itertools.cycle([v.encode() for v in task["values"]]) if "values" in task else numbers
        self._until = time.perf_counter() + float(task["seconds"])
        self._done = done
        self.under_way = int(task["clients"])
        self.statuses: dict[int, int] = {}
        self.millis: list[float] = []
        self.began = self.ended = time.perf_counter()

    def next_request(self) -> bytes | None:
        """The next request; None when time or requests are over."""
        if time.perf_counter() >= self._until:
            return None
        value = next(self._values, None)
        return None if value is None else value.join(self._parts)

    def answered(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.millis.append(seconds * 1000)
        self.ended = time.perf_counter()

    def left(self) -> None:
        self.under_way -= 1
        if self.under_way == 0:
            self._done.set()


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._seen = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, body = self._seen.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._seen = b""
        self._run.answered(int(head[9:12]), time.perf_counter() - self._sent)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.left()

    def _send(self) -> None:
        assert self._transport is not None
        request = self._run.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0  # 304 has no body
    at += 15
    end = lower.find(b"\r", at)
    return int(lower[at : None if end < 0 else end])


async def run(task: dict[str, Any]) -> dict[str, Any]:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    shared = Run(task, done)
    for _ in itertools.repeat(None, int(task["clients"])):
        await loop.create_connection(lambda: Client(shared), "127.0.0.1", int(task["port"]))
    async with asyncio.timeout(float(task["seconds"]) + PATIENCE_SECONDS):
        await done.wait()
    millis = sorted(shared.millis)
    return {
        "statuses": shared.statuses,
        "seconds": shared.ended - shared.began,
        "p50": millis[len(millis) // 2],
        "p99": millis[len(millis) * 99 // 100],
        "cpu": time.process_time(),
    }


def main() -> None:
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
