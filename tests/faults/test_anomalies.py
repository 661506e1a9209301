"""The checker itself: nothing is found in a topic as it must be, and each anomaly where it is planted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import pytest

from registry.event_store.log import LoggedEvent
from registry.kafka import records
from tests.faults.anomalies import CLASSES, judge
from tests.faults.observer import Seen, seen

PARTITIONS = 2
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
LOG = [
    LoggedEvent(at, f"module-{at}", 1, "module.registered", 1, NOON + dt.timedelta(seconds=at), b"{}")
    for at in range(1, 13)
]


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes
    value: bytes | None
    headers: records.Headers


@dataclass
class Run:
    """What the relay made of the log in two pages, and what an observer met; a test spoils some of it."""

    topic: dict[int, list[Record]]
    observed: dict[int, list[Seen]]

    def verdict(self) -> set[str]:
        found = judge(LOG, range(1, 13), self.topic, self.observed)
        assert set(found) == set(CLASSES)
        return {each for each, said in found.items() if said}


@pytest.fixture
def run() -> Run:
    topic: dict[int, list[Record]] = {each: [] for each in range(PARTITIONS)}
    offsets = [count(), count()]
    previous = [0, 0]
    for page in (LOG[:6], LOG[6:]):
        for event in page:
            at = event.partition(PARTITIONS)
            headers = records.event_headers(event, previous[at])
            topic[at].append(Record(next(offsets[at]), event.key.encode(), event.data, headers))
            previous[at] = event.position
        for at in range(PARTITIONS):
            headers = records.progress_headers(page[-1], previous[at])
            topic[at].append(Record(next(offsets[at]), records.PROGRESS.encode(), None, headers))
            next(offsets[at])  # the end of the transaction has an offset too
    assert all(len(records) > 4 for records in topic.values())
    return Run(topic, {at: [seen(each) for each in records] for at, records in topic.items()})


def test_a_topic_that_is_the_log_has_no_anomaly(run: Run) -> None:
    assert run.verdict() == set()


def lost(run: Run) -> None:
    del run.topic[0][1], run.observed[0][1]


def doubled(run: Run) -> None:
    run.topic[0].insert(1, replace(run.topic[0][0], offset=100))
    run.observed[0].insert(1, seen(run.topic[0][1]))


def swapped(run: Run) -> None:
    records = run.topic[0]
    records[0], records[1] = replace(records[1], offset=0), replace(records[0], offset=1)
    run.observed[0] = [seen(each) for each in records]


def cut_off(run: Run) -> None:
    del run.topic[1][-1], run.observed[1][-1]


def other_bytes(run: Run) -> None:
    run.topic[0][0] = replace(run.topic[0][0], value=b'{"a":1}')
    run.observed[0][0] = seen(run.topic[0][0])


def never_recorded(run: Run) -> None:
    event = replace_position(LOG[-1], 13)
    run.topic[0].append(Record(200, event.key.encode(), event.data, records.event_headers(event, 12)))
    run.observed[0].append(seen(run.topic[0][-1]))


def replace_position(event: LoggedEvent, position: int) -> LoggedEvent:
    return LoggedEvent(
        position, event.subject, event.version, event.type, event.schema_version, event.time, event.data
    )


def seen_and_gone(run: Run) -> None:
    run.observed[0].append(run.observed[0][-1]._replace(offset=50))


def seen_otherwise(run: Run) -> None:
    run.observed[0][2] = run.observed[0][2]._replace(digest=0)


def passed_over(run: Run) -> None:
    del run.observed[1][1]


def gone_back(run: Run) -> None:
    run.observed[1].insert(2, run.observed[1][0])


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lost, {"lost write", "unseen", "non-monotonic send"}),
        (doubled, {"duplicate", "non-monotonic send", "non-monotonic poll"}),
        (swapped, {"non-monotonic send"}),
        (cut_off, {"lost write"}),
        (other_bytes, {"other content"}),
        (never_recorded, {"aborted read", "lost write"}),
        (seen_and_gone, {"aborted read"}),
        (seen_otherwise, {"inconsistent offsets"}),
        (passed_over, {"poll skip"}),
        (gone_back, {"non-monotonic poll"}),
    ],
)
def test_what_is_planted_is_found(run: Run, spoil: Callable[[Run], None], found: set[str]) -> None:
    spoil(run)
    assert run.verdict() == found
