"""Records of somebody else on the topic: they stop the read models, which then lose no event unnoticed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from kafka import KafkaProducer

from projections.all import read_models
from registry.event_store.log import LoggedEvent
from registry.kafka.records import PROGRESS, Headers, event_headers, milliseconds, progress_headers
from registry.kafka.relay import Relay
from registry.kafka.topic_ends import HistoryError
from registry.recording.registry import Registry
from tests.kafka.streaming import Streaming
from tests.kafka.test_consuming import BY_KEY
from tests.postgres.commands import award
from tests.postgres.log import until, whole_log
from tests.postgres.projecting import folded, held, positions, projectors, stopped

PARTITIONS = 8
Forged = tuple[int, Headers, bytes | None]
"""A partition, the headers and the value of a record."""


def progress_beyond_the_log(log: list[LoggedEvent]) -> Forged:
    return 0, [("ce_type", PROGRESS.encode()), ("ce_position", b"99999999999"), ("ce_previous", b"0")], None


def progress_of_another_log(log: list[LoggedEvent]) -> Forged:
    return 0, progress_headers(msgspec.structs.replace(log[-1], version=99), 0), None


def progress_beyond_all_numbers(log: list[LoggedEvent]) -> Forged:
    return 0, [("ce_type", PROGRESS.encode()), ("ce_position", b"9" * 5000), ("ce_previous", b"0")], None


def a_revocation_that_nobody_recorded(log: list[LoggedEvent]) -> Forged:
    badge = next(event for event in log if event.type == "badge.awarded")
    revoked = msgspec.structs.replace(badge, position=len(log) + 1, version=2, type="badge.revoked")
    return badge.partition(PARTITIONS), event_headers(revoked, 0), badge.data


def the_last_event_with_other_data(log: list[LoggedEvent]) -> Forged:
    last = log[-1]
    return last.partition(PARTITIONS), event_headers(last, 0), last.data.replace(b"27UM", b"22OJ")


def the_last_event_on_another_partition(log: list[LoggedEvent]) -> Forged:
    last = log[-1]
    return (last.partition(PARTITIONS) + 1) % PARTITIONS, event_headers(last, 0), last.data


def an_older_event_once_more(log: list[LoggedEvent]) -> Forged:
    return log[0].partition(PARTITIONS), event_headers(log[0], 0), log[0].data


def headers_that_are_empty(log: list[LoggedEvent]) -> Forged:
    return 0, [(name, b"") for name, _ in event_headers(log[-1], 0)], None


def send(streaming: Streaming, forged: Forged, time: int | None = None) -> None:
    partition, headers, value = forged
    with KafkaProducer(bootstrap_servers=streaming.kafka.bootstrap_servers) as producer:
        producer.send(streaming.kafka.events, value, b"key", headers, partition, time).get(30)


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (progress_beyond_the_log, "position 99999999999, which the log does not have"),
        (progress_of_another_log, "a record that differs from the log's event 10"),
        (progress_beyond_all_numbers, "a record that is not the relay's"),
        (a_revocation_that_nobody_recorded, "position 11, which the log does not have"),
        (the_last_event_with_other_data, "position 10 after 10"),
        (the_last_event_on_another_partition, "position 10 after 10"),
        (an_older_event_once_more, "position 1 after 10"),
        (headers_that_are_empty, "a record that is not the relay's"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_forged_record_stops_the_read_models_and_from_the_log_they_go_on_without_a_loss(
    streaming: Streaming, registry: Registry, forge: Callable[[list[LoggedEvent]], Forged], said: str
) -> None:
    streaming.make_topics(PARTITIONS)
    for number in range(6):
        award(registry, "27UM", f"before {number}", f"learner {number}")
    with streaming.relaying():
        with streaming.consuming():
            streaming.projected()
            send(streaming, forge(whole_log(streaming.url)))
            until(lambda: set(stopped(streaming.url)) == set(BY_KEY))
            for _, because in stopped(streaming.url).values():
                assert because.startswith("gap: partition ")
                assert because.endswith(said)
            for number in range(8):
                award(registry, "27UM", f"after {number}", f"learner {number}")
            streaming.settled()
            assert {positions(streaming.url)[name] for name in BY_KEY} == {10}
        with projectors(streaming.url, read_models()):
            streaming.projected()
        assert stopped(streaming.url) == {}
        with streaming.consuming():
            award(registry, "27UM", "at last", "learner")
            streaming.projected()
    assert held(streaming.url) == folded(streaming.url)


def test_an_event_that_comes_before_its_turn_stops_the_read_models_when_the_others_come(
    streaming: Streaming, registry: Registry
) -> None:
    """Each record is one of the log; in which order they came cannot be seen in any of them alone."""
    streaming.make_topics(1)
    for number in range(6):
        award(registry, "27UM", str(number), f"learner {number}")
    log = whole_log(streaming.url)
    order = [*log[:5], log[8], *log[5:]]
    for event, before in zip(order, [None, *order], strict=False):
        headers = event_headers(event, before.position if before and before.position < event.position else 0)
        send(streaming, (0, headers, event.data), milliseconds(event.time))
    with streaming.consuming():
        until(lambda: set(stopped(streaming.url)) == set(BY_KEY))
    for _, because in stopped(streaming.url).values():
        assert because == "gap: partition 0 has at offset 6 position 6 after 9"


@pytest.mark.parametrize(
    "forge", [progress_beyond_the_log, progress_beyond_all_numbers, headers_that_are_empty]
)
@pytest.mark.parametrize("topic", ["events", "statuses"])
def test_a_relay_does_not_begin_after_a_forged_record(
    streaming: Streaming, registry: Registry, topic: str, forge: Callable[[list[LoggedEvent]], Forged]
) -> None:
    streaming.relay_all()
    name = getattr(streaming.kafka, topic)
    partition, headers, value = forge(whole_log(streaming.url))
    with KafkaProducer(bootstrap_servers=streaming.kafka.bootstrap_servers) as producer:
        producer.send(name, value, b"key", headers, partition).get(30)
    with pytest.raises(HistoryError, match=name):
        Relay(streaming.url, streaming.kafka, streaming.said.append).run()
