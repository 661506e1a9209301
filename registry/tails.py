"""The ends of the topics: how far a relay has come, as the topics themselves say."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaTimeoutError

from registry.kafka_settings import KafkaSettings
from registry.stream import EVENTS, PROGRESS, STATUSES

LOOK_BACK = 64
PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Tail:
    """The last record of a partition: the log's position there, and the last event's on the partition.

    `mark` names the event at the position: its id and time. An empty partition has position 0.
    """

    position: int = 0
    previous: int = 0
    is_marker: bool = False
    mark: str = ""


def event_tails(kafka: KafkaSettings, partitions: int) -> list[Tail]:
    """The tail of each partition, of what is committed."""
    with closing(tail_consumer(kafka)) as consumer:
        found = [last_record(consumer, TopicPartition(EVENTS, each)) for each in range(partitions)]
    return [_tail(record) for record in found]


def status_tail(kafka: KafkaSettings, partitions: int) -> int:
    """The position through which the topic of statuses holds each badge's latest."""
    with closing(tail_consumer(kafka)) as consumer:
        found = [last_record(consumer, TopicPartition(STATUSES, each)) for each in range(partitions)]
    return max(int(dict(record.headers)["ce_position"]) if record else 0 for record in found)


def _tail(record: ConsumerRecord | None) -> Tail:
    if record is None:
        return Tail()
    headers = dict(record.headers)
    position = int(headers["ce_position"])
    if headers["ce_type"] != PROGRESS.encode():
        return Tail(position, position)
    mark = f"{headers['ce_last'].decode()} {headers['ce_time'].decode()}"
    return Tail(position, int(headers["ce_previous"]), True, mark)


def tail_consumer(kafka: KafkaSettings) -> KafkaConsumer:
    return KafkaConsumer(
        **kafka.client(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def last_record(consumer: KafkaConsumer, partition: TopicPartition) -> ConsumerRecord | None:
    """The last committed record; None where there is none.

    The end of a partition is where a transaction was committed or aborted: what lies before may be any
    number of records that nobody is to read, so it is looked for further and further back.
    """
    consumer.assign([partition])
    beginning = consumer.beginning_offsets([partition])[partition]
    end = consumer.end_offsets([partition])[partition]
    back = LOOK_BACK
    while True:
        start = max(beginning, end - back)
        if found := _read(consumer, partition, start, end):
            return found
        if start == beginning:
            return None
        back *= 16


def _read(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> ConsumerRecord | None:
    """The last record from an offset up to another."""
    last, until = None, time.monotonic() + PATIENCE_SECONDS
    consumer.seek(partition, start)
    while consumer.position(partition) < end:
        for records in consumer.poll(timeout_ms=200).values():
            last = records[-1]
        if time.monotonic() > until:
            raise KafkaTimeoutError(f"the tail of {partition.topic} was not answered")
    return last
