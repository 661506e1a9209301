"""Badges as they are looked up: one for anyone, or those of a learner, an institution or a module."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import msgspec

from projections.badges.projection import BadgeRow, ModuleOnAward, StatusRow, folded
from projections.read_model import Asker
from projections.tables import columns, names
from registry.domain.badge import Status
from registry.domain.events import Event, MisplacedEventError, UnknownEventError
from registry.domain.values import day_in_amsterdam
from registry.event_store.log import LoggedEvent, read_streams
from registry.postgres.connections import Cursor


@dataclass(frozen=True)
class Filter:
    """Which badges of a list are wanted; `badge_id` stands for a reference."""

    badge_id: str | None = None
    status: Status | None = None
    awarded_from: dt.date | None = None
    awarded_until: dt.date | None = None


def module_on_award(row: BadgeRow) -> ModuleOnAward:
    return msgspec.json.decode(row.module, type=ModuleOnAward)


def rows_after(events: Sequence[Event]) -> dict[str, BadgeRow]:
    """The rows that whole streams of badges come to, by badge id."""
    return folded(events).awarded


class RecordedStatus(NamedTuple):
    """A badge's row as the read model holds it, and the badge's events that the log holds beyond it."""

    row: StatusRow | None
    beyond: list[LoggedEvent]

    def row_now(self) -> StatusRow | None:
        """The row after those events; None if the id is not that of a badge.

        Raises an error of `UNREADABLE` where this release cannot read one of them.
        """
        after = folded([logged.event() for logged in self.beyond])
        if self.row is None:
            return next(iter(after.awarded.values()), None)
        changes = after.changed.get(self.row.id, {})
        shown = {name: value for name, value in changes.items() if name in columns(StatusRow)}
        return msgspec.structs.replace(self.row, **shown)


UNREADABLE = (UnknownEventError, MisplacedEventError, msgspec.DecodeError)

# One statement sees the rows and the log at one moment, so a status is true however far behind the read
# model is. An event that an operator told the read model to skip stays without effect.
_STATUSES = f"""
SELECT asked.id, {names(StatusRow, "b")},
    e.position, e.version, e.type, e.schema_version, e.time, e.data
FROM unnest(string_to_array(%s, ' ')) AS asked(id)
LEFT JOIN badge_status b ON b.id = asked.id::uuid
LEFT JOIN event e ON e.subject = asked.id AND e.position > coalesce(b.last_position, 0)
    AND starts_with(e.type, 'badge.')
    AND NOT EXISTS (
        SELECT FROM intervention i WHERE i.name = 'badges' AND i.action = 'skip' AND i.position = e.position
    )
ORDER BY asked.id, e.version
"""


def read_statuses(cursor: Cursor, badge_ids: Iterable[str]) -> dict[str, RecordedStatus]:
    """The status of any badges, for anyone: nothing about the learner or the reason."""
    cursor.execute(_STATUSES, (" ".join(badge_ids),))
    found: dict[str, RecordedStatus] = {}
    width = 1 + len(columns(StatusRow))
    for badge_id, *values in cursor.fetchall():
        row, event = values[: width - 1], values[width - 1 :]
        recorded = found.setdefault(badge_id, RecordedStatus(None if row[0] is None else StatusRow(*row), []))
        if event[0] is not None:
            position, version, kind, schema_version, time, data = event
            logged = LoggedEvent(position, badge_id, version, kind, schema_version, time, bytes(data))
            recorded.beyond.append(logged)
    return found


def read_badge(cursor: Cursor, asker: Asker, badge_id: str) -> BadgeRow | None:
    """A badge; None also where the asker may not see it."""
    return next(iter(_select(cursor, asker, "id = %s", [badge_id], 1)), None)


Owner = Literal["learner_id", "institution", "module_id"]


def list_badges(
    cursor: Cursor,
    asker: Asker,
    owned: tuple[Owner, str],
    wanted: Filter,
    now: dt.datetime,
    before: int,
    limit: int,
) -> list[BadgeRow]:
    """Newest award first, from below position `before`: those of the owner that the asker may see."""
    owner, of = owned
    conditions, values = [f"{owner} = %s", "award_position < %s"], [of, before]  # type: tuple[list[str], list[object]]
    if wanted.badge_id is not None:
        conditions.append("id = %s")
        values.append(wanted.badge_id)
    if wanted.awarded_from is not None:
        conditions.append("awarded_on >= %s")
        values.append(wanted.awarded_from)
    if wanted.awarded_until is not None:
        conditions.append("awarded_on <= %s")
        values.append(wanted.awarded_until)
    if wanted.status is not None:
        conditions.append(_STATUS_CONDITIONS[wanted.status])
        if wanted.status in ("expired", "active"):
            values.append(_last_expired_day(now))
    return _select(cursor, asker, " AND ".join(conditions), values, limit)


def list_badges_as_of(
    cursor: Cursor,
    asker: Asker,
    owned: tuple[Owner, str],
    wanted: Filter,
    time: dt.datetime,
    before: int,
    until: int,
    limit: int,
) -> tuple[list[BadgeRow], int | None]:
    """The same, as recorded through position `until`: columns that never change filter, the rest is folded.

    Also returns the position below which the list goes on, None at the end: where few of many badges have
    the status, a page may hold fewer rows than `limit`, or none.
    """
    unchanging = replace(wanted, status=None)
    page = list_badges(cursor, asker, owned, unchanging, time, before, limit + 1)
    shown = page[:limit]
    logged = read_streams(cursor, [row.id for row in shown], until)
    then = rows_after([event.event() for event in logged])
    rows = [then[row.id] for row in shown]
    matching = [row for row in rows if wanted.status in (None, row.status(time)[0])]
    return matching, shown[-1].award_position if len(page) > limit else None


_STATUS_CONDITIONS: dict[Status, str] = {
    "revoked": "revoked_since IS NOT NULL",
    "suspended": "revoked_since IS NULL AND suspended_since IS NOT NULL",
    "expired": "revoked_since IS NULL AND suspended_since IS NULL AND valid_until <= %s",
    "active": "revoked_since IS NULL AND suspended_since IS NULL"
    " AND (valid_until IS NULL OR NOT valid_until <= %s)",
}


def _last_expired_day(now: dt.datetime) -> dt.date:
    """The last `validUntil` that has passed at `now`, as `status` has it: yesterday in Amsterdam."""
    return day_in_amsterdam(now) - dt.timedelta(days=1)


_ASKER_CONDITIONS = {"auditor": "true", "institution": "institution = %s", "learner": "learner_id = %s"}


def _select(
    cursor: Cursor, asker: Asker, condition: str, values: Sequence[object], limit: int
) -> list[BadgeRow]:
    """The query checks the tenant, and the row-level security of the transaction checks it again."""
    kind, _, name = asker.partition("/")
    tenant = _ASKER_CONDITIONS[kind]
    cursor.execute(
        f"SELECT {names(BadgeRow)} FROM badge WHERE {tenant} AND {condition}"
        " ORDER BY award_position DESC LIMIT %s",
        (*([name] if name else []), *values, limit),
    )
    return [BadgeRow(*row) for row in cursor.fetchall()]
