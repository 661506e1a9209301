"""The relay: carries the log to Kafka, in order, each event once.

A page of the log is one transaction of Kafka that ends with a progress marker on every partition. The
topic is its own position: a relay reads from the topic's tails where to carry on, so that no crash can come
between sending and remembering. One relay works at a time, by a session's advisory lock in PostgreSQL. One
that was frozen and wakes up is fenced by Kafka, because the next relay uses the same transactional id. After
any failure a relay begins again from the tails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from kafka import KafkaProducer
from kafka.errors import KafkaError

from registry import defects
from registry.event_store.log import LoggedEvent, Pace, partition_of, read_log
from registry.kafka import records
from registry.kafka.badge_statuses import latest_statuses
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import Tail, check_history, check_tails, event_tails, status_tail
from registry.kafka.topics import KafkaAwayError, check_topics
from registry.kafka.transactions import commit, producing
from registry.logs import Troubles
from registry.postgres.connections import STILL_SECONDS, Cursor, UnavailableError, connect
from registry.postgres.locks import Lock

PAGE = 2_000
POLL_SECONDS = 0.02
STAND_BY_SECONDS = 1.0
FROZEN_SECONDS = 10
"""PostgreSQL ends the session of a relay that is silent for this long, and another relay takes over."""

log = logging.getLogger("registry.relay")


class Relay:
    """Carries the log while it holds the lock; other relays stand by."""

    def __init__(self, url: str, kafka: KafkaSettings, say: Callable[[str], None]) -> None:
        self._url, self._kafka, self._say = url, kafka, say
        self._leaving, self.troubles = threading.Event(), Troubles(log)
        self.turned = time.monotonic()
        """When the loop last turned: one that stands still is seen from outside."""

    def leave(self) -> None:
        """Makes the relay end after its page."""
        self._leaving.set()

    def run(self) -> None:
        """Works until `leave`. Raises `HistoryError` and `TopicError`, which an operator must resolve."""
        while not self._leaving.is_set():
            self.turned = time.monotonic()
            try:
                self._work()
            except KafkaAwayError as error:
                self.troubles.met(f"the relay waits for Kafka: {error}")
            except (KafkaError, UnavailableError, psycopg2.Error) as error:
                self.troubles.met(f"the relay begins again after {defects.named(error)}")
            self._leaving.wait(STAND_BY_SECONDS)

    def _work(self) -> None:
        connection = connect(
            self._url, "registry_project", STILL_SECONDS, idle_session_timeout=FROZEN_SECONDS * 1000
        )
        with closing(connection), connection.cursor() as cursor:
            while not _try_lock(cursor):
                # Stand by on the same connection: to try costs one statement a second.
                self.turned = time.monotonic()
                self.troubles.standing_by()
                if self._leaving.wait(STAND_BY_SECONDS):
                    return
            partitions = check_topics(cursor, self._kafka)
            with producing(self._kafka, self._kafka.transactional_id) as producer:
                # Fence the relay before this one and end its transaction, so that the tails no longer move.
                producer.init_transactions()
                carrier = Carrier(cursor, producer, self._kafka, *self._begin(cursor, partitions))
                _record(cursor, carrier.at)
                self._say(f"relaying from position {carrier.at}, on {partitions} partitions")
                self.troubles.over()
                pace = Pace(POLL_SECONDS)
                while not self._leaving.is_set():
                    self.turned = time.monotonic()
                    if carrier.carry():
                        pace.came()
                    else:
                        self._leaving.wait(pace.pause())

    def _begin(self, cursor: Cursor, partitions: int) -> tuple[list[Tail], int]:
        tails = event_tails(self._kafka, partitions)
        check_tails(cursor, tails)
        statuses = status_tail(self._kafka, partitions)
        check_history(cursor, statuses)
        return tails, statuses.position


class Carrier:
    """Carries the log page by page, from the tails on."""

    def __init__(
        self,
        cursor: Cursor,
        producer: KafkaProducer,
        kafka: KafkaSettings,
        tails: Sequence[Tail],
        statuses_from: int,
    ) -> None:
        self._cursor, self._producer, self._kafka = cursor, producer, kafka
        self._statuses_from = statuses_from
        self.at = tails[0].position
        self._previous = [tail.previous for tail in tails]

    def carry(self) -> int:
        """Carries the next page; returns its number of events."""
        page = read_log(self._cursor, self.at, PAGE)
        if page:
            self._producer.begin_transaction()
            commit(self._producer, [*self._send_events(page), *self._send_statuses(page)])
            self.at = page[-1].position
            _record(self._cursor, self.at)
        return len(page)

    def _send_events(self, page: Sequence[LoggedEvent]) -> Iterator[Any]:
        previous, count = self._previous, len(self._previous)
        for event in page:
            partition = event.partition(count)
            yield self._producer.send(
                self._kafka.events,
                event.data,
                event.key.encode(),
                records.event_headers(event, previous[partition]),
                partition,
                records.milliseconds(event.time),
            )
            previous[partition] = event.position
        last = page[-1]
        for partition in range(count):
            yield self._producer.send(
                self._kafka.events,
                None,
                records.PROGRESS.encode(),
                records.progress_headers(last, previous[partition]),
                partition,
                records.milliseconds(last.time),
            )

    def _send_statuses(self, page: Sequence[LoggedEvent]) -> Iterator[Any]:
        """Sends statuses that the topic does not have yet: when events are carried again, it may be ahead."""
        if page[-1].position <= self._statuses_from:
            return
        later = [event for event in page if event.position > self._statuses_from]
        for status in latest_statuses(self._cursor, later):
            yield self._producer.send(
                self._kafka.statuses,
                status.value,
                status.badge_id.encode(),
                records.status_headers(status.position),
                partition_of(status.badge_id, len(self._previous)),
                records.milliseconds(status.time),
            )


def _try_lock(cursor: Cursor) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (Lock.RELAY,))
    (locked,) = cursor.fetchone() or (False,)
    return bool(locked)


def _record(cursor: Cursor, position: int) -> None:
    """Records the position for metrics only; the relay itself relies on the topic."""
    cursor.execute("UPDATE stream SET relayed = %s", (position,))
