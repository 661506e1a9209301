"""How far a read model has come: its position on each partition, kept in the transaction of its rows.

The log has one partition, or as many as the topic that carries it (`registry.kafka.records`). A read model at
position N on a partition holds every event of that partition through N. It holds the log through N where it
is at N or beyond on all partitions.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventsourcing.persistence import IntegrityError, Tracking, TrackingRecorder

from registry.postgres.connections import Cursor, Pool


class OvertakenError(IntegrityError):
    """Another projector has moved this read model; nothing of this page was applied."""


def source_of(partition: int) -> str:
    """The name under which the position on a partition is kept: `log` for the first, `log/1` and so on."""
    return f"log/{partition}" if partition else "log"


def positions_of(cursor: Cursor, name: str, *, lock: bool = False) -> dict[int, int]:
    """The position on each partition; empty for a read model that does not exist.

    `lock` makes everyone who would move the positions wait until the caller's transaction ends.
    """
    cursor.execute(
        "SELECT source, position FROM read_model_position WHERE name = %s ORDER BY source"
        + (" FOR UPDATE" if lock else ""),
        (name,),
    )
    return {int(source.partition("/")[2] or 0): position for source, position in cursor.fetchall()}


def set_positions(cursor: Cursor, name: str, positions: Mapping[int, int]) -> None:
    """Replaces all positions of a read model."""
    cursor.execute("DELETE FROM read_model_position WHERE name = %s", (name,))
    for partition, position in positions.items():
        cursor.execute(
            "INSERT INTO read_model_position (name, source, position) VALUES (%s, %s, %s)",
            (name, source_of(partition), position),
        )


def recorded_partitions(cursor: Cursor) -> int | None:
    """The number of partitions of the log; None while no topic carries it and there is only one."""
    cursor.execute("SELECT partitions FROM stream")
    row = cursor.fetchone()
    return row[0] if row else None


def advance(cursor: Cursor, name: str, at: Mapping[int, int], to: Mapping[int, int], partitions: int) -> None:
    """Moves positions by compare-and-set, in the caller's transaction, and clears what had stopped them.

    Raises `OvertakenError` when a position is not the one in `at` any more, or the log has another number of
    partitions.
    """
    cursor.execute(
        "UPDATE read_model_position p SET position = held.new, stopped_at = NULL, stopped_because = NULL"
        # Everyone locks the rows in the same order: this avoids deadlocks.
        " FROM (SELECT r.source, m.new FROM read_model_position r"
        " JOIN unnest(%s, %s, %s) AS m (source, old, new) USING (source)"
        " WHERE r.name = %s AND r.position = m.old ORDER BY r.source FOR UPDATE OF r) AS held"
        " WHERE p.name = %s AND p.source = held.source"
        " AND (SELECT count(*) FROM read_model_position WHERE name = %s) = %s",
        (
            [source_of(partition) for partition in to],
            [at[partition] for partition in to],
            list(to.values()),
            *(name, name, name, partitions),
        ),
    )
    if cursor.rowcount != len(to):
        raise OvertakenError(f"{name} has moved from {dict(at)} of {partitions} partitions")


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
            row = cursor.fetchone()
            return row[0] if row else None
