"""Health: whether the service is alive and ready, and how far behind the relay and each read model are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response

from api.http.problems import NotReady
from api.http.reading import reading_of
from api.http.responses import Readiness, ReadModelHealth, RelayHealth, answered
from registry.event_store.log import last_position
from registry.kafka.brokers import Brokers
from registry.postgres.connections import Cursor
from registry.postgres.disk_space import NoRoomError
from registry.postgres.locks import Lock
from registry.release import RELEASE

router = APIRouter(include_in_schema=False)
_READ_MODELS = """
SELECT p.name, p.position, s.stopped_at, s.stopped_because, e.time
FROM (SELECT name, min(position) AS position FROM read_model_position GROUP BY name) p
JOIN read_model m USING (name)
LEFT JOIN LATERAL (
    SELECT stopped_at, stopped_because FROM read_model_position
    WHERE name = p.name AND stopped_at IS NOT NULL ORDER BY stopped_at LIMIT 1
) s ON true
LEFT JOIN event e ON e.position = p.position + 1
ORDER BY p.name
"""


# The lock belongs to the relay's session and ends with it. Every database user may see who holds locks.
_RELAY = """
SELECT s.relayed, e.time, EXISTS (
    SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE d.datname = current_database() AND locktype = 'advisory' AND granted
        AND (classid, objid, objsubid) = (0, %s, 1)
)
FROM stream s LEFT JOIN event e ON e.position = s.relayed + 1
"""
# A session of anyone may take the lock that orders all writers, and keep it.
_WRITERS = """
SELECT h.pid, extract(epoch FROM clock_timestamp() - min(w.waitstart))::float8
FROM pg_locks w JOIN pg_database d ON d.oid = w.database
JOIN pg_locks h USING (locktype, database, classid, objid, objsubid)
WHERE d.datname = current_database() AND w.locktype = 'advisory' AND NOT w.granted AND h.granted
    AND (w.classid, w.objid, w.objsubid) = (0, %s, 1)
GROUP BY h.pid
"""
WAITING_SECONDS = 2.0
"""How long a writer waits for its turn before it is a reason for `degraded`: after 5 seconds it gives up."""
BEHIND_SECONDS = 60.0
"""A larger lag is a reason for `degraded`, as in deploy/prometheus/rules.yaml."""


@dataclass(frozen=True)
class Operations:
    """What operators watch: the disk's room, the threads, and Kafka where the log goes there."""

    has_room: Callable[[], bool]
    records: Callable[[], bool]
    projects: Callable[[], bool]
    brokers: Brokers | None = None


def operations_of(request: Request) -> Operations:
    operations: Operations = request.app.state.operations
    return operations


_LIVE = Response('{"status":"live"}', media_type="application/json")


@router.get("/health/live")
async def live(_: Request) -> Response:
    """Runs on the event loop, so it answers even while every thread waits for PostgreSQL."""
    return _LIVE


@router.get("/health/ready")
def ready(request: Request) -> Response:
    """503 if PostgreSQL does not answer or its disk is full (see `api.http.problems.unavailable`)."""
    with reading_of(request).pool.cursor() as cursor:
        last, models = read_health(cursor)
        relay = read_relay(cursor, last)
        waits = read_writers(cursor)
    operations = operations_of(request)
    if not operations.has_room():
        raise NoRoomError("the disk is full")
    if not operations.records():
        raise NotReady("A thread that records has ended, or does not finish; restart the service.")
    if not operations.projects():
        raise NotReady("A thread that keeps the read models up to date has ended; restart the service.")
    reasons = _reasons_of_writers(waits) + [reason for model in models if (reason := _reason(model))]
    kafka: Literal["reachable", "unreachable"] | None = None
    if operations.brokers is not None:
        kafka = "reachable" if operations.brokers.answer() else "unreachable"
        reasons += _reasons_of_kafka(kafka, relay)
    return answered(
        Readiness(
            status="degraded" if reasons else "ready",
            release=RELEASE,
            reasons=reasons or None,
            position=last,
            kafka=kafka,
            relay=relay,
            read_models=models,
        )
    )


def read_writers(cursor: Cursor) -> dict[int, float]:
    """Who holds the lock that orders all writers while others wait, and for how many seconds they have."""
    cursor.execute(_WRITERS, (Lock.APPEND,))
    return dict(cursor.fetchall())


def _reasons_of_writers(waits: dict[int, float]) -> list[str]:
    return [
        f"Nothing can be recorded: a writer has waited for {seconds:.0f} s for the lock of process {pid}"
        " of PostgreSQL."
        for pid, seconds in waits.items()
        if seconds > WAITING_SECONDS
    ]


def _reason(model: ReadModelHealth) -> str | None:
    if model.stopped_at is not None:
        return f"The read model {model.name} has stopped at event {model.stopped_at}."
    if model.behind_seconds > BEHIND_SECONDS:
        return f"The read model {model.name} {_lacks(model)}."
    return None


def _reasons_of_kafka(kafka: str, relay: RelayHealth | None) -> list[str]:
    reasons = []
    if kafka == "unreachable":
        reasons.append("No broker of Kafka can be reached, so the read models do not advance.")
    if relay is None or not relay.active:
        lacks = f": the topic {_lacks(relay)}" if relay and relay.behind_events else ""
        reasons.append(f"No relay carries the log to Kafka{lacks}.")
    elif relay.behind_seconds > BEHIND_SECONDS:
        reasons.append(f"The topic {_lacks(relay)}.")
    return reasons


def _lacks(health: ReadModelHealth | RelayHealth) -> str:
    return f"lacks {health.behind_events} of the log's events, for {health.behind_seconds:.0f} s"


def read_health(cursor: Cursor) -> tuple[int, list[ReadModelHealth]]:
    """The last position of the log, and how far behind each read model is."""
    cursor.execute(_READ_MODELS)
    rows = cursor.fetchall()
    last = last_position(cursor)
    return last, [
        ReadModelHealth(
            name=name,
            position=position,
            behind_events=max(0, last - position),
            behind_seconds=age(waiting),
            stopped_at=stopped_at,
            stopped_because=because and _public(because),
        )
        for name, position, stopped_at, because, waiting in rows
    ]


def read_relay(cursor: Cursor, last: int) -> RelayHealth | None:
    """How far the relay has come; None if no topic carries the log."""
    cursor.execute(_RELAY, (Lock.RELAY,))
    row = cursor.fetchone()
    if row is None:
        return None
    relayed, waiting, active = row
    return RelayHealth(
        active=active,
        position=relayed,
        behind_events=max(0, last - relayed),
        behind_seconds=age(waiting),
    )


def _public(because: str) -> str:
    """The type of the event and the class of the error, without the error's text: anyone may read it."""
    return ": ".join(because.split(": ")[:2])


def age(time: dt.datetime | None) -> float:
    """The age in seconds of the first event that a reader of the log waits for; 0 if there is none."""
    return max(0.0, (dt.datetime.now(dt.UTC) - time).total_seconds()) if time else 0.0
