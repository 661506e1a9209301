"""The ends of the topics, which say how far the relay has come, and what they hold beyond a position."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaTimeoutError

from registry.domain.values import iso_time
from registry.event_store.log import LoggedEvent, last_position, read_log
from registry.failures import Failure
from registry.kafka.clients import connected
from registry.kafka.records import PROGRESS, described, read_event
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError
from registry.postgres.connections import Cursor

log = logging.getLogger("registry.topics")
LOOK_BACK = 64
PATIENCE_SECONDS = 20


class HistoryError(Failure):
    """The topic is not a copy of the beginning of this log; says why, and what to do."""


@dataclass(frozen=True)
class Tail:
    """The last record of a partition: how far the log had come, and the last event on the partition.

    `mark` is the id and time of the event at `position`. An empty partition has position 0. `begins` is the
    offset of the first record that is still there.
    """

    position: int = 0
    previous: int = 0
    is_marker: bool = False
    mark: str = ""
    begins: int = 0
    topic: str = ""


def event_tails(kafka: KafkaSettings, partitions: int) -> list[Tail]:
    """The tail of each partition: its last committed record."""
    return [_tail(kafka.events, *last) for last in _last_records(kafka, kafka.events, partitions)]


def status_tail(kafka: KafkaSettings, partitions: int) -> Tail:
    """The furthest tail: through its position the topic of statuses holds the latest status of each badge."""
    tails = [_tail(kafka.statuses, *last) for last in _last_records(kafka, kafka.statuses, partitions)]
    return max(tails, key=lambda tail: tail.position)


def _last_records(
    kafka: KafkaSettings, topic: str, partitions: int
) -> list[tuple[int, ConsumerRecord | None]]:
    """The offset at which each partition begins, and its last committed record."""
    with closing(_consumer(kafka)) as consumer:
        return [_last_record(consumer, TopicPartition(topic, number)) for number in range(partitions)]


def _tail(topic: str, begins: int, record: ConsumerRecord | None) -> Tail:
    if record is None:
        return Tail(begins=begins, topic=topic)
    # A stranger's record may lack headers, or have null as one.
    headers = {name: text or b"" for name, text in record.headers}
    try:
        position = int(headers["ce_position"])
        if headers.get("ce_type") != PROGRESS.encode():
            return Tail(position, position, begins=begins, topic=topic)
        mark = f"{headers['ce_last'].decode()} {headers['ce_time'].decode()}"
        return Tail(position, int(headers["ce_previous"]), True, mark, begins, topic)
    except (KeyError, ValueError) as error:
        raise HistoryError(
            f"the last record of {topic}, partition {record.partition}, is not the relay's;"
            " see docs/runbooks/topic-lost.md"
        ) from error


def events_beyond(kafka: KafkaSettings, position: int) -> Iterator[LoggedEvent]:
    """The events on the topic after a position, partition by partition: for when the log has lost them.

    A record that is not the relay's is reported and skipped.
    """
    with closing(_consumer(kafka)) as consumer:
        if not (partitions := consumer.partitions_for_topic(kafka.events)):
            raise TopicError(f"the topic {kafka.events} does not exist")
        for number in sorted(partitions):
            for record in _records(consumer, TopicPartition(kafka.events, number)):
                headers = dict(record.headers)
                if headers.get("ce_type") == PROGRESS.encode():
                    continue
                try:
                    event = read_event(headers, record.value)
                except (KeyError, ValueError):
                    log.warning(
                        "partition %d has at offset %d a record that is not the relay's",
                        number,
                        record.offset,
                    )
                    continue
                if event.position > position:
                    yield event


def _records(consumer: KafkaConsumer, partition: TopicPartition) -> Iterator[ConsumerRecord]:
    """The committed records of a partition, from the first to the one that is the last now."""
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end, until = consumer.end_offsets([partition])[partition], time.monotonic() + PATIENCE_SECONDS
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=200).values():
            yield from records
            until = time.monotonic() + PATIENCE_SECONDS
        if time.monotonic() > until:
            raise KafkaTimeoutError(f"{partition.topic} could not be read in time")


def check_tails(cursor: Cursor, tails: Sequence[Tail]) -> None:
    """Refuses tails that are not all the same marker, of an event that the log has."""
    positions = described([tail.position for tail in tails])
    if any(tail.position and not tail.is_marker for tail in tails) or len({tail.mark for tail in tails}) > 1:
        raise HistoryError(
            f"the tails of {tails[0].topic} disagree ({positions}): records were lost or are not the relay's;"
            " see docs/runbooks/topic-lost.md"
        )
    if any(tail.begins for tail in tails):
        raise HistoryError(
            f"{tails[0].topic} has lost its beginning, which a new reader would miss;"
            " see docs/runbooks/topic-lost.md"
        )
    check_history(cursor, tails[0])  # the others are the same


def check_history(cursor: Cursor, tail: Tail) -> None:
    """Refuses a tail that is not an event of this log, as after the store was restored from a backup.

    Consumers check this too: an event that the log has lost must not reach a read model.
    """
    at, last = tail.position, last_position(cursor)
    if at > last:
        raise HistoryError(
            f"{tail.topic} holds events through position {at}, and the log ends at {last}: was the"
            " store restored from a backup? See docs/runbooks/relay-ahead.md"
        )
    if tail.is_marker and (mark := _mark(cursor, at)) != tail.mark:
        raise HistoryError(
            f"{tail.topic} has a different event at position {at} than the log ({tail.mark} and {mark}):"
            " was the store restored from a backup? See docs/runbooks/relay-ahead.md"
        )


def _mark(cursor: Cursor, position: int) -> str:
    (event,) = read_log(cursor, position - 1, 1)
    return f"{event.id} {iso_time(event.time)}"


def _consumer(kafka: KafkaSettings) -> KafkaConsumer:
    return connected(
        KafkaConsumer,
        **kafka.client(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def _last_record(consumer: KafkaConsumer, partition: TopicPartition) -> tuple[int, ConsumerRecord | None]:
    """The offset of the beginning, and the last committed record; None where there is none.

    A partition may end with any number of records of aborted transactions, so the search goes further and
    further back.
    """
    consumer.assign([partition])
    beginning = consumer.beginning_offsets([partition])[partition]
    end = consumer.end_offsets([partition])[partition]
    back = LOOK_BACK
    while True:
        start = max(beginning, end - back)
        if record := _read(consumer, partition, start, end):
            return beginning, record
        if start == beginning:
            return beginning, None
        back *= 16


def _read(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> ConsumerRecord | None:
    """The last record between two offsets."""
    last, until = None, time.monotonic() + PATIENCE_SECONDS
    consumer.seek(partition, start)
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=200).values():
            last = records[-1]
        if time.monotonic() > until:
            raise KafkaTimeoutError(f"the tail of {partition.topic} could not be read in time")
    return last
