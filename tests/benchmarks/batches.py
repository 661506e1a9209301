"""A batch of 100,000 awards over HTTP; beside binary COPY of all the rows that it writes."""

from __future__ import annotations

import http.client
import io
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry.postgres.connections import connect
from tests import support
from tests.benchmarks import candidates
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.measure import Compared, Goal, Result, Seen
from tests.benchmarks.processes import memory_mb
from tests.benchmarks.servers import Server

LINES = 100_000
ROUNDS = 5
MIN_ASKED = 100
COPIED = {"event": "event", "vault": "vault (position, institution, learner_id, sealed)", "alias": "alias"}
"""The tables, with columns where PostgreSQL itself makes others."""


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    """Once with `registry serve` alone, once with the projecting in a process apart."""
    peer = "binary COPY of all their rows"
    alone = Compared(f"badge-batches of {LINES:,} lines, serve alone", "lines/s", peer, Goal(0.2, 0.35))
    apart = Compared("the same, `registry consume` beside it", "lines/s", peer, Goal(0.2, 0.35))
    above = _measure(alone, server, folder, rounds, consuming=False)
    yield alone
    yield Seen("memory of a batch above rest", "MB", above, 100)
    _measure(apart, server, folder, rounds, consuming=True)
    yield apart
    status = Compared(
        f"a status, p99 while a batch of {LINES:,} lines comes in", "ms", "p99 without one", Goal(5, 2)
    )
    _measure_statuses(status, server, folder, rounds)
    yield status


def _measure(into: Compared, server: Server, folder: Path, rounds: int, *, consuming: bool) -> float:
    """Answers the memory in MB that the serving process took above rest."""
    above = 0.0
    with candidates.ours(server, folder, consuming=consuming) as ours:
        _send(ours, _lines("warm", 2_000))
        ours.settle()
        rest = memory_mb(ours.process.pid)
        for number in range(min(rounds, ROUNDS)):
            body = _lines(f"batch-{number}", LINES)
            before = _last_positions(ours.url)
            peak = _Peak(ours.process.pid)
            began = time.perf_counter()
            _send(ours, body)
            into.ours.append(LINES / (time.perf_counter() - began))
            above = max(above, peak.stop() - rest)
            ours.settle()
            into.peer.append(LINES / _copy(ours.url, server.registry(), before))
    return above


def _measure_statuses(into: Compared, server: Server, folder: Path, rounds: int) -> None:
    """One client asks for a status after another, as long as the batch takes and as often without it."""
    with candidates.ours(server, folder) as ours, ThreadPoolExecutor(1) as threads:
        badge = _send(ours, _lines("warm", 2_000))
        path = f"/v1/badges/{badge}/status"
        for number in range(min(rounds, ROUNDS)):
            sending = threads.submit(_send, ours, _lines(f"batch-{number}", LINES))
            during = _millis(ours.port, path, MIN_ASKED, sending.done)
            sending.result()
            ours.settle()
            without = _millis(ours.port, path, len(during))
            into.ours.append(_p99(during))
            into.peer.append(_p99(without))


def _millis(port: int, path: str, at_least: int, is_over: Callable[[], bool] = lambda: True) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    millis: list[float] = []
    while len(millis) < at_least or not is_over():
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        millis.append((time.perf_counter() - began) * 1_000)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered {answer.status}")
    connection.close()
    return millis


def _p99(millis: Sequence[float]) -> float:
    return statistics.quantiles(millis, n=100)[98]


def _lines(prefix: str, count: int) -> bytes:
    """Awards with all that an institution sends; a new learner each."""
    made = []
    for number in range(count):
        learner = {"eduId": f"{prefix}-{number}", "name": "A. Jansen", "email": "a@example.org"}
        made.append(json.dumps(support.award(f"{prefix}-{number}", learner=learner)))
    return "\n".join(made).encode() + b"\n"


def _send(candidate: Candidate, body: bytes) -> str:
    """Answers the id of its first badge."""
    connection = http.client.HTTPConnection("127.0.0.1", candidate.port, timeout=600)
    headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {candidate.token}"}
    connection.request("POST", "/v1/badge-batches", body, headers)
    answer = connection.getresponse()
    lines = answer.read().splitlines()
    connection.close()
    if answer.status != 200 or len(lines) != body.count(b"\n"):
        raise RuntimeError(f"the batch was answered {answer.status} with {len(lines)} lines")
    if any(json.loads(line)["outcome"] != "awarded" for line in lines[:: len(lines) // 100]):
        raise RuntimeError("a line was not awarded")
    return str(json.loads(lines[0])["id"])


def _last_positions(url: str) -> int:
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(position), 0) FROM event")
        (last,) = cursor.fetchone() or (0,)
    connection.close()
    return int(last)


def _copy(url: str, plain: str, after: int) -> float:
    """Seconds of COPY of what was written after a position, into tables of the same definition."""
    source, target = connect(url), connect(plain)
    rows: dict[str, io.BytesIO] = {}
    wanted = {
        "event": f"SELECT * FROM event WHERE position > {after}",
        "vault": f"SELECT position, institution, learner_id, sealed FROM vault WHERE position > {after}",
        "alias": f"SELECT a.* FROM alias a JOIN vault v USING (learner_id) WHERE v.position > {after}",
    }
    with source.cursor() as cursor:
        for table, query in wanted.items():
            rows[table] = io.BytesIO()
            cursor.copy_expert(f"COPY ({query}) TO STDOUT BINARY", rows[table])
            rows[table].seek(0)
    began = time.perf_counter()
    with target.cursor() as cursor:
        cursor.execute("BEGIN")
        for table, columns in COPIED.items():
            cursor.copy_expert(f"COPY {columns} FROM STDIN BINARY", rows[table])
        cursor.execute("COMMIT")
    seconds = time.perf_counter() - began
    source.close()
    target.close()
    return seconds


class _Peak:
    """The most memory that a process has until it is asked for."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._done = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self._most = max(self._most, memory_mb(self._pid))

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self._most
