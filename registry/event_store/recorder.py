"""The event store: our recorder for the eventsourcing library, on psycopg2.

The library gives the interfaces (Application, Mapper, ApplicationRecorder, the factory found through
`PERSISTENCE_MODULE`); `registry.event_store.group_commit` appends, this module maps and reads.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
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

from registry.domain.errors import EventTooLarge
from registry.domain.events import Event, InstitutionAdmitted, canonical, decode
from registry.domain.private_parts import PrivateParts
from registry.event_store.append import Unit
from registry.event_store.group_commit import Writer
from registry.event_store.read_model_positions import PositionRecorder
from registry.event_store.vault import Vault
from registry.postgres.connections import Pool

LARGEST_EVENT = 60 * 1024
READ_CONNECTIONS = 16
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class RecordedEvent(Notification):
    """A stored event with its position (`id`) and the time at which it was recorded."""

    time: dt.datetime


def stored_event(subject: str, version: int, topic: str, data: bytes) -> StoredEvent:
    """An event as the recorder takes it; refuses one that is too large."""
    if len(data) > LARGEST_EVENT:
        raise EventTooLarge(len(data), LARGEST_EVENT)
    return StoredEvent(subject, version, topic, data)


class EventMapper(Mapper[str]):
    """Events to and from the library's stored form; `topic` is `{type}/{schema version}`."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        event = cast(Event, domain_event)
        if event.originator_version < 1:
            raise ValueError("a stream's versions begin at 1")
        return stored_event(
            event.originator_id, event.originator_version, event.data.TOPIC, canonical(event.data)
        )

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
        self._writer = Writer(url)

    def has_room(self) -> bool:
        return self._writer.has_room()

    @property
    def epoch(self) -> int:
        """As `Writer.epoch`."""
        return self._writer.epoch

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, unit: Unit | None = None, **_: Any
    ) -> Sequence[int] | None:
        """Records the events with the rest of their `unit`; raises as `Writer.append`."""
        if not stored_events:
            return []
        return self._writer.append(msgspec.structs.replace(unit or Unit(()), events=stored_events))

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

    def append_each(self, units: Sequence[Unit]) -> list[list[int] | Exception]:
        """Records each unit by itself; as `Writer.append_each`."""
        return self._writer.append_each(units)

    def select_streams(self, subjects: Sequence[str]) -> list[RecordedEvent]:
        """All events of these subjects, in the order of their positions."""
        with self._pool.cursor() as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM event WHERE subject = ANY(%s) ORDER BY position", (list(subjects),)
            )
            return [_recorded(*row) for row in cursor.fetchall()]

    def look_up(
        self, badge_ids: Sequence[str], alias_keys: Sequence[bytes]
    ) -> tuple[set[str], dict[bytes, str], int]:
        """Those of the badges that are recorded, the learners by alias, and the log's last position."""
        with self._pool.cursor() as cursor:
            # One statement, so that all of it is as of one moment.
            cursor.execute(
                "SELECT coalesce((SELECT max(position) FROM event), 0),"
                " ARRAY(SELECT subject FROM event"
                " WHERE subject = ANY(string_to_array(%s, ' ')) AND version = 1),"
                " ARRAY(SELECT ARRAY[encode(key, 'hex'), learner_id::text] FROM alias"
                " WHERE key = ANY(string_to_array(%s, ' ')::bytea[]))",
                # One text each: the client writes an array value by value.
                (" ".join(badge_ids), " ".join(["\\x" + key.hex() for key in alias_keys])),
            )
            last, known, learners = cursor.fetchone() or (0, [], [])
            return set(known), {bytes.fromhex(key): learner_id for key, learner_id in learners}, last

    def institutions(self) -> list[str]:
        """The BRINs of all institutions, found among the few events that are no badge's."""
        with self._pool.cursor() as cursor:
            cursor.execute(
                "SELECT subject FROM event WHERE type NOT LIKE 'badge.%%' AND type = %s ORDER BY position",
                (InstitutionAdmitted.TYPE,),
            )
            return [brin for (brin,) in cursor.fetchall()]

    def private_parts(self, vault: Vault, badge_ids: Sequence[str]) -> dict[str, PrivateParts]:
        """The private parts of awards by badge id; missing after the learner's erasure."""
        with self._pool.cursor() as cursor:
            return vault.read_awards(cursor, badge_ids)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        return PollingSubscription(self, gt, topics)

    def close(self) -> None:
        """Records what is queued, then lets go of the database."""
        self._writer.close()
        self._pool.close()


class PollingSubscription(Subscription[ApplicationRecorder]):
    """The log as it grows, by asking again: NOTIFY inside the append would serialise commits."""

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
            found = self._recorder.select_notifications(
                self._last_notification_id, 500, topics=self._topics, inclusive_of_start=False
            )
            self._page = list(reversed(found))
            if not found:
                self._stopped.wait(POLL_SECONDS)
        if self._stopped.is_set():
            raise StopIteration
        self._last_notification_id = self._page[-1].id
        return self._page.pop()


def _recorded(
    position: int, subject: str, version: int, kind: str, schema: int, time: dt.datetime, data: memoryview
) -> RecordedEvent:
    topic = f"{kind}/{schema}" if schema else kind
    return RecordedEvent(subject, version, topic, bytes(data), position, time)


class Factory(InfrastructureFactory[TrackingRecorder]):
    """What the library finds through `PERSISTENCE_MODULE`; `DATABASE_URL` says where."""

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
