"""The append: whatever writers do at once, the log is gapless, ordered, and holds each fact once."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2.errors
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from registry.event_store.append import COPY_FROM_ROWS, ConflictError, Row
from tests.postgres.log import (
    check_order,
    execute,
    query,
    whole_log,
)
from tests.postgres.plans import Planned, Run, aliases_of, plans
from tests.postgres.writing import AWARDED, REGISTERED, Writer, stored, stream

SIZES = [1, COPY_FROM_ROWS]


@pytest.fixture
def writers(url: str) -> Iterator[list[Writer]]:
    """As several processes have: each with a connection of its own."""
    opened = [Writer(url) for _ in range(4)]
    yield opened
    for writer in opened:
        writer.close()


@pytest.fixture
def writer(writers: list[Writer]) -> Writer:
    return writers[0]


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],  # another interleaving is no smaller example
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=plans)
def test_any_interleaving_of_writers_records_each_unit_whole_or_not_at_all(
    url: str, writers: list[Writer], plan: list[list[Planned]]
) -> None:
    after = len(whole_log(url))
    run = Run(writers, after)
    run.go(plan)
    run.check(whole_log(url, after))
    recorded = [tried.unit for tried in run.tried if tried.positions is not None]
    learners = {key: each[0].learner_id for each in recorded for key in aliases_of(each)}
    rows = query(url, "SELECT key, learner_id::text FROM alias WHERE key = ANY(%s)", (list(learners),))
    assert {bytes(key): learner for key, learner in rows} == learners
    vault = query(url, "SELECT position, learner_id::text FROM vault WHERE position > %s", (after,))
    assert dict(vault) == {
        tried.positions[0]: tried.unit[0].learner_id for tried in run.tried if tried.positions
    }


@pytest.mark.parametrize("size", SIZES)
def test_positions_begin_at_1_and_go_on_without_a_gap(url: str, writer: Writer, size: int) -> None:
    assert writer.append(stream(size)) == list(range(1, size + 1))
    with pytest.raises(ConflictError):
        writer.append([stored(whole_log(url)[0].subject), *stream(size)])
    assert writer.append(stream(size)) == list(range(size + 1, 2 * size + 1))
    check_order(whole_log(url))


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_of_an_event_come_back_as_they_were(url: str, writer: Writer, size: int) -> None:
    data = bytes(range(256)) * 3
    writer.append([Row(f"stream-{number}", 1, "badge.awarded", 1, data) for number in range(size)])
    assert [event.data for event in whole_log(url)] == [data] * size


@pytest.mark.parametrize("size", SIZES)
def test_only_the_units_in_conflict_are_left_out_of_a_shared_transaction(writer: Writer, size: int) -> None:
    writer.append([stored("taken")])
    units = [[stored(f"other-{number}"), *stream(size)] for number in range(4)]
    units[2] = [stored("taken"), *stream(size)]
    first, second, rival, third = writer.append_all(units)
    assert rival is None
    positions = [*(first or ()), *(second or ()), *(third or ())]
    assert positions == list(range(2, 2 + 3 * (size + 1)))


@pytest.mark.parametrize("size", SIZES)
def test_time_does_not_go_back_when_the_clock_does(url: str, writer: Writer, size: int) -> None:
    writer.append(stream(1))
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
        " VALUES (2, 'of the next seconds', 1, 'badge.awarded', 1, now() + interval '4 s', '{}')",
    )
    writer.append(stream(size))
    log = whole_log(url)
    check_order(log)
    assert {event.time for event in log[1:]} == {log[1].time}


def test_a_unit_that_names_a_version_twice_is_refused_whole(url: str, writer: Writer) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        writer.append([stored("a"), stored("b"), stored("a")])
    assert whole_log(url) == []


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_appended_when_a_stream_that_was_relied_on_has_changed(writer: Writer, size: int) -> None:
    (first,) = writer.append([stored("27UM", 1, REGISTERED)])
    writer.append(stream(size), ["27UM"], first)
    (second,) = writer.append([stored("27UM", 2, REGISTERED)])
    with pytest.raises(ConflictError):
        writer.append(stream(size), ["27UM"], second - 1)
    assert len(writer.append(stream(size), ["27UM", "22OJ"], second)) == size


def test_a_badges_event_changes_nothing_that_others_rely_on(writer: Writer) -> None:
    (first,) = writer.append([stored("27UM", 1, REGISTERED)])
    writer.append([stored("27UM", 2, AWARDED)])
    assert writer.append([stored("a")], ["27UM"], first) == [3]
