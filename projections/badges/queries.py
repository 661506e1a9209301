"""Badges as they are looked up: one for anyone, or those of a learner, an institution or a module."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from projections.badges.projection import BadgeRow, Badges, ModuleOnAward, StatusRow, folded
from projections.read_model import Asker, select
from projections.tables import columns, names
from registry.domain.badge import Status
from registry.domain.events import Event, MisplacedEventError, UnknownEventError
from registry.domain.values import day_in_amsterdam
from registry.event_store.log import Extent, LoggedEvent, extent, extent_query, read_streams
from registry.postgres.connections import Cursor
from registry.postgres.prepared import execute_prepared


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
    """A badge's row as the read model holds it, and the badge's events that the log holds beyond it.

    `beyond` holds all of the badge's events if the row is missing or the read model skipped one of them.
    """

    row: StatusRow | None
    beyond: list[LoggedEvent]

    def row_now(self) -> StatusRow | None:
        """The row after those events; None if the id is not that of a badge.

        Raises an error of `UNREADABLE` where this release cannot read one of them.
        """
        after = folded([logged.event() for logged in self.beyond])
        if self.row is None or self.row.id in after.awarded:
            return next(iter(after.awarded.values()), None)
        changes = after.changed.get(self.row.id, {})
        shown = {name: value for name, value in changes.items() if name in columns(StatusRow)}
        return msgspec.structs.replace(self.row, **shown)


UNREADABLE = (UnknownEventError, MisplacedEventError, msgspec.DecodeError)

# One statement sees the rows and the log at one moment, so a status is true however far behind the read
# model is. Where an operator told the read model to skip an event of the badge, all of its events are read:
# a row that lacks one cannot be folded on. The events must come by the index of subjects, also before the
# tables are analysed: OFFSET 0 rules out a join with the whole log, and the subtraction a walk through all
# positions beyond the row's.
_STATUSES = f"""
SELECT held.*, asked.id, {names(StatusRow, "b")},
    e.position, e.version, e.type, e.schema_version, e.time, e.data
FROM ({extent_query("SELECT coalesce(max(position), 0) FROM event")}) AS held
CROSS JOIN unnest(string_to_array(%s, ' ')) AS asked(id)
LEFT JOIN badge_status b ON b.id = asked.id::uuid
LEFT JOIN LATERAL (
    SELECT * FROM event
    WHERE subject = asked.id AND starts_with(type, 'badge.') AND (
        position - coalesce(b.last_position, 0) > 0
        OR EXISTS (
            SELECT FROM intervention i JOIN event skipped ON skipped.position = i.position
            WHERE i.name = 'badges' AND i.action = 'skip' AND skipped.subject = asked.id
        )
    )
    OFFSET 0
) e ON true
ORDER BY asked.id, e.version
"""


_HAS_SKIP = """
SELECT EXISTS (
    SELECT FROM intervention i JOIN event e USING (position)
    WHERE i.name = 'badges' AND i.action = 'skip' AND e.subject = %s
)
"""


def has_skip(cursor: Cursor, badge_id: str) -> bool:
    """Whether the read model skipped an event of the badge, so that its row lacks it."""
    cursor.execute(_HAS_SKIP, (badge_id,))
    (skipped,) = cursor.fetchone() or (False,)
    return bool(skipped)


def read_statuses(cursor: Cursor, badge_ids: Sequence[str]) -> tuple[Extent, dict[str, RecordedStatus]]:
    """The status of any badges, at least one, for anyone: nothing about the learner or the reason."""
    execute_prepared(cursor, _STATUSES, (" ".join(badge_ids),))
    found: dict[str, RecordedStatus] = {}
    width = len(columns(StatusRow))
    rows = cursor.fetchall()
    for _, _, badge_id, *values in rows:
        row, event = values[:width], values[width:]
        recorded = found.setdefault(badge_id, RecordedStatus(None if row[0] is None else StatusRow(*row), []))
        if event[0] is not None:
            position, version, kind, schema_version, time, data = event
            logged = LoggedEvent(position, badge_id, version, kind, schema_version, time, bytes(data))
            recorded.beyond.append(logged)
    return extent(*rows[0][:2]), found


class ListedBadge(NamedTuple):
    row: BadgeRow
    sealed: bytes | None
    """The private parts of the award; None for an asker who may not see them, and after an erasure."""


def read_badge(cursor: Cursor, asker: Asker, badge_id: str) -> tuple[Extent, BadgeRow | None]:
    """A badge; None also where the asker may not see it."""
    through, found = _select(cursor, asker, ["b.id = %s"], [badge_id], 1, prepared=True)
    return through, found[0].row if found else None


def find_learner(cursor: Cursor, brin: str, alias_key: bytes) -> tuple[Extent, str | None]:
    """The learner with this alias, if the institution has awarded them a badge; `alias_key` is stated too.

    An unknown alias is looked up among the badges like a known one, so that time does not tell them apart.
    """
    through, rows = select(
        cursor,
        Badges.name,
        "SELECT b.learner_id FROM badge b WHERE b.institution = %s AND b.learner_id ="
        f" coalesce((SELECT a.learner_id FROM alias a WHERE a.key = %s), '{NOBODY}') LIMIT 1",
        (brin, alias_key),
    )
    return through, rows[0][0] if rows else None


NOBODY = "00000000-0000-0000-0000-000000000000"

OwnerColumn = Literal["learner_id", "institution", "module_id"]


MAX_LOOKED_AT = 20_000
"""Badges that a page of active ones looks at: no event says that a badge expires, so no index has it."""


def end_of_look(cursor: Cursor, owned: tuple[OwnerColumn, str], wanted: Filter, before: int) -> int:
    """The award's position at which the look for a page ends; 0 if it comes to the end of the list."""
    if wanted.status != "active":
        return 0
    conditions, values = _unchanging(owned, wanted, before, 0)
    cursor.execute(
        f"SELECT b.award_position FROM badge b WHERE {' AND '.join(conditions)}"
        " ORDER BY b.award_position DESC OFFSET %s LIMIT 1",
        [*values, MAX_LOOKED_AT - 1],
    )
    (end,) = cursor.fetchone() or (0,)
    return int(end)


def list_badges(
    cursor: Cursor,
    asker: Asker,
    owned: tuple[OwnerColumn, str],
    wanted: Filter,
    now: dt.datetime,
    before: int,
    limit: int,
    end: int = 0,
) -> tuple[Extent, list[ListedBadge]]:
    """Newest award first, from below position `before`: those of the owner that the asker may see."""
    conditions, values = _unchanging(owned, wanted, before, end)
    if wanted.status is not None:
        conditions.append(_STATUS_CONDITIONS[wanted.status])
        if wanted.status in ("expired", "active"):
            values.append(_last_expired_day(now))
    prepared = wanted == Filter()
    return _select(cursor, asker, conditions, values, limit, prepared=prepared)


def list_badges_as_of(
    cursor: Cursor,
    asker: Asker,
    owned: tuple[OwnerColumn, str],
    wanted: Filter,
    then: Extent,
    before: int,
    limit: int,
    end: int = 0,
) -> list[ListedBadge]:
    """The same as recorded by `then`, for `before` no later: the log says who had the status by then."""
    conditions, values = _unchanging(owned, wanted, before, end)
    if wanted.status is not None:
        conditions.append(_STATUS_CONDITIONS_THEN[wanted.status])
        if wanted.status in ("expired", "active"):
            values.append(_last_expired_day(then.time))
        values.append(then.position)
    _, found = _select(cursor, asker, conditions, values, limit)
    logged = read_streams(cursor, [badge.row.id for badge in found], then.position)
    rows = rows_after([event.event() for event in logged])
    return [badge._replace(row=rows[badge.row.id]) for badge in found]


def _unchanging(
    owned: tuple[OwnerColumn, str], wanted: Filter, before: int, end: int
) -> tuple[list[str], list[object]]:
    """The conditions, with their values, on columns that never change."""
    owner, of = owned
    conditions, values = [f"b.{owner} = %s", "b.award_position < %s"], [of, before]  # type: tuple[list[str], list[object]]
    if end:
        conditions.append("b.award_position >= %s")
        values.append(end)
    if wanted.badge_id is not None:
        conditions.append("b.id = %s")
        values.append(wanted.badge_id)
    if wanted.awarded_from is not None:
        conditions.append("b.awarded_on >= %s")
        values.append(wanted.awarded_from)
    if wanted.awarded_until is not None:
        conditions.append("b.awarded_on <= %s")
        values.append(wanted.awarded_until)
    return conditions, values


_STATUS_CONDITIONS: dict[Status, str] = {
    "revoked": "b.revoked_since IS NOT NULL",
    "suspended": "b.ever_suspended AND b.revoked_since IS NULL AND b.suspended_since IS NOT NULL",
    "expired": "b.revoked_since IS NULL AND b.suspended_since IS NULL AND b.valid_until <= %s",
    "active": "b.revoked_since IS NULL AND b.suspended_since IS NULL"
    " AND (b.valid_until IS NULL OR NOT b.valid_until <= %s)",
}
# The last event by a position that decides between active, suspended and revoked; NULL before the first.
_DECIDED = (
    "(SELECT e.type FROM event e WHERE e.subject = b.id::text AND e.position <= %s"
    " AND e.type IN ('badge.suspended', 'badge.reinstated', 'badge.revoked') ORDER BY e.version DESC LIMIT 1)"
)
_UNSUSPENDED = f"coalesce({_DECIDED}, 'badge.reinstated') = 'badge.reinstated'"
# The first condition of each is true of more badges than had the status then, and has an index.
_STATUS_CONDITIONS_THEN: dict[Status, str] = {
    "revoked": f"b.revoked_since IS NOT NULL AND {_DECIDED} = 'badge.revoked'",
    "suspended": f"b.ever_suspended AND {_DECIDED} = 'badge.suspended'",
    "expired": f"b.valid_until <= %s AND {_UNSUSPENDED}",
    "active": f"(b.valid_until IS NULL OR NOT b.valid_until <= %s) AND {_UNSUSPENDED}",
}


def _last_expired_day(now: dt.datetime) -> dt.date:
    """The last `validUntil` that has passed at `now`, as `status` has it: yesterday in Amsterdam."""
    return day_in_amsterdam(now) - dt.timedelta(days=1)


_BADGE = (
    f"SELECT {names(BadgeRow, 'b')}, v.sealed FROM badge b LEFT JOIN vault v ON v.position = b.award_position"
)
_ASKER_CONDITIONS = {"auditor": "true", "institution": "b.institution = %s", "learner": "b.learner_id = %s"}


def _select(
    cursor: Cursor,
    asker: Asker,
    conditions: Sequence[str],
    values: Sequence[object],
    limit: int,
    *,
    prepared: bool = False,
) -> tuple[Extent, list[ListedBadge]]:
    """The query checks the tenant, and the row-level security of the transaction checks it again."""
    kind, _, name = asker.partition("/")
    wanted = " AND ".join([_ASKER_CONDITIONS[kind], *conditions])
    query = f"{_BADGE} WHERE {wanted} ORDER BY b.award_position DESC LIMIT %s"
    values = [*([name] if name else []), *values, limit]
    through, rows = select(cursor, Badges.name, query, values, prepared=prepared)
    return through, [
        ListedBadge(BadgeRow(*row), None if sealed is None else bytes(sealed)) for *row, sealed in rows
    ]
