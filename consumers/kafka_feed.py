"""Kafka as a feed of read models.

Where a read model is stands in PostgreSQL with its rows, and nowhere else: on taking a partition, the place
to read from is looked up by the time of the event at that position, and what the read model holds already
is passed over. Each record says which event came before it on its partition; where the read model does not
hold that one, events are missing and it stops.

A read model that needs order by key alone shares the partitions among its consumers, by a group of Kafka's.
One that needs total order has one consumer, which merges all partitions by position.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers.feeds import Feed, GapError, WaitError
from consumers.interventions import GAP
from projections.read_model import ReadModel
from registry.feed import LoggedEvent, Page, time_of
from registry.kafka_settings import KafkaSettings
from registry.positions import positions_of
from registry.postgres import Cursor
from registry.stream import EVENTS, PROGRESS, milliseconds, read_event
from registry.topics import TopicError, check_topics, error_name

POLL_MS = 250
SESSION_MS = 10_000
HEARTBEAT_MS = 3_000
FETCH_BYTES = 4 * 1024 * 1024
"""A page or two of one partition."""
MOST_AHEAD = 20_000
"""So many events of partitions that are ahead wait for one that is behind; then those are not read on."""

_PROGRESS = PROGRESS.encode()


class KafkaSource:
    """The topic that the relay fills."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def alone(self, model: ReadModel) -> bool:
        return model.order == "total"

    def feed(self, model: ReadModel, cursor: Cursor) -> Feed:
        """Raises `WaitError` while there is no topic, or no broker that answers."""
        try:
            partitions = check_topics(cursor, self._kafka)
            assigned = Assigned(self._kafka, model, cursor, partitions)
        except (TopicError, KafkaError) as error:
            said = str(error) if isinstance(error, TopicError) else error_name(error)
            raise WaitError(f"{model.name} waits for Kafka: {said}") from error
        return Merged(assigned) if model.order == "total" else assigned


class Assigned:
    """The partitions that this consumer has of a topic, as a feed in the order of each."""

    def __init__(self, kafka: KafkaSettings, model: ReadModel, cursor: Cursor, partitions: int) -> None:
        self._name, self._cursor, self.partitions = model.name, cursor, partitions
        self.at: dict[int, int] = {}
        self._taken: set[TopicPartition] = set()
        self._gap: GapError | None = None
        shares = model.order == "by key"
        self._consumer = KafkaConsumer(
            **kafka.client(),
            group_id=f"registry.{model.name}" if shares else None,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=FETCH_BYTES,
            metrics_enabled=False,
        )
        if shares:
            self._consumer.subscribe([EVENTS], listener=_Listener(self))
        else:
            taken = [TopicPartition(EVENTS, each) for each in range(partitions)]
            self._consumer.assign(taken)
            self.take(taken)

    def take(self, taken: Iterable[TopicPartition]) -> None:
        """Partitions that are this consumer's from now on; nothing is read before it is known from where."""
        for partition in taken:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
            self._taken.add(partition)

    def leave(self, left: Iterable[TopicPartition]) -> None:
        for partition in left:
            self._taken.discard(partition)
            self.at.pop(partition.partition, None)

    def read(self, limit: int) -> Page | None:
        found = self.poll(limit)
        if not found:
            return None
        to: dict[int, int] = {}
        events: list[LoggedEvent] = []
        for partition, (read, last) in found.items():
            events += read
            to[partition] = last
        events.sort(key=lambda event: event.position)
        page = Page(events, {each: self.at[each] for each in to}, to, self.partitions, whole=False)
        self.at |= to
        return page

    def poll(self, limit: int) -> dict[int, tuple[list[LoggedEvent], int]]:
        """By partition, the next events, and the position through which they are all of them.

        Raises `GapError` after it has given what lies before the gap.
        """
        if self._gap is not None:
            raise self._gap
        polled = self._consumer.poll(POLL_MS, limit)
        found = {}
        for partition, records in polled.items():
            if (at := self.at.get(partition.partition)) is not None:
                events, last, gap = following(partition.partition, at, records)
                found[partition.partition], self._gap = (events, last), self._gap or gap
        if self._taken:
            self._seek()
        return {each: (events, last) for each, (events, last) in found.items() if last > self.at[each]}

    def pause(self, partitions: Iterable[int]) -> None:
        self._consumer.pause(*(TopicPartition(EVENTS, each) for each in partitions))

    def resume(self) -> None:
        self._consumer.resume(*self._consumer.paused())

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=1_000)

    def _seek(self) -> None:
        """Goes to where the read model is on the partitions just taken."""
        taken, self._taken = list(self._taken), set()
        positions = positions_of(self._cursor, self._name)
        times = {each: milliseconds(time_of(self._cursor, positions[each.partition])) for each in taken}
        # The ends first: a record that comes in between has a later time, and is found by it.
        ends = self._consumer.end_offsets(taken)
        offsets = self._consumer.offsets_for_times(times)
        for each in taken:
            self._consumer.seek(each, found.offset if (found := offsets.get(each)) else ends[each])
            self.at[each.partition] = positions[each.partition]
        self._consumer.resume(*taken)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Told by the client, within `poll`, which partitions come and go; it may not wait here."""

    def __init__(self, assigned: Assigned) -> None:
        self._assigned = assigned

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._assigned.take(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._assigned.leave(revoked)


def following(
    partition: int, at: int, records: Sequence[Any]
) -> tuple[list[LoggedEvent], int, GapError | None]:
    """The events of some records that follow a position, and the position after them.

    They end before a record that follows an event which lies beyond what was read.
    """
    events: list[LoggedEvent] = []
    for record in records:
        headers = dict(record.headers)
        position = int(headers["ce_position"])
        if position <= at:
            continue
        if (previous := int(headers["ce_previous"])) > at:
            said = f"{GAP}on partition {partition} it follows {previous}, and {at} is held"
            return events, at, GapError(partition, position, said)
        if headers["ce_type"] != _PROGRESS:
            events.append(read_event(headers, record.value))
        at = position
    return events, at, None


class Merged:
    """All partitions as one log without gaps."""

    def __init__(self, assigned: Assigned) -> None:
        self._assigned = assigned
        self._waiting: list[tuple[int, LoggedEvent]] = []
        self._last: int | None = None

    def read(self, limit: int) -> Page | None:
        if not self._waiting or self._waiting[0][0] - 1 != self._last:
            self._fetch(limit)
        if self._last is None:
            return None
        before = self._last
        events: list[LoggedEvent] = []
        while self._waiting and len(events) < limit and self._waiting[0][0] == before + len(events) + 1:
            events.append(heapq.heappop(self._waiting)[1])
        if not events:
            return None
        self._last = before + len(events)
        partitions = range(self._assigned.partitions)
        at, to = dict.fromkeys(partitions, before), dict.fromkeys(partitions, self._last)
        return Page(events, at, to, len(partitions), whole=True)

    def _fetch(self, limit: int) -> None:
        """Reads on, but not on partitions that are far ahead of the next event."""
        assigned = self._assigned
        for partition, (events, last) in assigned.poll(limit).items():
            for event in events:
                heapq.heappush(self._waiting, (event.position, event))
            assigned.at[partition] = last
        if self._last is None and assigned.at:
            self._last = _level(assigned.at)
        if len(self._waiting) > MOST_AHEAD:
            assigned.pause(each for each, at in assigned.at.items() if at > (self._last or 0))
        else:
            assigned.resume()

    def close(self) -> None:
        self._assigned.close()


def _level(at: Mapping[int, int]) -> int:
    """The one position of a read model in total order: it moves on all partitions together."""
    (position,) = set(at.values())
    return position
