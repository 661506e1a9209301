"""How far a read model has come: its position on each partition, kept in the transaction of its rows.

The log has one partition, or as many as the topic that carries it: `registry.kafka.records`. A read model at
position N on a partition holds every event of that partition through N; the log through N where all
its partitions have come so far.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventsourcing.persistence import IntegrityError, Tracking, TrackingRecorder

from registry.postgres.connections import Cursor, Pool


class OvertakenError(IntegrityError):
    """Another projector has moved this read model; nothing of this batch was applied."""


def source_of(partition: int) -> str:
    """The name under which the position on a partition is kept: `log`, as when there was but one, `log/1`."""
    return f"log/{partition}" if partition else "log"


def positions_of(cursor: Cursor, name: str, *, lock: bool = False) -> dict[int, int]:
    """The position on each partition; empty for a read model that is not there.

    `lock` holds whoever moves them until the caller's transaction ends.
    """
    cursor.execute(
        "SELECT source, position FROM read_model_position WHERE name = %s ORDER BY source"
        + (" FOR UPDATE" if lock else ""),
        (name,),
    )
    return {int(source.partition("/")[2] or 0): position for source, position in cursor.fetchall()}


def set_positions(cursor: Cursor, name: str, positions: Mapping[int, int]) -> None:
    """Puts these in the place of all that are there."""
    cursor.execute("DELETE FROM read_model_position WHERE name = %s", (name,))
    for partition, position in positions.items():
        cursor.execute(
            "INSERT INTO read_model_position (name, source, position) VALUES (%s, %s, %s)",
            (name, source_of(partition), position),
        )


def recorded_partitions(cursor: Cursor) -> int | None:
    """Into how many partitions the log is divided; None while no topic carries it, and there is but one."""
    cursor.execute("SELECT partitions FROM stream")
    found = cursor.fetchone()
    return found[0] if found else None


def advance(cursor: Cursor, name: str, at: Mapping[int, int], to: Mapping[int, int], partitions: int) -> None:
    """Moves positions by compare-and-set, in the caller's transaction; what stopped them is over.

    Raises `OvertakenError` when one of them is no longer what `at` says, or the log is no longer divided
    into so many partitions.
    """
    cursor.execute(
        "UPDATE read_model_position p SET position = held.new, stopped_at = NULL, stopped_because = NULL"
        # In the order in which everyone locks them, so that nobody waits for who waits for them.
        " FROM (SELECT r.source, m.new FROM read_model_position r"
        " JOIN unnest(%s, %s, %s) AS m (source, old, new) USING (source)"
        " WHERE r.name = %s AND r.position = m.old ORDER BY r.source FOR UPDATE OF r) AS held"
        " WHERE p.name = %s AND p.source = held.source"
        " AND (SELECT count(*) FROM read_model_position WHERE name = %s) = %s",
        (
            [source_of(each) for each in to],
            [at[each] for each in to],
            list(to.values()),
            *(name, name, name, partitions),
        ),
    )
    if cursor.rowcount != len(to):
        raise OvertakenError(f"{name} is no longer at {dict(at)} of {partitions} partitions")


class PositionRecorder(TrackingRecorder):
    """The library's view of one read model's positions; an application's name is the source."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool, self._name = pool, name

    def insert_tracking(self, tracking: Tracking) -> None:
        with self._pool.cursor() as cursor:
            cursor.execute(
                "INSERT INTO read_model_position AS p (name, source, position) VALUES (%s, %s, %s)"
                " ON CONFLICT (name, source) DO UPDATE SET position = excluded.position"
                " WHERE p.position < excluded.position",
                (self._name, tracking.application_name, tracking.notification_id),
            )
            if cursor.rowcount != 1:
                raise OvertakenError(f"{self._name} has passed position {tracking.notification_id}")

    def max_tracking_id(self, application_name: str) -> int | None:
        with self._pool.cursor() as cursor:
            cursor.execute(
                "SELECT position FROM read_model_position WHERE name = %s AND source = %s",
                (self._name, application_name),
            )
            found = cursor.fetchone()
            return found[0] if found else None
