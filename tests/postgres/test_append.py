"""The append: whatever writers do at once, the log is gapless, ordered, and holds each fact once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import HealthCheck, Phase, given, settings

from registry.event_store.append import COPY_FROM_ROWS, ConflictError, Unit
from registry.event_store.group_commit import Writer
from tests.postgres.log import (
    REGISTERED,
    check_order,
    execute,
    holding_the_lock,
    later,
    query,
    stored,
    stream,
    unit,
    until,
    waiting_writers,
    whole_log,
)
from tests.postgres.plans import Planned, Run, plans

SIZES = [1, COPY_FROM_ROWS]


@pytest.fixture
def writers(url: str) -> Iterator[list[Writer]]:
    """As two processes have: each with a thread, a queue and a connection of its own."""
    opened = [Writer(url), Writer(url)]
    yield opened
    for writer in opened:
        writer.close()


@pytest.fixture
def writer(writers: list[Writer]) -> Writer:
    return writers[0]


def append(writer: Writer, what: Unit) -> Future[list[int]]:
    return later(lambda: writer.append(what))


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
    learners = {key: each.private[0].learner_id for each in recorded for key in each.aliases.values()}
    rows = query(url, "SELECT key, learner_id::text FROM alias WHERE key = ANY(%s)", (list(learners),))
    assert {bytes(key): learner for key, learner in rows} == learners
    vault = query(url, "SELECT position, learner_id::text FROM vault WHERE position > %s", (after,))
    assert dict(vault) == {
        tried.positions[0]: tried.unit.private[0].learner_id for tried in run.tried if tried.positions
    }


@pytest.mark.parametrize("size", SIZES)
def test_positions_begin_at_1_and_go_on_without_a_gap(url: str, writer: Writer, size: int) -> None:
    assert writer.append(unit(size)) == list(range(1, size + 1))
    with pytest.raises(ConflictError):
        writer.append(Unit([stored(whole_log(url)[0].subject), *stream(size)]))
    assert writer.append(unit(size)) == list(range(size + 1, 2 * size + 1))
    check_order(whole_log(url))


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_of_an_event_come_back_as_they_were(url: str, writer: Writer, size: int) -> None:
    data = bytes(range(256)) * 3
    given_ = [StoredEvent(f"stream-{number}", 1, "badge.awarded/1", data) for number in range(size)]
    writer.append(Unit(given_))
    assert [event.data for event in whole_log(url)] == [data] * size


@pytest.mark.parametrize("size", SIZES)
def test_only_the_unit_in_conflict_is_left_out_of_a_shared_transaction(
    url: str, writer: Writer, size: int
) -> None:
    writer.append(Unit([stored("taken")]))
    with holding_the_lock(url):
        first = append(writer, unit())
        until(lambda: waiting_writers(url) == 1)
        others = [append(writer, Unit([stored(f"other-{n}"), *stream(size)])) for n in range(3)]
        rival = append(writer, Unit([stored("taken"), *stream(size)]))
    assert first.result(20) == [2]
    with pytest.raises(ConflictError):
        rival.result(20)
    positions = [position for other in others for position in other.result(20)]
    assert sorted(positions) == list(range(3, 3 + 3 * (size + 1)))


@pytest.mark.parametrize("size", SIZES)
def test_time_does_not_go_back_when_the_clock_does(url: str, writer: Writer, size: int) -> None:
    writer.append(unit())
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
        " VALUES (2, 'of tomorrow', 1, 'badge.awarded', 1, now() + interval '1 day', '{}')",
    )
    writer.append(unit(size))
    log = whole_log(url)
    check_order(log)
    assert {event.time for event in log[1:]} == {log[1].time}


def test_a_unit_that_names_a_version_twice_is_refused_whole(url: str, writer: Writer) -> None:
    with pytest.raises(ConflictError):
        writer.append(Unit([stored("a"), stored("b"), stored("a")]))
    assert whole_log(url) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_unit_is_refused_when_a_stream_that_it_relied_on_has_changed(
    url: str, writer: Writer, size: int
) -> None:
    (first,) = writer.append(Unit([stored("27UM", 1, REGISTERED)]))
    writer.append(Unit(stream(size), relied_on={"27UM": first}))
    (second,) = writer.append(Unit([stored("27UM", 2, REGISTERED)]))
    with pytest.raises(ConflictError):
        writer.append(Unit(stream(size), relied_on={"27UM": second - 1}))
    assert len(writer.append(Unit(stream(size), relied_on={"27UM": second}))) == size


@pytest.mark.parametrize("size", SIZES)
def test_of_units_that_rely_on_each_others_streams_the_first_alone_is_recorded(
    url: str, writer: Writer, size: int
) -> None:
    subjects = [f"module {number}" for number in range(8)]
    with holding_the_lock(url):
        first = append(writer, unit())
        until(lambda: waiting_writers(url) == 1)
        rivals = [
            append(
                writer,
                Unit(
                    [stored(subject, 1, REGISTERED), *stream(size)],
                    relied_on={other: 1 for other in subjects if other != subject},
                ),
            )
            for subject in subjects
        ]
        time.sleep(0.05)  # until they are queued together
    assert first.result(20) == [1]
    refused = [rival.exception(20) for rival in rivals]
    assert sorted(type(each).__name__ for each in refused) == ["ConflictError"] * 7 + ["NoneType"]
    assert len(whole_log(url)) == 1 + 1 + size


def test_a_stream_that_changed_stops_only_who_relied_on_it_before(url: str, writer: Writer) -> None:
    (first,) = writer.append(Unit([stored("27UM", 1, REGISTERED)]))
    with holding_the_lock(url):
        held = append(writer, Unit([stored("27UM", 2, REGISTERED)]))
        until(lambda: waiting_writers(url) == 1)
        stale = append(writer, Unit([stored("stale")], relied_on={"27UM": first}))
        fresh = append(writer, Unit([stored("fresh")], relied_on={"27UM": first + 1}))
        other = append(writer, Unit([stored("other")], relied_on={"22OJ": 0}))
    assert held.result(20) == [2]
    with pytest.raises(ConflictError):
        stale.result(20)
    assert sorted(fresh.result(20) + other.result(20)) == [3, 4]
    assert "stale" not in {event.subject for event in whole_log(url)}
