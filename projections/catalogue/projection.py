"""The public catalogue: institutions, and modules with all their versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from registry.domain.events import (
    Event,
    Fact,
    InstitutionAdmitted,
    InstitutionChanged,
    InstitutionExempted,
    InstitutionReinstated,
    InstitutionSuspended,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    canonical,
)
from registry.postgres.connections import Cursor

TABLES = """
CREATE TABLE institution (
    brin text PRIMARY KEY,
    name text NOT NULL,
    name_en text,
    kind text NOT NULL,
    schac_home text,
    admitted_from date NOT NULL,
    admitted_until date,
    suspended_since timestamptz,
    suspended_for text,
    last_position bigint NOT NULL
);
CREATE TABLE module (
    id uuid PRIMARY KEY,
    position bigint NOT NULL,
    institution text NOT NULL,
    reference text NOT NULL,
    latest integer NOT NULL,
    withdrawn_from date,
    last_position bigint NOT NULL
);
-- By the hash alone, since an import's reference is longer than an index holds. No constraint: the id
-- follows from institution and reference, so that these are as unique as it is.
CREATE INDEX module_by_reference ON module USING hash (reference);
CREATE INDEX module_by_position ON module (position);
CREATE INDEX module_of_institution ON module (institution, position);
CREATE TABLE module_version (
    module_id uuid,
    version integer,
    content_hash text NOT NULL,
    content text NOT NULL,
    registered_at timestamptz NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (module_id, version)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON institution, module, module_version TO registry_project;
GRANT SELECT ON institution, module, module_version TO registry_read;
"""


class Catalogue:
    name = "catalogue"
    version = 2
    order: Literal["by key", "total"] = "by key"
    takes: tuple[str, ...] = ("institution.", "module.")
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        for event in events:
            _apply(cursor, event, event.data)


def _apply(cursor: Cursor, event: Event, fact: Fact) -> None:
    match fact:
        case InstitutionAdmitted() | InstitutionChanged():
            _put_institution(cursor, event, fact)
        case InstitutionSuspended():
            _change(cursor, "institution", event, suspended_since=event.time, suspended_for=fact.reason)
        case InstitutionReinstated():
            _change(cursor, "institution", event, suspended_since=None, suspended_for=None)
        case InstitutionExempted():
            _change(cursor, "institution", event)
        case ModuleRegistered():
            cursor.execute(
                "INSERT INTO module (id, position, institution, reference, latest, last_position)"
                " VALUES (%s, %s, %s, %s, 1, %s)",
                (event.originator_id, event.position, fact.institution, fact.reference, event.position),
            )
            _add_version(cursor, event, fact)
        case ModuleRevised():
            _change(cursor, "module", event, latest=fact.version)
            _add_version(cursor, event, fact)
        case ModuleWithdrawn():
            _change(cursor, "module", event, withdrawn_from=fact.from_)
        case _:
            raise AssertionError(f"{fact.TYPE} is not projected into the catalogue")


def _put_institution(cursor: Cursor, event: Event, fact: InstitutionAdmitted | InstitutionChanged) -> None:
    cursor.execute(
        "INSERT INTO institution"
        " (brin, name, name_en, kind, schac_home, admitted_from, admitted_until, last_position)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (brin) DO UPDATE SET name = excluded.name, name_en = excluded.name_en,"
        " kind = excluded.kind, schac_home = excluded.schac_home, admitted_from = excluded.admitted_from,"
        " admitted_until = excluded.admitted_until, last_position = excluded.last_position",
        (
            event.originator_id,
            fact.name,
            fact.name_en,
            fact.kind,
            fact.schac_home,
            fact.admitted_from,
            fact.admitted_until,
            event.position,
        ),
    )


def _add_version(cursor: Cursor, event: Event, fact: ModuleRegistered | ModuleRevised) -> None:
    cursor.execute(
        "INSERT INTO module_version (module_id, version, content_hash, content, registered_at, position)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (
            event.originator_id,
            fact.version,
            fact.content_hash,
            canonical(fact.content).decode(),
            event.time,
            event.position,
        ),
    )


def _change(cursor: Cursor, table: Literal["institution", "module"], event: Event, **values: Any) -> None:
    changed = {**values, "last_position": event.position}
    assignments = ", ".join(f"{name} = %s" for name in changed)
    key = "brin" if table == "institution" else "id"
    cursor.execute(
        f"UPDATE {table} SET {assignments} WHERE {key} = %s", (*changed.values(), event.originator_id)
    )
    if cursor.rowcount != 1:
        raise LookupError(f"{table} {event.originator_id} is not in the catalogue")
