"""`make bench-large`: look-ups and statistics at a million badges, beside the same at ten thousand."""

from __future__ import annotations

import http.client
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from projections.statistics.queries import Period, figures_at
from registry.event_store.log import last_position
from registry.postgres.connections import Cursor, connect
from tests.benchmarks import candidates, filling
from tests.benchmarks.candidates import Serving
from tests.benchmarks.measure import Compared, Goal, Result, say
from tests.benchmarks.servers import Server

SMALL, LARGE = 10_000, 1_000_000
REQUESTS = 1_500
CALLS = 5
"""Of the same question in a round: one takes too little time to be measured."""
_GROUPED = """
SELECT institution, to_char(awarded_on, 'YYYY-MM'), count(*),
    count(*) FILTER (WHERE revoked_since IS NOT NULL),
    count(*) FILTER (WHERE revoked_since IS NULL AND suspended_since IS NULL)
FROM badge GROUP BY 1, 2 ORDER BY 1, 2
"""


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    urls = {size: server.registry() for size in (SMALL, LARGE)}
    filled = {}
    for size, url in urls.items():
        say(f"  filling a registry with {size:,} badges")
        filled[size] = filling.fill(url, size)
    small_folder, large_folder = folder / "small", folder / "large"
    small_folder.mkdir()
    large_folder.mkdir()
    with (
        candidates.serving(urls[SMALL], small_folder) as small,
        candidates.serving(urls[LARGE], large_folder) as large,
    ):
        small.settle(600)
        say("  waiting for the read models of the large one")
        large.settle(1_800)
        for url in urls.values():
            _analyze(url)
        status = Compared("a status, p99 at 1,000,000", "ms", "p99 at 10,000", Goal(1.5, 1.2))
        learner = Compared("a learner's badges, p99 at 1,000,000", "ms", "p99 at 10,000", Goal(1.5, 1.2))
        listed = Compared(
            "an institution's first page, p99 at 1,000,000", "ms", "p99 at 10,000", Goal(1.5, 1.2)
        )
        for _ in range(rounds):
            for compared, paths in (
                (status, _of_statuses),
                (learner, _of_learners),
                (listed, _of_institutions),
            ):
                compared.ours.append(_p99(large, paths(filled[LARGE])))
                compared.peer.append(_p99(small, paths(filled[SMALL])))
    yield status
    yield learner
    yield listed
    counted = Compared(
        "statistics by month and institution at 1,000,000", "times/s", "GROUP BY over the rows", Goal(20, 100)
    )
    _count(urls[LARGE], counted, rounds)
    yield counted


def _analyze(url: str) -> None:
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    connection.close()


def _of_statuses(filled: filling.Filled) -> list[str]:
    return [f"/v1/badges/{each}/status" for each in random.choices(filled.some_badges, k=REQUESTS)]


def _of_learners(filled: filling.Filled) -> list[str]:
    return [f"/v1/learners/{each}/badges" for each in random.choices(filled.learners, k=REQUESTS)]


def _of_institutions(filled: filling.Filled) -> list[str]:
    return [f"/v1/institutions/{each}/badges" for each in random.choices(filled.institutions, k=REQUESTS)]


def _p99(serving: Serving, paths: Sequence[str]) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)
    headers = {"Authorization": f"Bearer {serving.token('auditor')}"}
    millis = []
    for path in paths:
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        millis.append((time.perf_counter() - began) * 1_000)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered {answer.status}")
    connection.close()
    return statistics.quantiles(millis, n=100)[98]


def _count(url: str, compared: Compared, rounds: int) -> None:
    connection = connect(url, "registry_read")
    owner = connect(url)
    with connection.cursor() as ours, owner.cursor() as peer:
        at = last_position(ours)
        for _ in range(rounds):
            compared.ours.append(CALLS / _seconds(partial(_figures, ours, at)))
            compared.peer.append(CALLS / _seconds(partial(_group, peer)))
    connection.close()
    owner.close()


def _figures(cursor: Cursor, at: int) -> None:
    if len(figures_at(cursor, ["month", "institution"], Period(), at)) < 1_000:
        raise RuntimeError("there are fewer groups than were filled in")


def _group(cursor: Cursor) -> None:
    cursor.execute(_GROUPED)
    cursor.fetchall()


def _seconds(call: Callable[[], None]) -> float:
    """Of all `CALLS`."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return time.perf_counter() - began
