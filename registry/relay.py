"""The relay: carries the log to Kafka, in order, each event once.

A page of the log is one transaction of Kafka that ends with a progress marker on every partition. The
topic is its own position: what a relay has to carry on with it reads off the topic's tails, so that there
is no moment between sending and remembering. One relay works at a time, by a session's advisory lock in
PostgreSQL; one that was frozen and wakes is fenced by Kafka, because the next one has taken its
transactional id. Whatever fails, it begins again from the tails.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from kafka import KafkaProducer
from kafka.errors import KafkaError

from registry import stream
from registry.domain.values import iso_time
from registry.feed import LoggedEvent, last_position, partition_of, read_log
from registry.kafka_settings import KafkaSettings
from registry.postgres import Cursor, UnavailableError, connect
from registry.statuses import latest_statuses
from registry.stream import EVENTS, STATUSES
from registry.tails import Tail, event_tails, status_tail
from registry.topics import RELAY_LOCK, KafkaAwayError, check_topics, error_name
from registry.transactions import commit, producing

TRANSACTIONAL_ID = f"registry-relay.{EVENTS}"
PAGE = 2_000
POLL_SECONDS = 0.02
STAND_BY_SECONDS = 1.0
FROZEN_SECONDS = 10
"""PostgreSQL ends the session of a relay that has not been heard of for so long: another takes over."""

log = logging.getLogger("registry.relay")


class RelayError(Exception):
    """The topic cannot be the continuation of this log; says why, and what to do."""


class Relay:
    """Carries the log while it holds the lock; others stand by."""

    def __init__(self, url: str, kafka: KafkaSettings, say: Callable[[str], None]) -> None:
        self._url, self._kafka, self._say = url, kafka, say
        self._leaving = threading.Event()

    def leave(self) -> None:
        """It ends after its page."""
        self._leaving.set()

    def run(self) -> None:
        """Until it is told to leave. Raises `RelayError` and `TopicError`: nothing mends itself there."""
        while not self._leaving.is_set():
            try:
                self._work()
            except (KafkaError, KafkaAwayError, UnavailableError, psycopg2.Error) as error:
                log.warning("the relay begins again after %s", error_name(error))
            self._leaving.wait(STAND_BY_SECONDS)

    def _work(self) -> None:
        connection = connect(self._url, "registry_project", idle_session_timeout=FROZEN_SECONDS * 1000)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (RELAY_LOCK,))
            if cursor.fetchone() != (True,):
                return
            partitions = check_topics(cursor, self._kafka)
            with producing(self._kafka, TRANSACTIONAL_ID) as producer:
                # Fences a relay of before, and ends its transaction: only then the tails stand still.
                producer.init_transactions()
                carrier = Carrier(cursor, producer, *self._begin(cursor, partitions))
                _record(cursor, carrier.at)
                self._say(f"relaying from position {carrier.at}, on {partitions} partitions")
                while not self._leaving.is_set():
                    if not carrier.carry():
                        self._leaving.wait(POLL_SECONDS)

    def _begin(self, cursor: Cursor, partitions: int) -> tuple[list[Tail], int]:
        tails = event_tails(self._kafka, partitions)
        check_tails(cursor, tails)
        return tails, status_tail(self._kafka, partitions)


def check_tails(cursor: Cursor, tails: Sequence[Tail]) -> None:
    """Refuses to go on from tails that are not all the same marker, of an event that the log has."""
    described = stream.described([tail.position for tail in tails])
    if any(tail.position and not tail.is_marker for tail in tails) or len({tail.mark for tail in tails}) > 1:
        raise RelayError(
            f"the tails of {EVENTS} disagree ({described}): records were lost or are not the relay's;"
            " see docs/runbooks/topic-lost.md"
        )
    check_history(cursor, tails[0])


def check_history(cursor: Cursor, tail: Tail) -> None:
    """Refuses a tail that is no event of this log: the store was restored from a backup, say.

    For a consumer too: what the log has lost, or has otherwise, must not come into a read model.
    """
    at, last = tail.position, last_position(cursor)
    if at > last:
        raise RelayError(
            f"{EVENTS} holds events through position {at}, and the log ends at {last}: was the store restored"
            " from a backup? See docs/runbooks/relay-ahead.md"
        )
    if tail.is_marker and (found := _mark(cursor, at)) != tail.mark:
        raise RelayError(
            f"{EVENTS} has another event at position {at} than the log ({tail.mark} and {found}): was the"
            " store restored from a backup? See docs/runbooks/relay-ahead.md"
        )


def _mark(cursor: Cursor, position: int) -> str:
    (event,) = read_log(cursor, position - 1, 1)
    return f"{event.id} {iso_time(event.time)}"


class Carrier:
    """What one relay does with the log from the tails on."""

    def __init__(
        self, cursor: Cursor, producer: KafkaProducer, tails: Sequence[Tail], statuses_from: int
    ) -> None:
        self._cursor, self._producer, self._statuses_from = cursor, producer, statuses_from
        self.at = tails[0].position
        self._previous = [tail.previous for tail in tails]

    def carry(self) -> int:
        """Carries the next page; answers how many events it had."""
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
                EVENTS,
                event.data,
                event.key.encode(),
                stream.event_headers(event, previous[partition]),
                partition,
                stream.milliseconds(event.time),
            )
            previous[partition] = event.position
        last = page[-1]
        for partition in range(count):
            yield self._producer.send(
                EVENTS,
                None,
                stream.PROGRESS.encode(),
                stream.progress_headers(last, previous[partition]),
                partition,
                stream.milliseconds(last.time),
            )

    def _send_statuses(self, page: Sequence[LoggedEvent]) -> Iterator[Any]:
        """Those that the topic has not yet: where the events are carried anew, it may be ahead of them."""
        if page[-1].position <= self._statuses_from:
            return
        later = [event for event in page if event.position > self._statuses_from]
        for status in latest_statuses(self._cursor, later):
            yield self._producer.send(
                STATUSES,
                status.value,
                status.badge_id.encode(),
                stream.status_headers(status.position),
                partition_of(status.badge_id, len(self._previous)),
                stream.milliseconds(status.time),
            )


def _record(cursor: Cursor, position: int) -> None:
    """For metrics alone: what counts is the topic."""
    cursor.execute("UPDATE stream SET relayed = %s", (position,))
