"""The public catalogue: institutions, and modules with all their versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, assert_never

from msgspec.structs import replace

from projections.read_model import Condition
from projections.tables import BigInt, Date, Integer, Row, Text, Timestamp, Uuid, columns, insert
from registry.domain.events import (
    Event,
    InstitutionAdmitted,
    InstitutionChanged,
    InstitutionExempted,
    InstitutionFact,
    InstitutionReinstated,
    InstitutionSuspended,
    MisplacedEventError,
    ModuleFact,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    Sector,
    canonical,
)
from registry.postgres.connections import Cursor


class InstitutionRow(Row, frozen=True):
    TABLE = "institution"
    brin: Text
    name: Text
    name_en: Text | None
    kind: Annotated[Sector, "text"]
    schac_home: Text | None
    admitted_from: Date
    admitted_until: Date | None
    suspended_since: Timestamp | None
    suspended_for: Text | None
    last_position: BigInt


class ModuleRow(Row, frozen=True):
    TABLE = "module"
    id: Uuid
    position: BigInt
    institution: Text
    reference: Text
    latest: Integer
    withdrawn_from: Date | None
    last_position: BigInt


class VersionRow(Row, frozen=True):
    """A version of a module; `content` is canonical JSON."""

    TABLE = "module_version"
    module_id: Uuid
    version: Integer
    content_hash: Text
    content: Text
    registered_at: Timestamp
    position: BigInt


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
CREATE INDEX module_withdrawn ON module (position) WHERE withdrawn_from IS NOT NULL;
CREATE INDEX module_withdrawn_of_institution ON module (institution, position)
    WHERE withdrawn_from IS NOT NULL;
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


# A change states every column of an institution again, except its suspension.
_RESTATED = [name for name in columns(InstitutionRow) if name not in ("suspended_since", "suspended_for")]
_RESTATE = "ON CONFLICT (brin) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _RESTATED)


class Catalogue:
    name = "catalogue"
    version = 2
    order: Literal["by key", "total"] = "by key"
    handles: tuple[str, ...] = ("institution.", "module.")
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        for event in events:
            _apply(cursor, event)

    def touched(self, events: Sequence[Event]) -> dict[str, Condition]:
        brins = [event.originator_id for event in events if isinstance(event.data, InstitutionFact)]
        modules = [event.originator_id for event in events if isinstance(event.data, ModuleFact)]
        return {
            "institution": ("brin = ANY(%s)", [brins]),
            "module": ("id = ANY(%s::uuid[])", [modules]),
            "module_version": ("module_id = ANY(%s::uuid[])", [modules]),
        }


def _apply(cursor: Cursor, event: Event) -> None:
    fact = event.data
    if not isinstance(fact, InstitutionFact | ModuleFact):
        raise MisplacedEventError(f"{fact.TYPE} is not an event of the catalogue")
    match fact:
        case InstitutionAdmitted() | InstitutionChanged():
            insert(cursor, _institution(event, fact), _RESTATE)
        case InstitutionSuspended() | InstitutionReinstated() | InstitutionExempted():
            _change(cursor, "institution", event, **_suspension(event, fact))
        case ModuleRegistered():
            insert(cursor, _module(event, fact))
            insert(cursor, _version(event, fact))
        case ModuleRevised():
            _change(cursor, "module", event, latest=fact.version)
            insert(cursor, _version(event, fact))
        case ModuleWithdrawn():
            _change(cursor, "module", event, withdrawn_from=fact.from_)
        case _:
            assert_never(fact)


def institution_after(row: InstitutionRow | None, event: Event, fact: InstitutionFact) -> InstitutionRow:
    """The row of an institution after its event; `row` is the one before, None before the first event."""
    if isinstance(fact, InstitutionAdmitted | InstitutionChanged):
        stated = _institution(event, fact)
        return stated if row is None else replace(row, **{name: getattr(stated, name) for name in _RESTATED})
    if row is None:
        raise MisplacedEventError(f"{event.originator_id} begins with {fact.TYPE}")
    return replace(row, last_position=event.position, **_suspension(event, fact))


def _suspension(
    event: Event, fact: InstitutionSuspended | InstitutionReinstated | InstitutionExempted
) -> dict[str, Any]:
    """The columns that change."""
    match fact:
        case InstitutionSuspended():
            return {"suspended_since": event.time, "suspended_for": fact.reason}
        case InstitutionReinstated():
            return {"suspended_since": None, "suspended_for": None}
        case InstitutionExempted():
            return {}
        case _:
            assert_never(fact)


def _institution(event: Event, fact: InstitutionAdmitted | InstitutionChanged) -> InstitutionRow:
    return InstitutionRow(
        brin=event.originator_id,
        name=fact.name,
        name_en=fact.name_en,
        kind=fact.kind,
        schac_home=fact.schac_home,
        admitted_from=fact.admitted_from,
        admitted_until=fact.admitted_until,
        suspended_since=None,
        suspended_for=None,
        last_position=event.position,
    )


def _module(event: Event, fact: ModuleRegistered) -> ModuleRow:
    return ModuleRow(
        id=event.originator_id,
        position=event.position,
        institution=fact.institution,
        reference=fact.reference,
        latest=fact.version,
        withdrawn_from=None,
        last_position=event.position,
    )


def _version(event: Event, fact: ModuleRegistered | ModuleRevised) -> VersionRow:
    return VersionRow(
        module_id=event.originator_id,
        version=fact.version,
        content_hash=fact.content_hash,
        content=canonical(fact.content).decode(),
        registered_at=event.recorded_at,
        position=event.position,
    )


def _change(cursor: Cursor, table: Literal["institution", "module"], event: Event, **changes: Any) -> None:
    changes["last_position"] = event.position
    assignments = ", ".join(f"{name} = %s" for name in changes)
    key = "brin" if table == "institution" else "id"
    cursor.execute(
        f"UPDATE {table} SET {assignments} WHERE {key} = %s", (*changes.values(), event.originator_id)
    )
    if cursor.rowcount != 1:
        raise LookupError(f"{table} {event.originator_id} is not in the catalogue")
