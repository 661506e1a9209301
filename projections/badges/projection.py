"""Badges: their status for anyone, and the lists of a learner, an institution and a module."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, assert_never

import msgspec

from projections.read_model import Condition
from projections.tables import BigInt, Date, Integer, Row, Text, Timestamp, Uuid, columns, copy, names
from registry.domain.badge import Status, status
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
    Level,
    StudyLoad,
    badge_fact,
    canonical,
)
from registry.postgres.connections import Cursor


class StatusRow(Row, frozen=True):
    """The columns of a badge that anyone may know."""

    TABLE = "badge_status"
    id: Uuid
    institution: Text
    last_position: BigInt
    valid_until: Date | None
    active_since: Timestamp
    suspended_since: Timestamp | None
    revoked_since: Timestamp | None

    def status(self, at: dt.datetime) -> tuple[Status, dt.datetime]:
        return status(
            at,
            revoked_since=self.revoked_since,
            suspended_since=self.suspended_since,
            valid_until=self.valid_until,
            active_since=self.active_since,
        )


class BadgeRow(StatusRow, frozen=True):
    TABLE = "badge"
    award_position: BigInt
    learner_id: Uuid
    module_id: Uuid
    module_version: Integer
    module: Text
    awarded_on: Date
    supersedes: Uuid | None
    ever_suspended: Annotated[bool, "bool"] = False
    suspended_for: Text | None = None
    revoked_for: Text | None = None
    effective_on: Date | None = None


TABLES = f"""
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
    ever_suspended boolean NOT NULL,
    revoked_since timestamptz,
    revoked_for text,
    effective_on date
);
COMMENT ON COLUMN badge.module IS 'JSON: the short fields of the module as on the award';
CREATE INDEX badge_of_learner ON badge (learner_id, award_position DESC);
CREATE INDEX badge_of_institution ON badge (institution, award_position DESC);
CREATE INDEX badge_of_module ON badge (module_id, award_position DESC);
CREATE INDEX badge_revoked ON badge (institution, award_position DESC) WHERE revoked_since IS NOT NULL;
CREATE INDEX badge_revoked_of_module ON badge (module_id, award_position DESC)
    WHERE revoked_since IS NOT NULL;
CREATE INDEX badge_suspended ON badge (institution, award_position DESC) WHERE ever_suspended;
CREATE INDEX badge_suspended_of_module ON badge (module_id, award_position DESC) WHERE ever_suspended;
CREATE INDEX badge_expiring ON badge (institution, valid_until) WHERE valid_until IS NOT NULL;
CREATE INDEX badge_expiring_of_module ON badge (module_id, valid_until) WHERE valid_until IS NOT NULL;
CREATE INDEX badge_by_day ON badge (institution, awarded_on);
CREATE INDEX badge_by_day_of_module ON badge (module_id, awarded_on);

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
    SELECT {names(StatusRow)}
    FROM badge;
GRANT SELECT ON badge_status TO registry_read;
"""


class ModuleOnAward(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The short fields of a module, as the award states them."""

    name: str
    study_load: Any
    level: Any


class Folded(NamedTuple):
    """The changes of a batch to badges, by id."""

    awarded: dict[str, BadgeRow]
    """The rows of the badges that were awarded in the batch."""
    changed: dict[str, dict[str, Any]]
    """The columns that change in badges that were awarded before it."""


class Badges:
    name = "badges"
    version = 2
    order: Literal["by key", "total"] = "by key"
    handles: tuple[str, ...] = ("badge.",)
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        """Folds the batch per badge in memory; then one COPY of new rows, and one update a kind of change."""
        batch = folded(events)
        if batch.awarded:
            # PostgreSQL cannot COPY into a table with row-level security: use a temporary table.
            cursor.execute(
                "CREATE TEMPORARY TABLE IF NOT EXISTS new_badge (LIKE badge) ON COMMIT DELETE ROWS"
            )
            copy(cursor, list(batch.awarded.values()), "new_badge")
            cursor.execute("INSERT INTO badge SELECT * FROM new_badge")
        if batch.changed:
            _update_all(cursor, batch.changed)

    def touched(self, events: Sequence[Event]) -> dict[str, Condition]:
        return {"badge": ("id = ANY(%s::uuid[])", [[event.originator_id for event in events]])}


def folded(events: Sequence[Event]) -> Folded:
    """The changes of these events to badges: to those that they award, and to earlier ones."""
    batch = Folded({}, {})
    for event in events:
        fact, badge_id = badge_fact(event), event.originator_id
        if isinstance(fact, BadgeAwarded):
            batch.awarded[badge_id] = _row(event, fact)
            continue
        changes: dict[str, Any] = {"last_position": event.position}
        match fact:
            case BadgeCorrected():
                pass
            case BadgeSuspended():
                changes |= {
                    "suspended_since": event.time,
                    "suspended_for": fact.reason,
                    "ever_suspended": True,
                }
            case BadgeReinstated():
                changes |= {"suspended_since": None, "suspended_for": None, "active_since": event.time}
            case BadgeRevoked():
                changes |= {
                    "revoked_since": event.time,
                    "revoked_for": fact.reason,
                    "effective_on": fact.effective_on,
                }
            case _:
                assert_never(fact)
        if badge_id in batch.awarded:
            batch.awarded[badge_id] = msgspec.structs.replace(batch.awarded[badge_id], **changes)
        else:
            batch.changed.setdefault(badge_id, {}).update(changes)
    return batch


def _row(event: Event, fact: BadgeAwarded) -> BadgeRow:
    return BadgeRow(
        id=event.originator_id,
        institution=fact.institution,
        last_position=event.position,
        valid_until=fact.valid_until,
        active_since=event.recorded_at,
        suspended_since=None,
        revoked_since=None,
        award_position=event.position,
        learner_id=fact.learner_id,
        module_id=fact.module_id,
        module_version=fact.module_version,
        module=_module(fact.module_name, fact.study_load, fact.level),
        awarded_on=fact.awarded_on,
        supersedes=fact.supersedes,
    )


@functools.lru_cache(maxsize=1_000)
def _module(name: str, study_load: StudyLoad | None, level: Level | None) -> str:
    return canonical(ModuleOnAward(name, study_load, level)).decode()


def _update_all(cursor: Cursor, changed: Mapping[str, Mapping[str, Any]]) -> None:
    """Updates badges by the set of columns that change; locks all in the order of their ids first."""
    cursor.execute("SELECT FROM badge WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE", (list(changed),))
    by_columns: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for badge_id, changes in changed.items():
        by_columns.setdefault(tuple(changes), {})[badge_id] = changes
    for changing, changes_by_id in by_columns.items():
        _update(cursor, changing, changes_by_id)


def _update(cursor: Cursor, changing: Sequence[str], changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Updates the same columns of many badges in one statement."""
    kinds = columns(BadgeRow)
    arrays = ", ".join(["%s::uuid[]", *(f"%s::{kinds[name]}[]" for name in changing)])
    assignments = ", ".join(f"{name} = new.{name}" for name in changing)
    values = [[change[name] for change in changes.values()] for name in changing]
    cursor.execute(
        f"UPDATE badge b SET {assignments} FROM unnest({arrays}) AS new (id, {', '.join(changing)})"
        " WHERE b.id = new.id RETURNING b.id",
        (list(changes), *values),
    )
    if missing := set(changes) - {badge_id for (badge_id,) in cursor.fetchall()}:
        raise LookupError(f"badge {min(missing)} was never awarded")
