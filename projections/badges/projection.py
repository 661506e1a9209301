"""Badges: their status for anyone, and the lists of a learner, an institution and a module."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from registry.domain.events import (
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
from registry.postgres.binary_copy import copy_rows
from registry.postgres.connections import Cursor

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


class Folded(NamedTuple):
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
        batch = folded(events)
        if batch.new:
            # COPY goes not into a table with row-level security: through a table of the session.
            cursor.execute(
                "CREATE TEMPORARY TABLE IF NOT EXISTS new_badge (LIKE badge) ON COMMIT DELETE ROWS"
            )
            copy_rows(cursor, "new_badge", _COLUMNS, [row.values() for row in batch.new.values()])
            cursor.execute("INSERT INTO badge SELECT * FROM new_badge")
        for badge_id in sorted(batch.later):
            _update(cursor, badge_id, batch.later[badge_id])


def folded(events: Sequence[Event]) -> Folded:
    """What the events make of badges, those awarded by them and others."""
    batch = Folded({}, {})
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
