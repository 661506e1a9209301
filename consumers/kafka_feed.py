"""Kafka as a feed for read models that need order by key only.

The position of a read model is kept in PostgreSQL with its rows, and nowhere else. When a partition is
assigned, the offset to read from is looked up by the time of the event at that position, and records that
the read model already holds are skipped. Each record names the event before it on its partition; where the
read model does not hold that event, events are missing and it stops. It stops as well at a record that does
not say what the log says at that position, or that goes back: whoever else may write to the topic moves no
read model.

Consumers share the partitions through a consumer group. Each record is fetched once for all read models of a
process, since decoding a record costs as much as applying it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers.feeds import Feed, GapError, WaitError
from consumers.interventions import GAP
from consumers.store_feed import Page
from projections.read_model import ReadModel
from registry.domain.values import iso_time
from registry.event_store.log import LoggedEvent, read_positions, time_of
from registry.event_store.read_model_positions import positions_of, recorded_partitions
from registry.kafka.brokers import Brokers
from registry.kafka.clients import connected
from registry.kafka.records import PROGRESS, milliseconds, read_event
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import HistoryError, check_history, event_tails
from registry.kafka.topics import TopicError, check_topics, counted, error_name
from registry.logs import Troubles
from registry.postgres.connections import Cursor

POLL_MS = 250
SESSION_MS = 10_000
HEARTBEAT_MS = 3_000
METADATA_MS = 5_000
"""The time within which a recreated topic is noticed."""
PARTITIONS_SECONDS = 1.0
"""How often a consumer without records checks the number of partitions."""
BROKERS_SECONDS = 5.0
"""How often a consumer without records asks whether there is a broker."""
FETCH_BYTES = 2 * 1024 * 1024
"""The size of a page of one partition."""

log = logging.getLogger("registry.consumer")
_PROGRESS = PROGRESS.encode()
NOT_THE_RELAYS = "a record that is not the relay's"
MAX_DIGITS = 18
"""The digits of a position: of more it may be too large for PostgreSQL."""


class KafkaSource:
    """The topic that the relay fills, shared by as many consumers as it has partitions."""

    alone = False

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka, self._brokers = kafka, Brokers(kafka)

    def together(self, models: Sequence[ReadModel]) -> list[list[ReadModel]]:
        """All read models in one group; those that need total order must follow the store instead."""
        if any(model.order == "total" for model in models):
            raise AssertionError("a read model in total order follows the store")
        return [list(models)]

    def feed(self, models: Sequence[ReadModel], cursor: Cursor) -> Feed:
        """Raises `WaitError` while this log has no topic, or no broker answers."""
        try:
            partitions = check_topics(cursor, self._kafka)
            for tail in event_tails(self._kafka, partitions):
                check_history(cursor, tail)
            _check_positions(models, cursor, partitions)
            return KafkaFeed(self._kafka, models, cursor, partitions, self._brokers)
        except (TopicError, HistoryError, KafkaError) as error:
            reason = error_name(error) if isinstance(error, KafkaError) else str(error)
            raise WaitError(f"the read models wait for Kafka: {reason}") from error


def _check_positions(models: Sequence[ReadModel], cursor: Cursor, partitions: int) -> None:
    for model in models:
        if (count := len(positions_of(cursor, model.name))) != partitions:
            raise WaitError(
                f"{model.name} has positions on {counted(count)}, but the log has {partitions};"
                " run `registry topics --repartition`"
            )


class KafkaFeed:
    """The records of the partitions assigned to this consumer, in the order of each partition."""

    def __init__(
        self,
        kafka: KafkaSettings,
        models: Sequence[ReadModel],
        cursor: Cursor,
        partitions: int,
        brokers: Brokers,
    ) -> None:
        self._models, self._cursor, self._partitions = list(models), cursor, partitions
        self._brokers, self._troubles, self._asked = brokers, Troubles(log), time.monotonic()
        self._at: dict[int, dict[str, int]] = {}
        self._reached: dict[int, int] = {}
        self._assigned: set[TopicPartition] = set()
        self._gap: GapError | None = None
        self._checked = time.monotonic()
        self._consumer = connected(
            KafkaConsumer,
            **kafka.client(),
            group_id=kafka.group,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=FETCH_BYTES,
            metadata_max_age_ms=METADATA_MS,
            metrics_enabled=False,
        )
        # Fetch metadata first: a leader that does not know the topic would assign no partitions.
        self._consumer.partitions_for_topic(kafka.events)
        self._consumer.subscribe([kafka.events], listener=_Listener(self))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Adds partitions, which are read once it is known from where."""
        for partition in partitions:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
            self._assigned.add(partition)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._assigned.discard(partition)
            self._at.pop(partition.partition, None)
            if self._gap is not None and self._gap.partition == partition.partition:
                self._gap = None

    def read(self, limit: int) -> Sequence[tuple[ReadModel, Page]]:
        """Returns what precedes a gap before it raises `GapError`.

        Raises `WaitError` where the number of partitions has changed.
        """
        if self._gap is not None:
            raise self._gap
        fetched: dict[int, tuple[list[LoggedEvent], int]] = {}
        self._go_on_joining()
        polled = self._consumer.poll(POLL_MS, limit)
        log = read_positions(
            self._cursor, {_position(_headers(each)) for records in polled.values() for each in records}
        )
        for (_, partition), records in polled.items():
            if at := self._at.get(partition):
                last, reached = min(at.values()), self._reached[partition]
                part = Partition(partition, self._partitions)
                followed = following(part, last, reached, records, log)
                fetched[partition] = followed.events, followed.at
                self._reached[partition], self._gap = followed.reached, self._gap or followed.gap
        if self._assigned:
            self._seek()
        if self._gap is not None or not fetched:
            self._check_partitions()
            self._check_brokers()
        pages = [(model, self._page(model.name, fetched)) for model in self._models]
        return [(model, page) for model, page in pages if page.to]

    def _go_on_joining(self) -> None:
        """Has the client complete a join that an earlier poll has begun.

        The client forgets it where new metadata was the cause and the join took longer than that poll: the
        consumer would have no partitions, and would send no heartbeats, until the process ends.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()

    def _check_partitions(self) -> None:
        """Notices a recreated topic also in a consumer without a partition, which gets no record to tell.

        Where the number of partitions has changed, records of the new topic are no gap in the old one.
        """
        now = time.monotonic()
        if self._gap is not None or now > self._checked + PARTITIONS_SECONDS:
            self._checked = now
            if (count := recorded_partitions(self._cursor)) != self._partitions:
                raise WaitError(f"the log has {count} partitions now, and had {self._partitions}")

    def _check_brokers(self) -> None:
        """Says once that Kafka is away: the client itself waits for it without a word, and then goes on."""
        now = time.monotonic()
        if now > self._asked + BROKERS_SECONDS:
            self._asked = now
            if self._brokers.answer():
                self._troubles.over()
            else:
                self._troubles.met("the read models wait for Kafka: no broker can be reached")

    def drop(self, model: ReadModel) -> None:
        self._models.remove(model)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=1_000)

    def _page(self, name: str, fetched: dict[int, tuple[list[LoggedEvent], int]]) -> Page:
        """The fetched events of each partition that a read model does not hold yet."""
        events: list[LoggedEvent] = []
        at, to = {}, {}
        for partition, (logged, last) in fetched.items():
            position = self._at[partition][name]
            if last > position:
                events += logged if logged and logged[0].position > position else _after(logged, position)
                at[partition], to[partition] = position, last
                self._at[partition][name] = last
        if len(fetched) > 1:
            events.sort(key=lambda event: event.position)
        return Page(events, at, to, self._partitions, whole=False)

    def _seek(self) -> None:
        """Seeks to the positions of the read models on the partitions just assigned."""
        new, self._assigned = list(self._assigned), set()
        positions = {model.name: positions_of(self._cursor, model.name) for model in self._models}
        for each in new:
            self._at[each.partition] = {name: at[each.partition] for name, at in positions.items()}
            self._reached[each.partition] = 0
        times = {each: time_of(self._cursor, min(self._at[each.partition].values())) for each in new}
        # Ask for the ends first: a record that arrives in between has a later time, and is found by that.
        ends = self._consumer.end_offsets(new)
        offsets = self._consumer.offsets_for_times({each: milliseconds(time) for each, time in times.items()})
        for each in new:
            self._consumer.seek(each, place.offset if (place := offsets.get(each)) else ends[each])
        self._consumer.resume(*new)


def _after(events: Sequence[LoggedEvent], position: int) -> list[LoggedEvent]:
    return [event for event in events if event.position > position]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Is called by the client, within `poll`, when partitions come and go; it must not wait here."""

    def __init__(self, feed: KafkaFeed) -> None:
        self._feed = feed

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._feed.assign(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._feed.revoke(revoked)


class Partition(NamedTuple):
    """A partition of a log that is divided into `total`."""

    number: int
    total: int


class Followed(NamedTuple):
    """Events of a partition, the position after them, that of the last record, and what stopped there."""

    events: list[LoggedEvent]
    at: int
    reached: int
    gap: GapError | None


def following(
    partition: Partition, at: int, reached: int, records: Sequence[Any], log: Mapping[int, LoggedEvent]
) -> Followed:
    """The events of some records that follow a position; `reached` is that of the record before these.

    They end before a gap: before a record that follows an event which was not read, or that is not what the
    relay makes of the log.
    """
    events: list[LoggedEvent] = []
    for record in records:
        try:
            headers = _headers(record)
            position, previous = _position(headers), int(headers["ce_previous"])
            if not position:
                wrong = NOT_THE_RELAYS
            elif position < reached or (position == reached and headers["ce_type"] != _PROGRESS):
                wrong = f"position {position} after {reached}"
            elif position not in log:
                wrong = f"position {position}, which the log does not have"
            elif not _is_of(log[position], headers, record.value, partition):
                wrong = f"a record that differs from the log's event {position}"
            else:
                wrong = ""
        except (KeyError, ValueError):
            wrong = NOT_THE_RELAYS
        if wrong:
            reason = f"{GAP}partition {partition.number} has at offset {record.offset} {wrong}"
            return Followed(events, at, reached, GapError(partition.number, at + 1, reason))
        if previous > at:
            reason = (
                f"{GAP}on partition {partition.number} the event follows {previous},"
                f" but the read model is at {at}"
            )
            return Followed(events, at, reached, GapError(partition.number, position, reason))
        if position > at and headers["ce_type"] != _PROGRESS:
            events.append(log[position])
        at, reached = max(at, position), position
    return Followed(events, at, reached, None)


def _is_of(
    logged: LoggedEvent, headers: Mapping[str, bytes], value: bytes | None, partition: Partition
) -> bool:
    """Whether a record is an event of the log on its partition, or the marker that the log ends there."""
    if headers["ce_type"] == _PROGRESS:
        mark = logged.id.encode(), iso_time(logged.time).encode()
        return (headers["ce_last"], headers["ce_time"]) == mark
    return (
        value is not None
        and read_event(headers, value) == logged
        and logged.partition(partition.total) == partition.number
    )


def _headers(record: Any) -> dict[str, bytes]:
    """The headers of a record, of which a stranger's may be null."""
    return {name: text or b"" for name, text in record.headers}


def _position(headers: Mapping[str, bytes]) -> int:
    """The position that a record names; 0, which no event has, where it names none."""
    text = headers.get("ce_position", b"")
    return int(text) if text.isdigit() and len(text) <= MAX_DIGITS else 0
