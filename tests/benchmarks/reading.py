"""Reading the whole log: `/v1/events` to its end, and a rebuild; beside COPY of the same rows to a file."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from consumers.rebuild import rebuild
from projections.badges.projection import Badges
from registry.postgres.connections import connect
from tests.benchmarks import candidates, filling
from tests.benchmarks.candidates import Serving
from tests.benchmarks.filling import Filled
from tests.benchmarks.measure import Compared, Goal, Result, take_turns
from tests.benchmarks.servers import Server

BADGES = 455_000
"""With a revocation of every tenth some 500,000 events."""
ROUNDS = 2
LOOK_UP_SECONDS = 0.01


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    rounds = min(rounds, ROUNDS)
    url = server.registry()
    filled = filling.fill(url, BADGES)
    events = Compared("/v1/events of 500,000 events", "events/s", "COPY to a file", Goal(0.15, 0.3))
    rebuilt = Compared(
        "rebuild of the badges, look-ups going on", "events/s", "COPY of the log to a file", Goal(0.05, 0.1)
    )
    copy = partial(_copy, url, folder / "log")
    with candidates.serving(url, folder) as serving:
        serving.settle(600)
        take_turns(events, rounds, partial(_read, serving), copy)
        yield events
        take_turns(rebuilt, rounds, partial(_rebuild, url, serving, filled), copy)
        yield rebuilt


def _copy(url: str, path: Path) -> float:
    """Events a second of COPY of all columns to a file."""
    connection = connect(url)
    began = time.perf_counter()
    with connection.cursor() as cursor, path.open("wb") as file:
        cursor.copy_expert("COPY (SELECT * FROM event ORDER BY position) TO STDOUT", file)
    seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(position) FROM event")
        (last,) = cursor.fetchone() or (0,)
    connection.close()
    return float(last / seconds)


def _read(serving: Serving) -> float:
    """Events a second of one auditor who asks on until the end."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)
    headers = {"Authorization": f"Bearer {serving.token('auditor')}"}
    began, after = time.perf_counter(), 0
    while True:
        connection.request("GET", f"/v1/events?after={after}&limit=10000", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"/v1/events was answered {answer.status}: {body[:500]!r}")
        if not body:
            connection.close()
            return after / (time.perf_counter() - began)
        after = int(answer.headers["Registry-Position"])


def _rebuild(url: str, serving: Serving, filled: Filled) -> float:
    done, looked = threading.Event(), itertools.count()
    looking = threading.Thread(target=_look_up, args=(serving, filled, done, looked))
    looking.start()
    began = time.perf_counter()
    at = rebuild(url, Badges(), lambda _: None)
    seconds = time.perf_counter() - began
    done.set()
    looking.join()
    if next(looked) < seconds / LOOK_UP_SECONDS / 10:
        raise RuntimeError("look-ups did not go on during the rebuild")
    return at / seconds


def _look_up(serving: Serving, filled: Filled, done: threading.Event, looked: itertools.count[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)
    for badge in itertools.cycle(filled.some_badges):
        connection.request("GET", f"/v1/badges/{badge}/status")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a status was answered {answer.status}")
        next(looked)
        if done.wait(LOOK_UP_SECONDS):
            connection.close()
            return
