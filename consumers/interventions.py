"""Interventions: an operator tells a read model that has stopped at an event to retry it, or to skip it.

Interventions are recorded permanently, in a table and as events. A skipped event stays skipped, also when
the read model is rebuilt.
"""

from __future__ import annotations

from typing import Literal

from registry.domain.events import EventRetried, EventSkipped
from registry.failures import Failure
from registry.postgres.connections import Connection, Cursor
from registry.recording.operators import ORIGIN, record_act

Action = Literal["retry", "skip"]


class NotStoppedError(Failure):
    """The read model has not stopped at the position that the operator gives."""


def intervene(connection: Connection, name: str, action: Action, position: int | None, because: str) -> int:
    """Records what the read model is to do with the event at which it has stopped; returns its position.

    Raises `NotStoppedError` when it has not stopped, or has stopped at another position, so that an operator
    skips only an event that they have seen.
    """
    with connection, connection.cursor() as cursor:
        # Lock the rows: a projector applies the event before the intervention, or sees the intervention.
        cursor.execute(
            "SELECT stopped_at, stopped_because FROM read_model_position"
            " WHERE name = %s AND stopped_at IS NOT NULL ORDER BY stopped_at FOR UPDATE",
            (name,),
        )
        stops = dict(cursor.fetchall())
        if not stops:
            raise NotStoppedError(f"{name} is not stopped at an event")
        at = min(stops) if position is None else position
        if at not in stops:
            positions = " and ".join(str(position) for position in stops)
            raise NotStoppedError(f"{name} has stopped at {positions}, not at {at}")
        if action == "skip" and stops[at].startswith(GAP):
            raise NotStoppedError(
                f"{name} lacks events before {at}, which cannot be skipped; see docs/runbooks/gap.md"
            )
        cursor.execute(
            "INSERT INTO intervention (name, position, action, because) VALUES (%s, %s, %s, %s)",
            (name, at, action, because),
        )
        kind = EventSkipped if action == "skip" else EventRetried
        record_act(cursor, kind(**ORIGIN, read_model=name, at_position=at, reason=because))
        return at


GAP = "gap: "
"""The beginning of the reason where events are missing."""


def skipped_positions(cursor: Cursor, name: str) -> frozenset[int]:
    """The positions of the events that the read model skips."""
    cursor.execute("SELECT position FROM intervention WHERE name = %s AND action = 'skip'", (name,))
    return frozenset(position for (position,) in cursor.fetchall())


def last_intervention(cursor: Cursor, name: str) -> int | None:
    cursor.execute("SELECT max(id) FROM intervention WHERE name = %s", (name,))
    last: int | None
    (last,) = cursor.fetchone() or (None,)
    return last
