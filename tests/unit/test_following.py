"""What a consumer makes of the records of a partition: the log's events, each once and in order, or a gap."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.kafka_feed import Followed, Partition, following
from registry.event_store.log import LoggedEvent
from registry.kafka.records import Headers, event_headers, progress_headers

PARTITIONS = 2
TIME = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
LOG = {
    position: LoggedEvent(
        position,
        f"subject-{position // 3}",
        position % 3 + 1,
        "module.registered",
        1,
        TIME + dt.timedelta(seconds=position),
        b'{"number":%d}' % position,
    )
    for position in range(1, 25)
}
HERE = Partition(0, PARTITIONS)
EVENTS = [event for event in LOG.values() if event.partition(PARTITIONS) == HERE.number]


class Record(NamedTuple):
    """As the client of Kafka has one, where a header may be null."""

    offset: int
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


def relayed() -> list[Record]:
    """The partition as the relay fills it, six events of the log in a transaction."""
    records, previous = [], 0
    for position, event in LOG.items():
        if event.partition(PARTITIONS) == HERE.number:
            records.append(Record(0, event_headers(event, previous), event.data))
            previous = position
        if position % 6 == 0:
            records.append(Record(0, progress_headers(event, previous), None))
    return records


def read(records: Sequence[Record], size: int) -> tuple[list[LoggedEvent], Followed]:
    """All events that are read, `size` records at a time, until the end or a gap."""
    events: list[LoggedEvent] = []
    followed = Followed([], 0, 0, None)
    for first in range(0, len(records), size):
        part = records[first : first + size]
        followed = following(HERE, followed.at, followed.reached, part, LOG)
        events += followed.events
        if followed.gap:
            break
    return events, followed


@given(st.integers(1, 40))
def test_what_the_relay_carries_is_read_whole(size: int) -> None:
    events, followed = read(relayed(), size)
    assert (events, followed.at, followed.gap) == (EVENTS, 24, None)


headers_of_the_log = st.builds(
    lambda event, previous, make: (make(event, previous), event.data),
    st.sampled_from(list(LOG.values())),
    st.integers(0, 24),
    st.sampled_from([event_headers, progress_headers]),
)
"""An event of the log or a marker, with what may be a wrong word about the event before it."""


@st.composite
def forged(draw: st.DrawFn) -> Record:
    made: tuple[Headers, bytes] = draw(headers_of_the_log)
    headers: list[tuple[str, Any]] = list(made[0])
    value: bytes | None = made[1]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(headers) - 1))
        wrong = draw(
            st.none()
            | st.binary(max_size=30)
            | st.sampled_from([b"99999999999", b"9" * 5000, b"-1", b"0", b"24", b"registry.progress"])
        )
        headers[place] = (headers[place][0], wrong)
    if draw(st.booleans()):
        del headers[draw(st.integers(0, len(headers) - 1))]
    if draw(st.booleans()):
        value = draw(st.none() | st.binary(max_size=10))
    return Record(0, headers, value)


@settings(max_examples=500, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_whatever_somebody_else_adds_all_events_are_read_or_a_gap_says_that_they_were_not(
    data: st.DataObject, size: int
) -> None:
    """Only events of the log are read; what was left out is noticed at the latest when it comes."""
    records = relayed()
    records.insert(data.draw(st.integers(0, len(records))), data.draw(forged()))
    events, followed = read(records, size)
    positions = [event.position for event in events]
    assert all(event in EVENTS for event in events)
    assert positions == sorted(set(positions))
    if followed.gap is None:
        assert (events, followed.at) == (EVENTS, 24)
    else:
        assert followed.gap.reason.startswith("gap: ")


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_records_that_change_places_or_are_lost_are_a_gap(data: st.DataObject, size: int) -> None:
    records = relayed()
    events = [number for number, record in enumerate(records) if record.value is not None]
    first, second = sorted(data.draw(st.lists(st.sampled_from(events), min_size=2, max_size=2, unique=True)))
    records[first], records[second] = records[second], records[first]
    assert read(records, size)[1].gap
    records = relayed()
    del records[first]
    assert read(records, size)[1].gap


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_event_that_differs_from_the_log_in_any_member_is_never_read(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from(EVENTS))
    changes: list[dict[str, Any]] = [
        {"subject": "another"},
        {"version": event.version + 1},
        {"type": "module.withdrawn"},
        {"schema_version": 2},
        {"time": event.time + dt.timedelta(microseconds=1)},
        {"data": event.data + b" "},
    ]
    other = msgspec.structs.replace(event, **data.draw(st.sampled_from(changes)))
    record = Record(7, event_headers(other, 0), other.data)
    followed = following(HERE, event.position - 1, 0, [record], LOG)
    assert followed.events == []
    assert followed.gap is not None
    assert followed.gap.reason == (
        f"gap: partition 0 has at offset 7 a record that differs from the log's event {event.position}"
    )
