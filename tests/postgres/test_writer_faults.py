"""A writer in trouble: what fails fails alone, and says truly whether it may be recorded."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from functools import partial

import psycopg2
import pytest

from registry.event_store.append import COPY_FROM_ROWS, ConflictError, MaybeRecordedError, Unit
from registry.event_store.group_commit import Writer
from registry.postgres.connections import UnavailableError
from tests.postgres.log import (
    check_order,
    execute,
    fresh,
    holding_the_lock,
    later,
    private,
    stored,
    stream,
    unit,
    until,
    waiting_writers,
    whole_log,
)
from tests.support import Databases

SIZES = [1, COPY_FROM_ROWS]


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[tuple[str, Writer]]:
    with fresh(databases) as found:
        opened = Writer(found)
        yield found, opened
        opened.close()


@pytest.fixture
def writer(url: str) -> Iterator[Writer]:
    opened = Writer(url)
    yield opened
    opened.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "bad",
    [
        Unit([stored("bad \ud800"), stored("bad")]),
        Unit([stored("bad \0"), stored("bad")]),
        Unit([stored("bad", 2**31), stored("bad")]),
        Unit([stored("bad", 1, "badge.awarded/70000"), stored("bad", 2)]),
        Unit([stored("bad", 1, "badge.awarded/first"), stored("bad", 2)]),
        Unit([stored("bad")], private={0: private(learner_id="nobody")}),
        Unit([stored("bad")], aliases={0: b"alias of nobody"}),
    ],
    ids=["surrogate", "nul", "version", "schema", "topic", "learner", "alias"],
)
def test_what_cannot_be_recorded_leaves_the_writer_as_it_was(
    shared: tuple[str, Writer], size: int, bad: Unit
) -> None:
    url, writer = shared
    filled = Unit([*bad.events, *stream(size)], bad.private, bad.aliases)
    with pytest.raises(Exception, match=r"."):
        writer.append(filled)
    positions = writer.append(unit())
    assert [event.position for event in whole_log(url)][-1:] == positions, (
        "it was acknowledged and is not there"
    )


def test_a_unit_that_cannot_be_recorded_fails_alone(url: str, writer: Writer) -> None:
    with holding_the_lock(url):
        first = later(lambda: writer.append(unit()))
        until(lambda: waiting_writers(url) == 1)
        bad = later(lambda: writer.append(Unit([stored("bad \0")])))
        others = [later(lambda: writer.append(unit(3))) for _ in range(5)]
    assert first.result(20) == [1]
    with pytest.raises(ValueError, match="NUL"):
        bad.result(20)
    positions = [position for other in others for position in other.result(20)]
    assert sorted(positions) == list(range(2, 17))
    check_order(whole_log(url))


def test_a_writer_gives_up_when_the_lock_is_held_for_too_long(url: str, writer: Writer) -> None:
    with holding_the_lock(url), pytest.raises(UnavailableError) as refused:
        writer.append(unit())
    assert not isinstance(refused.value, MaybeRecordedError)
    assert whole_log(url) == []
    assert writer.append(unit()) == [1]


@pytest.mark.parametrize("size", SIZES)
def test_a_writer_whose_connection_was_lost_says_that_it_may_be_recorded(
    url: str, writer: Writer, size: int
) -> None:
    with holding_the_lock(url):
        lost = later(lambda: writer.append(unit(size)))
        until(lambda: waiting_writers(url) == 1)
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND objid = 4201 AND NOT granted",
        )
        with pytest.raises(MaybeRecordedError):
            lost.result(20)
    assert writer.append(unit()) == [1]


def test_a_writer_that_is_closed_takes_nothing_more(url: str) -> None:
    writer = Writer(url)
    assert writer.append(unit()) == [1]
    writer.close()
    with pytest.raises(UnavailableError, match="stopping"):
        writer.append(unit())
    writer.close()


def _append_until_closed(writer: Writer) -> int:
    """How many events were acknowledged."""
    acknowledged = 0
    while True:
        try:
            acknowledged += len(writer.append(unit(2)))
        except UnavailableError:
            return acknowledged


def test_closing_settles_every_unit_that_was_handed_over(url: str) -> None:
    for _ in range(5):
        writer, after = Writer(url), len(whole_log(url))
        workers = [later(partial(_append_until_closed, writer)) for _ in range(8)]
        while len(whole_log(url, after)) < 20:
            time.sleep(0.001)
        writer.close()
        assert sum(worker.result(20) for worker in workers) == len(whole_log(url, after))
    check_order(whole_log(url))


def test_what_failed_is_kept_by_nobody() -> None:
    """A disk that is full for hours, or a server that is away: the units of each attempt are let go."""
    writer = Writer("host=/nowhere dbname=nothing")
    errors = []
    for _ in range(3):
        with pytest.raises(UnavailableError) as failed:
            writer.append(unit())
        errors.append(weakref.ref(failed.value))
        del failed
    writer.close()
    gc.collect()
    assert sum(error() is not None for error in errors) <= 1


def test_only_a_lost_session_begins_an_epoch(url: str, writer: Writer) -> None:
    """What was decided before stands after an ordinary error: it is the same server that goes on."""
    writer.append(unit())
    began, session = writer.epoch, writer._connected().info.backend_pid
    for bad in ("bad \0", "bad \ud800"):
        with pytest.raises((ValueError, psycopg2.Error)):
            writer.append(Unit([stored(bad)]))
    with pytest.raises(ConflictError):
        writer.append(Unit([stored("same"), stored("same")]))
    writer.append(Unit(stream(COPY_FROM_ROWS), epoch=began))
    assert (writer.epoch, writer._connected().info.backend_pid) == (began, session)
    execute(url, "SELECT pg_terminate_backend(%s, 5000)", (session,))
    with pytest.raises(MaybeRecordedError):
        writer.append(Unit([stored("lost")], epoch=began))
    with pytest.raises(ConflictError):
        writer.append(Unit([stored("outlived")], epoch=began))
    assert writer.epoch == began + 1
    writer.append(Unit([stored("decided again")], epoch=writer.epoch))
    assert [event.subject for event in whole_log(url)][-1:] == ["decided again"]
