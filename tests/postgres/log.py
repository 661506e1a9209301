"""The log as it lies in the database, and work that meets other work there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from registry.event_store.log import LoggedEvent, read_log
from registry.postgres.connections import Connection, Cursor, connect
from tests.support import PATIENCE_SECONDS, Databases

Answer = TypeVar("Answer")


@contextmanager
def connection(url: str, *arguments: Any) -> Iterator[Connection]:
    opened = connect(url, *arguments)
    try:
        yield opened
    finally:
        opened.close()


def query(url: str, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query that the owner of the database asks."""
    with connection(url) as opened, opened.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def execute(url: str, statement: str, values: tuple[object, ...] = ()) -> None:
    """A statement of the database's owner."""
    with connection(url) as opened, opened.cursor() as cursor:
        cursor.execute(statement, values)


def whole_log(url: str, after: int = 0) -> list[LoggedEvent]:
    with connection(url) as opened, opened.cursor() as cursor:
        return read_log(cursor, after, 1_000_000)


def check_order(log: list[LoggedEvent], after: int = 0) -> None:
    """Positions are gapless and times never decrease."""
    assert [event.position for event in log] == list(range(after + 1, after + 1 + len(log)))
    times = [event.time for event in log]
    assert times == sorted(times)


def identities(log: list[LoggedEvent]) -> list[tuple[str, int]]:
    return [(event.subject, event.version) for event in log]


def waiting_writers(url: str) -> int:
    """How many wait for the lock that orders all writers."""
    rows = query(
        url,
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND objid = 4201 AND NOT granted AND datname = current_database()",
    )
    return int(rows[0][0])


def until(condition: Callable[[], bool]) -> None:
    """Returns as soon as it holds; fails after a generous time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def later(work: Callable[[], Answer]) -> Future[Answer]:
    """The work, done in a thread of its own."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@contextmanager
def fresh(databases: Databases) -> Iterator[str]:
    """A new, empty registry's database, for tests that share it."""
    url = databases.fresh()
    yield url
    databases.drop(url)


@contextmanager
def holding_the_lock(url: str) -> Iterator[Cursor]:
    """A transaction in the middle of an append: it holds the lock until the block ends, and commits."""
    with connection(url, "registry_write") as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_advisory_xact_lock(4201)")
        yield cursor
        cursor.execute("COMMIT")
