"""Health: whether the service is alive and ready, and how far behind each read model is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.http.problems import NotReady
from api.http.reading import reading_of
from api.http.responses import Readiness, ReadModelHealth, answered
from registry.event_store.log import last_position
from registry.postgres.connections import Cursor
from registry.postgres.disk_space import NoRoomError
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


@dataclass(frozen=True)
class Operations:
    """Whether the disk has room, and whether the threads that record and that project run."""

    has_room: Callable[[], bool]
    records: Callable[[], bool]
    projects: Callable[[], bool]


def operations_of(request: Request) -> Operations:
    operations: Operations = request.app.state.operations
    return operations


@router.get("/health/live")
async def live() -> Response:
    """Runs on the event loop, so it answers even while every thread waits for PostgreSQL."""
    return Response('{"status":"live"}', media_type="application/json")


@router.get("/health/ready")
def ready(request: Request) -> Response:
    """503 if PostgreSQL does not answer or its disk is full (see `api.http.problems.unavailable`)."""
    with reading_of(request).pool.cursor() as cursor:
        last, models = read_health(cursor)
    operations = operations_of(request)
    if not operations.has_room():
        raise NoRoomError("the disk is full")
    if not operations.records():
        raise NotReady("A thread that records has ended, or does not finish; restart the service.")
    if not operations.projects():
        raise NotReady("A thread that keeps the read models up to date has ended; restart the service.")
    stopped = any(model.stopped_at is not None for model in models)
    status = "degraded" if stopped else "ready"
    return answered(Readiness(status=status, release=RELEASE, position=last, read_models=models))


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


def _public(because: str) -> str:
    """The type of the event and the class of the error, without the error's text: anyone may read it."""
    return ": ".join(because.split(": ")[:2])


def age(time: dt.datetime | None) -> float:
    """The age in seconds of the first event that a read model waits for; 0 if there is none."""
    return max(0.0, (dt.datetime.now(dt.UTC) - time).total_seconds()) if time else 0.0
