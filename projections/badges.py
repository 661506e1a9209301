"""Badges: their status for anyone, and the lists of a learner, an institution and a module."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import msgspec

from projections.read_model import Asker
from registry.domain.badge import Status, status
from registry.domain.values import day_in_amsterdam
from registry.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
    Level,
    StudyLoad,
    canonical,
)
from registry.feed import read_streams
from registry.postgres import Cursor, copy_rows

TABLES = """
CREATE TABLE badge (
    id uuid PRIMARY KEY,
    award_position bigint NOT NULL,
    last_position bigint NOT NULL,
    learner_id uuid NOT NULL,
    institution text NOT NULL,
    module_id uuid NOT NULL,
    module_version integer NOT NULL,
    module text NOT NULL,
    awarded_on date NOT NULL,
    valid_until date,
    supersedes uuid,
    active_since timestamptz NOT NULL,
    suspended_since timestamptz,
    suspended_for text,
    revoked_since timestamptz,
    revoked_for text,
    effective_on date
);
COMMENT ON COLUMN badge.module IS 'JSON: the short fields of the module as on the award';
CREATE INDEX badge_of_learner ON badge (learner_id, award_position DESC);
CREATE INDEX badge_of_institution ON badge (institution, award_position DESC);
CREATE INDEX badge_of_module ON badge (module_id, award_position DESC);
CREATE INDEX badge_revoked ON badge (institution, award_position DESC) WHERE revoked_since IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON badge TO registry_project;
GRANT SELECT ON badge TO registry_read;
ALTER TABLE badge ENABLE ROW LEVEL SECURITY;
CREATE POLICY projector ON badge TO registry_project USING (true) WITH CHECK (true);
CREATE POLICY asker ON badge FOR SELECT TO registry_read USING (
    current_setting('registry.asker', true)
        IN ('auditor', 'institution/' || institution, 'learner/' || learner_id)
);

-- What anyone may know of any badge. A view reads as its owner, past the row-level security.
CREATE VIEW badge_status AS
    SELECT id, institution, last_position, valid_until, active_since, suspended_since, revoked_since
    FROM badge;
GRANT SELECT ON badge_status TO registry_read;
"""

_COLUMNS = {
    "id": "uuid",
    "award_position": "int8",
    "last_position": "int8",
    "learner_id": "uuid",
    "institution": "text",
    "module_id": "uuid",
    "module_version": "int4",
    "module": "text",
    "awarded_on": "date",
    "valid_until": "date",
    "supersedes": "uuid",
    "active_since": "timestamptz",
    "suspended_since": "timestamptz",
    "suspended_for": "text",
    "revoked_since": "timestamptz",
    "revoked_for": "text",
    "effective_on": "date",
}
_CHANGING = (
    "last_position",
    "active_since",
    "suspended_since",
    "suspended_for",
    "revoked_since",
    "revoked_for",
    "effective_on",
)


class ModuleOnAward(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The short fields of a module, as the award states them."""

    name: str
    study_load: Any
    level: Any


Row = dict[str, Any]


class _Batch(NamedTuple):
    """What a batch makes of badges, by id: the rows of those awarded in it, what changes in others."""

    new: dict[str, Row]
    later: dict[str, Row]


class Badges:
    name = "badges"
    version = 1
    order: Literal["by key", "total"] = "by key"
    takes: tuple[str, ...] = ("badge.",)
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        """Folds the batch per badge in memory; then one COPY of new rows, and an update per other badge."""
        batch = _fold(events)
        if batch.new:
            # COPY goes not into a table with row-level security: through a table of the session.
            cursor.execute(
                "CREATE TEMPORARY TABLE IF NOT EXISTS new_badge (LIKE badge) ON COMMIT DELETE ROWS"
            )
            copy_rows(cursor, "new_badge", _COLUMNS, [row.values() for row in batch.new.values()])
            cursor.execute("INSERT INTO badge SELECT * FROM new_badge")
        for badge_id in sorted(batch.later):
            _update(cursor, badge_id, batch.later[badge_id])


def _fold(events: Sequence[Event]) -> _Batch:
    batch = _Batch({}, {})
    for event in events:
        fact = event.data
        if isinstance(fact, BadgeAwarded):
            batch.new[event.originator_id] = _row(event, fact)
        elif isinstance(fact, BadgeFact):
            row = batch.new.get(event.originator_id)
            if row is None:
                row = batch.later.setdefault(event.originator_id, {})
            row |= _changed(event, fact)
    return batch


def _changed(event: Event, fact: BadgeFact) -> Row:
    match fact:
        case BadgeCorrected():
            changed: Row = {}
        case BadgeSuspended():
            changed = {"suspended_since": event.time, "suspended_for": fact.reason}
        case BadgeReinstated():
            changed = {"suspended_since": None, "suspended_for": None, "active_since": event.time}
        case BadgeRevoked():
            changed = {
                "revoked_since": event.time,
                "revoked_for": fact.reason,
                "effective_on": fact.effective_on,
            }
        case _:
            raise AssertionError(f"{fact.TYPE} changes no badge")
    return {**changed, "last_position": event.position}


def _row(event: Event, fact: BadgeAwarded) -> Row:
    """In the order of the columns."""
    return {
        "id": event.originator_id,
        "award_position": event.position,
        "last_position": event.position,
        "learner_id": fact.learner_id,
        "institution": fact.institution,
        "module_id": fact.module_id,
        "module_version": fact.module_version,
        "module": _module(fact.module_name, fact.study_load, fact.level),
        "awarded_on": fact.awarded_on,
        "valid_until": fact.valid_until,
        "supersedes": fact.supersedes,
        "active_since": event.time,
        "suspended_since": None,
        "suspended_for": None,
        "revoked_since": None,
        "revoked_for": None,
        "effective_on": None,
    }


@functools.lru_cache(maxsize=1_000)
def _module(name: str, study_load: StudyLoad | None, level: Level | None) -> str:
    return canonical(ModuleOnAward(name, study_load, level)).decode()


def _update(cursor: Cursor, badge_id: str, later: Row) -> None:
    names = [name for name in _CHANGING if name in later]
    assignments = ", ".join(f"{name} = %s" for name in names)
    cursor.execute(
        f"UPDATE badge SET {assignments} WHERE id = %s", (*(later[name] for name in names), badge_id)
    )
    if cursor.rowcount != 1:
        raise LookupError(f"badge {badge_id} was never awarded")


# Queries.


class StatusRow(msgspec.Struct, frozen=True):
    """What anyone may know of a badge."""

    id: str
    institution: str
    last_position: int
    valid_until: dt.date | None
    active_since: dt.datetime
    suspended_since: dt.datetime | None
    revoked_since: dt.datetime | None

    def status(self, at: dt.datetime) -> tuple[Status, dt.datetime]:
        return status(
            at,
            revoked_since=self.revoked_since,
            suspended_since=self.suspended_since,
            valid_until=self.valid_until,
            active_since=self.active_since,
        )


class BadgeRow(StatusRow, frozen=True):
    award_position: int
    learner_id: str
    module_id: str
    module_version: int
    module: str
    awarded_on: dt.date
    supersedes: str | None
    suspended_for: str | None
    revoked_for: str | None
    effective_on: dt.date | None


_STATUS_COLUMNS = (
    "id::text, institution, last_position, valid_until, active_since, suspended_since, revoked_since"
)
_BADGE_COLUMNS = (
    f"{_STATUS_COLUMNS}, award_position, learner_id::text, module_id::text, module_version, module,"
    " awarded_on, supersedes::text, suspended_for, revoked_for, effective_on"
)


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
    """The rows that these events make, by badge id: the whole streams of some badges, as of a position."""
    return {badge_id: BadgeRow(**row) for badge_id, row in _fold(events).new.items()}


def read_status(cursor: Cursor, badge_id: str) -> StatusRow | None:
    """For anyone, of any badge: nothing about the learner or the reason."""
    cursor.execute(f"SELECT {_STATUS_COLUMNS} FROM badge_status WHERE id = %s", (badge_id,))
    found = cursor.fetchone()
    return StatusRow(*found) if found else None


def read_badge(cursor: Cursor, asker: Asker, badge_id: str) -> BadgeRow | None:
    """A badge that the asker may see; None also where it may not."""
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
    """The same, as recorded through position `until`: what never changes filters, the rest is folded.

    Answers also from below which position to go on, None at the end: where few of many badges have the
    status, an answer may hold fewer than `limit`, and none at all.
    """
    unchanging = replace(wanted, status=None)
    page = list_badges(cursor, asker, owned, unchanging, time, before, limit + 1)
    shown = page[:limit]
    logged = read_streams(cursor, [row.id for row in shown], until)
    then = rows_after([event.event() for event in logged])
    rows = [then[row.id] for row in shown]
    found = [row for row in rows if wanted.status in (None, row.status(time)[0])]
    return found, shown[-1].award_position if len(page) > limit else None


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
    """The tenant stands in the query, and once more in the row-level security of the transaction."""
    kind, _, who = asker.partition("/")
    tenant = _ASKER_CONDITIONS[kind]
    cursor.execute(
        f"SELECT {_BADGE_COLUMNS} FROM badge WHERE {tenant} AND {condition}"
        " ORDER BY award_position DESC LIMIT %s",
        (*([who] if who else []), *values, limit),
    )
    return [BadgeRow(*row) for row in cursor.fetchall()]
