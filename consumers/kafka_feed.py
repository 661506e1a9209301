"""Kafka as a feed of the read models that need order by key alone.

Where a read model is stands in PostgreSQL with its rows, and nowhere else: on taking a partition, the place
to read from is looked up by the time of the event at that position, and what the read model holds already
is passed over. Each record says which event came before it on its partition; where the read model does not
hold that one, events are missing and it stops.

Consumers share the partitions by a group of Kafka's. Each record is fetched once for all its read models:
to take a record apart costs as much as to apply it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers.feeds import Feed, GapError, WaitError
from consumers.interventions import GAP
from consumers.store_feed import Page
from projections.read_model import ReadModel
from registry.event_store.log import LoggedEvent, time_of
from registry.event_store.read_model_positions import positions_of, recorded_partitions
from registry.kafka.clients import connected
from registry.kafka.records import EVENTS, PROGRESS, milliseconds, read_event
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import HistoryError, check_history, event_tails
from registry.kafka.topics import TopicError, check_topics, error_name
from registry.postgres.connections import Cursor

GROUP = "registry.read-models"
POLL_MS = 250
SESSION_MS = 10_000
HEARTBEAT_MS = 3_000
METADATA_MS = 5_000
"""So soon a topic that was made anew is noticed."""
DIVIDED_SECONDS = 1.0
"""So often who hears nothing looks whether the log was divided anew."""
FETCH_BYTES = 2 * 1024 * 1024
"""A page of one partition."""

_PROGRESS = PROGRESS.encode()


class KafkaSource:
    """The topic that the relay fills; as many consumers as it has partitions share it."""

    alone = False

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def together(self, models: Sequence[ReadModel]) -> list[list[ReadModel]]:
        """All of them; one that needs total order follows the store, and is none of these."""
        if any(model.order == "total" for model in models):
            raise AssertionError("a read model in total order follows the store")
        return [list(models)]

    def feed(self, models: Sequence[ReadModel], cursor: Cursor) -> Feed:
        """Raises `WaitError` while there is no topic of this log, or no broker that answers."""
        try:
            partitions = check_topics(cursor, self._kafka)
            for tail in event_tails(self._kafka, partitions):
                check_history(cursor, tail)
            _check_positions(models, cursor, partitions)
            return KafkaFeed(self._kafka, models, cursor, partitions)
        except (TopicError, HistoryError, KafkaError) as error:
            said = error_name(error) if isinstance(error, KafkaError) else str(error)
            raise WaitError(f"the read models wait for Kafka: {said}") from error


def _check_positions(models: Sequence[ReadModel], cursor: Cursor, partitions: int) -> None:
    for model in models:
        if (count := len(positions_of(cursor, model.name))) != partitions:
            raise WaitError(
                f"{model.name} has positions on {count} partitions, and the log has {partitions};"
                " run `registry topics --repartition`"
            )


class KafkaFeed:
    """The partitions that this consumer has, in the order of each."""

    def __init__(
        self, kafka: KafkaSettings, models: Sequence[ReadModel], cursor: Cursor, partitions: int
    ) -> None:
        self._models, self._cursor, self._partitions = list(models), cursor, partitions
        self._at: dict[int, dict[str, int]] = {}
        self._taken: set[TopicPartition] = set()
        self._gap: GapError | None = None
        self._looked = time.monotonic()
        self._consumer = connected(
            KafkaConsumer,
            **kafka.client(),
            group_id=GROUP,
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
        # Who leads the group before it knows of the topic would give nobody a partition.
        self._consumer.partitions_for_topic(EVENTS)
        self._consumer.subscribe([EVENTS], listener=_Listener(self))

    def take(self, taken: Iterable[TopicPartition]) -> None:
        """Partitions that are this consumer's from now on; nothing is read before it is known from where."""
        for partition in taken:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
            self._taken.add(partition)

    def leave(self, left: Iterable[TopicPartition]) -> None:
        for partition in left:
            self._taken.discard(partition)
            self._at.pop(partition.partition, None)
            if self._gap is not None and self._gap.partition == partition.partition:
                self._gap = None

    def read(self, limit: int) -> Sequence[tuple[ReadModel, Page]]:
        """What lies before a gap is given first. Raises `WaitError` where the log was divided anew."""
        if self._gap is not None:
            raise self._gap
        found: dict[int, tuple[list[LoggedEvent], int]] = {}
        for partition, records in self._consumer.poll(POLL_MS, limit).items():
            if at := self._at.get(partition.partition):
                events, last, gap = following(partition.partition, min(at.values()), records)
                found[partition.partition], self._gap = (events, last), self._gap or gap
        if self._taken:
            self._seek()
        if not found:
            self._check_division()
        pages = [(model, self._page(model.name, found)) for model in self._models]
        return [(model, page) for model, page in pages if page.to]

    def _check_division(self) -> None:
        """A record would say so; but who has no partition of the topic that was made anew gets none."""
        now = time.monotonic()
        if now > self._looked + DIVIDED_SECONDS:
            self._looked = now
            if (count := recorded_partitions(self._cursor)) != self._partitions:
                raise WaitError(f"the log has {count} partitions now, and had {self._partitions}")

    def drop(self, model: ReadModel) -> None:
        self._models.remove(model)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=1_000)

    def _page(self, name: str, found: dict[int, tuple[list[LoggedEvent], int]]) -> Page:
        """What a read model does not hold yet of what was found on each partition."""
        events: list[LoggedEvent] = []
        at, to = {}, {}
        for partition, (read, last) in found.items():
            held = self._at[partition][name]
            if last > held:
                events += read if read and read[0].position > held else _after(read, held)
                at[partition], to[partition] = held, last
                self._at[partition][name] = last
        if len(found) > 1:
            events.sort(key=lambda event: event.position)
        return Page(events, at, to, self._partitions, whole=False)

    def _seek(self) -> None:
        """Goes to where the read models are on the partitions just taken."""
        taken, self._taken = list(self._taken), set()
        positions = {model.name: positions_of(self._cursor, model.name) for model in self._models}
        for each in taken:
            self._at[each.partition] = {name: at[each.partition] for name, at in positions.items()}
        times = {each: time_of(self._cursor, min(self._at[each.partition].values())) for each in taken}
        # The ends first: a record that comes in between has a later time, and is found by it.
        ends = self._consumer.end_offsets(taken)
        offsets = self._consumer.offsets_for_times({each: milliseconds(time) for each, time in times.items()})
        for each in taken:
            self._consumer.seek(each, found.offset if (found := offsets.get(each)) else ends[each])
        self._consumer.resume(*taken)


def _after(events: Sequence[LoggedEvent], position: int) -> list[LoggedEvent]:
    return [event for event in events if event.position > position]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Told by the client, within `poll`, which partitions come and go; it may not wait here."""

    def __init__(self, feed: KafkaFeed) -> None:
        self._feed = feed

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._feed.take(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._feed.leave(revoked)


def following(
    partition: int, at: int, records: Sequence[Any]
) -> tuple[list[LoggedEvent], int, GapError | None]:
    """The events of some records that follow a position, and the position after them.

    They end before a record that follows an event which lies beyond what was read.
    """
    events: list[LoggedEvent] = []
    for record in records:
        headers = dict(record.headers)
        try:
            position, previous = int(headers["ce_position"]), int(headers["ce_previous"])
            if position > at >= previous and headers["ce_type"] != _PROGRESS:
                events.append(read_event(headers, record.value))
        except (KeyError, ValueError):
            said = f"{GAP}partition {partition} has at offset {record.offset} what is not the relay's"
            return events, at, GapError(partition, at + 1, said)
        if previous > at:
            said = f"{GAP}on partition {partition} it follows {previous}, and {at} is held"
            return events, at, GapError(partition, position, said)
        at = max(at, position)
    return events, at, None
