"""The seam to the eventsourcing library: our log under its interfaces, on psycopg2.

The library finds the factory through `PERSISTENCE_MODULE`. Nothing in the registry reads through it: it lets
applications of the library use and follow this log, as `registry.recording.registry.Registry` is one, and the
library's own tests check it. Commands take the road of `registry.recording`, to the same `Session.append`.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg2.errors
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    Mapper,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)

from registry.domain.events import Event, decode
from registry.event_store.append import ConflictError, Row, row
from registry.event_store.read_model_positions import PositionRecorder
from registry.event_store.session import Session
from registry.postgres.connections import Pool

READ_CONNECTIONS = 16
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class RecordedEvent(Notification):
    """A stored event with its position (`id`) and the time at which it was recorded."""

    time: dt.datetime


class EventMapper(Mapper[str]):
    """Events to and from the library's stored form; `topic` is `{type}/{schema version}`."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        event = cast(Event, domain_event)
        if event.originator_version < 1:
            raise ValueError("a stream's versions begin at 1")
        stored = row(event.originator_id, event.originator_version, event.data)
        return StoredEvent(stored.subject, stored.version, event.data.TOPIC, stored.data)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        recorded = cast(RecordedEvent, stored_event)
        event = Event(
            str(recorded.originator_id),
            recorded.originator_version,
            decode(recorded.topic, recorded.state),
            recorded.id,
            recorded.time,
        )
        return cast("DomainEventProtocol[str]", event)


_COLUMNS = "position, subject, version, type, schema_version, time, data"


class EventRecorder(ApplicationRecorder):
    """Records and reads events under the library's interface."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, "registry_write", READ_CONNECTIONS)
        self._session = Session(url)
        self._lock = threading.Lock()

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Records the events together; raises `ConflictError` where another writer was first."""
        if not stored_events:
            return []
        unit = [_row(event) for event in stored_events]
        with self._lock, self._session.cursor():
            try:
                answer = self._session.append([unit], (), 0)
            except psycopg2.errors.UniqueViolation:
                raise ConflictError("a version is given twice") from None
        if answer.conflicts:
            raise ConflictError("another writer was first")
        return list(range(answer.last + 1, answer.last + 1 + len(unit)))

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[RecordedEvent]:
        """A subject's events in the order of its versions."""
        order = "DESC" if desc else "ASC"
        with self._pool.cursor() as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM event WHERE subject = %s AND version > %s AND version <= %s"
                f" ORDER BY version {order} LIMIT %s",
                (str(originator_id), -1 if gt is None else gt, 2**31 - 1 if lte is None else lte, limit),
            )
            return [_recorded(*row) for row in cursor.fetchall()]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[RecordedEvent]:
        """Events in the order of their positions."""
        first = (start or 0) if inclusive_of_start else (start or 0) + 1
        condition, more = "", []
        if topics:
            condition = (
                " AND (CASE schema_version WHEN 0 THEN type ELSE type || '/' || schema_version END) = ANY(%s)"
            )
            more.append(list(topics))
        with self._pool.cursor() as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM event WHERE position >= %s AND position <= %s{condition}"
                " ORDER BY position LIMIT %s",
                (first, 2**63 - 1 if stop is None else stop, *more, limit),
            )
            return [_recorded(*row) for row in cursor.fetchall()]

    def max_notification_id(self) -> int | None:
        with self._pool.cursor() as cursor:
            cursor.execute("SELECT max(position) FROM event")
            (last,) = cursor.fetchone() or (None,)
            return None if last is None else int(last)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        return PollingSubscription(self, gt, topics)

    def close(self) -> None:
        self._session.close()
        self._pool.close()


class PollingSubscription(Subscription[ApplicationRecorder]):
    """The log as it grows, by polling: NOTIFY inside the append would serialise commits."""

    def __init__(self, recorder: EventRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._stopped = threading.Event()
        self._page: list[Notification] = []

    def stop(self) -> None:
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._page:
            if self._stopped.is_set():
                raise StopIteration
            notifications = self._recorder.select_notifications(
                self._last_notification_id, 500, topics=self._topics, inclusive_of_start=False
            )
            self._page = list(reversed(notifications))
            if not notifications:
                self._stopped.wait(POLL_SECONDS)
        if self._stopped.is_set():
            raise StopIteration
        self._last_notification_id = self._page[-1].id
        return self._page.pop()


def _row(event: StoredEvent) -> Row:
    """A topic is `{type}/{schema version}`; the library's own tests have topics without a version."""
    kind, _, schema = event.topic.rpartition("/")
    subject, version = str(event.originator_id), event.originator_version
    return Row(subject, version, kind or event.topic, int(schema) if kind else 0, event.state)


def _recorded(
    position: int, subject: str, version: int, kind: str, schema: int, time: dt.datetime, data: memoryview
) -> RecordedEvent:
    topic = f"{kind}/{schema}" if schema else kind
    return RecordedEvent(subject, version, topic, bytes(data), position, time)


class Factory(InfrastructureFactory[TrackingRecorder]):
    """The factory that the library finds through `PERSISTENCE_MODULE`; `DATABASE_URL` names the database."""

    def application_recorder(self) -> ApplicationRecorder:
        url = self.env.get("DATABASE_URL")
        if url is None:
            raise InfrastructureFactoryError("DATABASE_URL is not set")
        return EventRecorder(url)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return self.application_recorder()

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> TrackingRecorder:
        url = self.env.get("DATABASE_URL")
        if url is None:
            raise InfrastructureFactoryError("DATABASE_URL is not set")
        return PositionRecorder(Pool(url, "registry_project", 1), self.env.name)

    def process_recorder(self) -> ProcessRecorder:
        raise InfrastructureFactoryError("read models are projected apart from the log: use a feed")
