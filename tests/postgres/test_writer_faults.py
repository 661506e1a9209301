"""A session in trouble: it says truly whether something may be recorded, and goes on."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec
import psycopg2
import pytest

from registry.event_store.append import COPY_FROM_ROWS, ConnectionLostError, Unit
from registry.postgres.connections import UnavailableError
from tests.postgres.log import (
    execute,
    fresh,
    holding_the_lock,
    later,
    until,
    waiting_writers,
    whole_log,
)
from tests.postgres.writing import Writer, private, stored, stream
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
        [stored("bad \ud800"), stored("bad")],
        [stored("bad \0"), stored("bad")],
        [stored("bad", 2**31), stored("bad")],
        [stored("bad", 1, "badge.awarded/70000"), stored("bad", 2)],
        [private(stored("bad"), learner_id="nobody")],
        [msgspec.structs.replace(stored("bad"), alias_key=b"alias of nobody")],
    ],
    ids=["surrogate", "nul", "version", "schema", "learner", "alias"],
)
def test_what_cannot_be_recorded_leaves_the_session_as_it_was(
    shared: tuple[str, Writer], size: int, bad: Unit
) -> None:
    url, writer = shared
    with pytest.raises((ValueError, struct.error, psycopg2.Error)):
        writer.append([*bad, *stream(size)])
    positions = writer.append(stream(1))
    assert [event.position for event in whole_log(url)][-1:] == positions, (
        "it was acknowledged and is not there"
    )


def test_a_writer_gives_up_when_the_lock_is_held_for_too_long(url: str, writer: Writer) -> None:
    with holding_the_lock(url), pytest.raises(UnavailableError) as refused:
        writer.append(stream(1))
    assert not isinstance(refused.value, ConnectionLostError)
    assert whole_log(url) == []
    assert writer.append(stream(1)) == [1]


@pytest.mark.parametrize("size", SIZES)
def test_a_writer_whose_connection_was_lost_says_that_it_may_be_recorded(
    url: str, writer: Writer, size: int
) -> None:
    with holding_the_lock(url):
        lost = later(lambda: writer.append(stream(size)))
        until(lambda: waiting_writers(url) == 1)
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND objid = 4201 AND NOT granted",
        )
        with pytest.raises(ConnectionLostError):
            lost.result(20)
    assert writer.append(stream(1)) == [1]


def test_an_ordinary_error_does_not_end_the_session(url: str, writer: Writer) -> None:
    writer.append(stream(1))
    session = backend(writer)
    for bad in ("bad \0", "bad \ud800"):
        with pytest.raises((ValueError, psycopg2.Error)):
            writer.append([stored(bad)])
    writer.append(stream(COPY_FROM_ROWS))
    assert backend(writer) == session


def test_what_was_read_before_a_loss_is_not_appended_after_it(url: str, writer: Writer) -> None:
    """The server that took over may lack what the one before it had acknowledged."""
    writer.append(stream(1))
    execute(url, "SELECT pg_terminate_backend(%s, 5000)", (backend(writer),))
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            writer.session.append([[stored("outlived")]], (), 0)
    assert writer.append([stored("loaded again")]) == [2]


def backend(writer: Writer) -> int:
    with writer.session.cursor() as cursor:
        return int(cursor.connection.info.backend_pid)
