"""How far a read model has come: its position in the log, kept in the transaction of its rows."""

from __future__ import annotations

from eventsourcing.persistence import IntegrityError, Tracking, TrackingRecorder

from registry.postgres import Cursor, Pool


class OvertakenError(IntegrityError):
    """Another projector has moved this read model; nothing of this batch was applied."""


def advance(cursor: Cursor, name: str, source: str, after: int | None, position: int) -> None:
    """Moves the position by compare-and-set, in the caller's transaction.

    `source` is the feed's partition (the log itself is `log`). Raises `OvertakenError` when the position
    is not `after` any more (None: not there yet).
    """
    if after is None:
        cursor.execute(
            "INSERT INTO read_model_position (name, source, position) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (name, source, position),
        )
    else:
        cursor.execute(
            "UPDATE read_model_position SET position = %s WHERE name = %s AND source = %s AND position = %s",
            (position, name, source, after),
        )
    if cursor.rowcount != 1:
        raise OvertakenError(f"{name} is no longer at position {after}")


def position_of(cursor: Cursor, name: str, source: str) -> int | None:
    """The last position applied, None before the first."""
    cursor.execute("SELECT position FROM read_model_position WHERE name = %s AND source = %s", (name, source))
    found = cursor.fetchone()
    return found[0] if found else None


class PositionRecorder(TrackingRecorder):
    """The library's view of one read model's positions; an application's name is the source."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool, self._name = pool, name

    def insert_tracking(self, tracking: Tracking) -> None:
        with self._pool.transaction() as cursor:
            before = position_of(cursor, self._name, tracking.application_name)
            if before is not None and before >= tracking.notification_id:
                raise OvertakenError(f"{self._name} is at position {before} already")
            advance(cursor, self._name, tracking.application_name, before, tracking.notification_id)

    def max_tracking_id(self, application_name: str) -> int | None:
        with self._pool.cursor() as cursor:
            return position_of(cursor, self._name, application_name)
