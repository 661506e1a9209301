"""What an operator told a read model that has stopped at an event: to try it again, or to pass over it.

Each is recorded for ever. A skipped event stays skipped, also when the read model is rebuilt.
"""

from __future__ import annotations

from typing import Literal

from registry.postgres.connections import Connection, Cursor

Action = Literal["retry", "skip"]


class NotStoppedError(Exception):
    """The read model has not stopped where the operator says."""


def intervene(connection: Connection, name: str, action: Action, position: int | None, because: str) -> int:
    """Records what the read model is to do with the event that it has stopped at; answers its position.

    Raises `NotStoppedError` when it has not stopped, or at another position; so that what is skipped is
    what the operator has seen.
    """
    with connection, connection.cursor() as cursor:
        # Held until it is recorded: a projector applies the event before, or knows of it.
        cursor.execute(
            "SELECT stopped_at, stopped_because FROM read_model_position"
            " WHERE name = %s AND stopped_at IS NOT NULL ORDER BY stopped_at FOR UPDATE",
            (name,),
        )
        stops = dict(cursor.fetchall())
        if not stops:
            raise NotStoppedError(f"{name} has not stopped at an event")
        at = min(stops) if position is None else position
        if at not in stops:
            stands = " and ".join(str(each) for each in stops)
            raise NotStoppedError(f"{name} has stopped at {stands}, not at {at}")
        if action == "skip" and stops[at].startswith(GAP):
            raise NotStoppedError(
                f"{name} misses events before {at}: that cannot be skipped; see docs/runbooks/gap.md"
            )
        cursor.execute(
            "INSERT INTO intervention (name, position, action, because) VALUES (%s, %s, %s, %s)",
            (name, at, action, because),
        )
        return at


GAP = "gap: "
"""So the reason begins where events are missing."""


def skipped(cursor: Cursor, name: str) -> frozenset[int]:
    """The positions that the read model passes over."""
    cursor.execute("SELECT position FROM intervention WHERE name = %s AND action = 'skip'", (name,))
    return frozenset(position for (position,) in cursor.fetchall())


def last_intervention(cursor: Cursor, name: str) -> int | None:
    cursor.execute("SELECT max(id) FROM intervention WHERE name = %s", (name,))
    last: int | None
    (last,) = cursor.fetchone() or (None,)
    return last
