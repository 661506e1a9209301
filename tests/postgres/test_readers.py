"""Readers: whoever has passed a position has seen every event up to it, whatever writers do meanwhile."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.store_feed import Bell, LogEnd, StoreFeed
from registry.event_store.append import COPY_FROM_ROWS
from registry.event_store.log import LoggedEvent, read_log
from registry.postgres.connections import Cursor, Pool, connect
from tests.postgres.log import (
    check_order,
    holding_the_lock,
    identities,
    later,
    until,
    waiting_writers,
    whole_log,
)
from tests.postgres.writing import Writer, stream

INSERT = (
    "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
    " SELECT coalesce(max(position), 0) + 1, %s, 1, 'badge.awarded', 1, clock_timestamp(), '{}' FROM event"
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@pytest.fixture
def reading(url: str) -> Iterator[Pool]:
    pool = Pool(url, "registry_project", 2)
    yield pool
    pool.close()


@pytest.fixture
def writers(url: str) -> Iterator[list[Writer]]:
    opened = [Writer(url), Writer(url)]
    yield opened
    for writer in opened:
        writer.close()


class Reader:
    """Follows the log from where it is, and never looks back."""

    def __init__(self, reading: Pool) -> None:
        self._feed = StoreFeed(LogEnd(reading), {0: 0})
        self._done = threading.Event()
        self.seen: list[LoggedEvent] = []
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._done.is_set():
            self._read()

    def _read(self) -> None:
        if page := self._feed.read(7):
            self.seen += page.events

    def stop(self, last: int) -> list[LoggedEvent]:
        """All that it has seen, when it has come to the last position."""
        until(lambda: bool(self.seen) and self.seen[-1].position >= last)
        self._done.set()
        self._thread.join()
        return self.seen


def open_append(cursor: Cursor, subject: str) -> None:
    """Inserts an event in a transaction that stays open."""
    cursor.execute(INSERT, (subject,))


@pytest.mark.parametrize("size", [1, COPY_FROM_ROWS])
def test_no_later_event_is_seen_before_an_append_in_the_middle_is_committed(
    url: str, reading: Pool, writers: list[Writer], size: int
) -> None:
    writers[0].append(stream(1))
    reader = Reader(reading)
    with holding_the_lock(url) as cursor:
        open_append(cursor, "in the middle")
        others = [later(partial(writer.append, stream(size))) for writer in writers]
        until(lambda: waiting_writers(url) == 2)
        until(lambda: len(reader.seen) == 1)
        assert [other.done() for other in others] == [False, False]
    last = max(position for other in others for position in other.result(20))
    seen = reader.stop(last)
    assert [event.subject for event in seen].index("in the middle") == 1
    assert seen == whole_log(url)
    check_order(seen)


def test_an_append_rolled_back_leaves_its_position_to_the_next(
    url: str, reading: Pool, writers: list[Writer]
) -> None:
    reader = Reader(reading)
    with holding_the_lock(url) as cursor:
        open_append(cursor, "rolled back")
        other = later(lambda: writers[0].append(stream(1)))
        until(lambda: waiting_writers(url) == 1)
        cursor.execute("ROLLBACK; BEGIN")
    assert other.result(20) == [1]
    assert "rolled back" not in {event.subject for event in reader.stop(1)}


def test_a_reader_sees_each_event_once_and_in_order_while_transactions_stay_open(
    url: str, reading: Pool, writers: list[Writer]
) -> None:
    readers = [Reader(reading) for _ in range(2)]
    done = threading.Event()

    def write(writer: Writer, size: int) -> int:
        acknowledged = 0
        while not done.is_set():
            acknowledged += len(writer.append(stream(size)))
        return acknowledged

    sizes = (1, 2, COPY_FROM_ROWS)
    workers = [later(partial(write, writer, size)) for writer in writers for size in sizes]
    for number in range(30):
        with holding_the_lock(url) as cursor:
            open_append(cursor, f"held {number}")
            time.sleep(0.01)
            if number % 3 == 2:
                cursor.execute("ROLLBACK; BEGIN")
    done.set()
    acknowledged = sum(worker.result(20) for worker in workers)
    log = whole_log(url)
    check_order(log)
    assert len(log) == acknowledged + 20
    for reader in readers:
        assert identities(reader.stop(log[-1].position)) == identities(log)


def test_who_waits_for_new_events_is_woken_by_the_bell(url: str) -> None:
    pool, bell = Pool(url, "registry_project", 1), Bell()
    feed = StoreFeed(LogEnd(pool), {0: 0}, bell, poll_seconds=60)
    waiting = later(partial(feed.read, 1))
    bell.ring()
    assert waiting.result(5) is None
    pool.close()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_what_is_stored_is_read_byte_by_byte_in_any_time_zone(url: str, zone: str) -> None:
    moment, positions = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, dt.UTC), itertools.count(2**40)
    opened = connect(url, timezone=zone)

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.tuples(TEXTS, st.integers(1, 2**31 - 1), st.integers(0, 2**15 - 1), st.binary()), max_size=5
        )
    )
    def check(rows: list[tuple[str, int, int, bytes]]) -> None:
        before, stored = next(positions), []
        with opened.cursor() as cursor:
            for text, version, schema, data in rows:
                position = next(positions)
                stored.append(LoggedEvent(position, f"{position}{text}", version, text, schema, moment, data))
                values = (position, f"{position}{text}", version, text, schema, moment, data)
                cursor.execute("INSERT INTO event VALUES (%s, %s, %s, %s, %s, %s, %s)", values)
            assert read_log(cursor, before, 10) == stored

    check()
    opened.close()
