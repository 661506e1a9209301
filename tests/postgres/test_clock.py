"""Clocks that differ: nothing is recorded, by any way to the log, until they agree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from registry.domain.errors import Refusal
from registry.event_store.session import Session
from registry.postgres.clock import ClockError, compare_clocks, system_time
from registry.postgres.connections import Connection
from registry.postgres.locks import Lock
from registry.recording import operators
from tests.postgres.log import connection, execute, later, query, until, whole_log
from tests.postgres.writing import Writer, stream

ROWS = (1, 100)
"""A statement with literals, and COPY."""


class Shifted:
    """The system's time, some seconds off."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> dt.datetime:
        return system_time() + dt.timedelta(seconds=self.seconds)


@pytest.fixture
def time() -> Shifted:
    return Shifted()


@pytest.fixture
def writer(url: str, time: Shifted) -> Iterator[Writer]:
    found = Writer(url)
    found.session = Session(url, time)
    yield found
    found.close()


def insert_ahead(url: str, interval: str) -> None:
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
        " SELECT coalesce(max(position), 0) + 1, 'ahead', 1, 'badge.awarded', 1,"
        f" clock_timestamp() + interval '{interval}', '{{}}' FROM event",
    )


def appended(writer: Writer, rows: int) -> bool:
    try:
        return len(writer.append(stream(rows))) == rows
    except ClockError:
        return False


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("seconds", [6, -6, 3_600, -86_400])
def test_nothing_is_appended_while_the_clocks_differ_and_all_is_when_they_agree_again(
    url: str, writer: Writer, time: Shifted, seconds: float, rows: int
) -> None:
    writer.append(stream(rows))
    before = whole_log(url)
    time.seconds = seconds
    for _ in range(2):
        with pytest.raises(ClockError, match="clocks"):
            writer.append(stream(rows))
    assert whole_log(url) == before
    time.seconds = 0
    assert len(writer.append(stream(rows))) == rows


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("seconds", [4, -4])
def test_clocks_may_differ_by_a_few_seconds(
    url: str, writer: Writer, time: Shifted, seconds: float, rows: int
) -> None:
    time.seconds = seconds
    until(lambda: appended(writer, rows))  # a machine that is busy for a second adds that to the difference


@pytest.mark.parametrize("rows", ROWS)
def test_nothing_is_appended_after_an_event_of_the_future(url: str, writer: Writer, rows: int) -> None:
    insert_ahead(url, "10 years")
    before = whole_log(url)
    with pytest.raises(ClockError, match="future"):
        writer.append(stream(rows))
    assert whole_log(url) == before


def test_appends_go_on_when_the_time_of_the_last_event_comes_near(url: str, writer: Writer) -> None:
    insert_ahead(url, "8 s")
    with pytest.raises(ClockError):
        writer.append(stream(1))
    until(lambda: appended(writer, 1))


def test_a_writer_that_waits_long_for_the_lock_is_not_taken_for_a_wrong_clock(
    url: str, writer: Writer, time: Shifted
) -> None:
    """The time is compared with that at which PostgreSQL got the statement: together both are above 5 s."""
    time.seconds = -2
    writer.append(stream(1))
    with connection(url) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.APPEND,))
        waiting = later(lambda: writer.append(stream(1)))
        until(lambda: query(url, "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [])
        cursor.execute("SELECT pg_sleep(4)")
        cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.APPEND,))
        assert len(waiting.result(20)) == 1


def test_an_operator_creates_no_token_while_the_last_event_lies_in_the_future(url: str) -> None:
    insert_ahead(url, "1 hour")
    with connection(url) as owner, pytest.raises(ClockError):
        operators.create_token(owner, "auditor", dt.timedelta(days=1))
    assert query(url, "SELECT FROM token") == []


def test_the_difference_is_measured_with_its_sign(url: str, time: Shifted) -> None:
    with connection(url) as opened, opened.cursor() as cursor:
        for seconds in (60, -60):
            time.seconds = seconds
            assert round(compare_clocks(cursor, time).difference / 60) == -seconds // 60
        assert compare_clocks(cursor, time).log_ahead == 0
        insert_ahead(url, "1 hour")
        assert 3_000 < compare_clocks(cursor, time).log_ahead <= 3_600


def test_a_wrong_clock_is_no_refusal_of_a_command() -> None:
    assert not issubclass(ClockError, Refusal)


def revoked(owner: Connection, subject: str) -> bool:
    try:
        return operators.revoke_token(owner, subject)
    except ClockError:
        return False


def test_a_token_is_revoked_while_the_log_takes_no_event_and_its_event_follows(url: str) -> None:
    with connection(url) as owner:
        token, _ = operators.create_token(owner, "auditor", dt.timedelta(days=1))
        subject = token.split("_")[1]
        insert_ahead(url, "10 s")
        with pytest.raises(ClockError):
            operators.revoke_token(owner, subject)
        assert query(url, f"SELECT revoked_at IS NOT NULL FROM token WHERE id = '{subject}'") == [(True,)]
        until(lambda: revoked(owner, subject))
        assert not operators.revoke_token(owner, subject)
    kinds = [event.type for event in whole_log(url) if event.subject == subject]
    assert kinds == ["token.created", "token.revoked"]
