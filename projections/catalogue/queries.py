"""The catalogue as it is looked up: public, the same for everyone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from projections.catalogue.projection import (
    Catalogue,
    InstitutionRow,
    ModuleRow,
    VersionRow,
    institution_after,
)
from projections.read_model import select
from projections.tables import columns, names
from registry.domain.events import InstitutionFact
from registry.domain.values import day_in_amsterdam
from registry.event_store.log import Extent, LoggedEvent, read_streams
from registry.postgres.connections import Cursor

MAX_CONTENT = 512 * 1024
"""Bytes of content in a list: anyone may ask for it, many at once."""


class VersionedModule(NamedTuple):
    """A module in one of its versions."""

    module: ModuleRow
    version: VersionRow


@dataclass(frozen=True)
class ModuleFilter:
    institution: str | None = None
    reference: str | None = None
    withdrawn: bool | None = None


_INSTITUTION = f"SELECT {names(InstitutionRow)} FROM institution"
_MODULE = (
    f"SELECT {names(ModuleRow, 'm')}, {names(VersionRow, 'v')}"
    " FROM module m JOIN module_version v ON v.module_id = m.id"
)


# Every version stays, with its position; a module is withdrawn once at most, by an event of its own.
_MODULE_THEN = f"""
SELECT m.id, m.position, m.institution, m.reference, latest.version,
    CASE WHEN w.position IS NOT NULL THEN m.withdrawn_from END, greatest(latest.position, w.position),
    {names(VersionRow, "v")}
FROM (SELECT %s::bigint AS position) AS through
CROSS JOIN module m
CROSS JOIN LATERAL (
    SELECT version, position FROM module_version
    WHERE module_id = m.id AND position <= through.position ORDER BY version DESC LIMIT 1
) latest
LEFT JOIN event w ON w.subject = m.id::text AND w.type = 'module.withdrawn' AND w.position <= through.position
JOIN module_version v ON v.module_id = m.id
"""
# The positions on all partitions, and the table in use: a rebuild swaps it for another.
_STATE = (
    "SELECT string_agg(source || ' ' || position, ',' ORDER BY source) || ' ' || to_regclass('module')::oid"
    f" FROM read_model_position WHERE name = '{Catalogue.name}'"
)


def read_state(cursor: Cursor) -> tuple[Extent, str]:
    """What the rows of the catalogue follow from: while it is the same, so are they."""
    extent, rows = select(cursor, Catalogue.name, _STATE, prepared=True)
    return extent, str(rows[0][0]) if rows else ""


def read_institution(cursor: Cursor, brin: str) -> tuple[Extent, InstitutionRow | None]:
    extent, rows = select(cursor, Catalogue.name, f"{_INSTITUTION} WHERE brin = %s", (brin,))
    return extent, InstitutionRow(*rows[0]) if rows else None


def read_institution_as_of(cursor: Cursor, brin: str, then: Extent) -> InstitutionRow | None:
    """An institution as the log through `then` has it."""
    return _institutions_after(read_streams(cursor, [brin], then.position)).get(brin)


def list_institutions(cursor: Cursor, after: str, limit: int) -> tuple[Extent, list[InstitutionRow]]:
    """Institutions in the order of their BRIN, from beyond `after`."""
    query = f"{_INSTITUTION} WHERE brin > %s ORDER BY brin LIMIT %s"
    extent, rows = select(cursor, Catalogue.name, query, (after, limit))
    return extent, [InstitutionRow(*row) for row in rows]


def list_institutions_as_of(cursor: Cursor, after: str, limit: int, then: Extent) -> list[InstitutionRow]:
    """The same, as the log through `then` has them."""
    cursor.execute(
        "SELECT brin FROM institution i WHERE brin > %s"
        " AND EXISTS (SELECT FROM event WHERE subject = i.brin AND version = 1 AND position <= %s)"
        " ORDER BY brin LIMIT %s",
        (after, then.position, limit),
    )
    brins = [brin for (brin,) in cursor.fetchall()]
    rows = _institutions_after(read_streams(cursor, brins, then.position))
    return [rows[brin] for brin in brins]


def _institutions_after(logged: Iterable[LoggedEvent]) -> dict[str, InstitutionRow]:
    """The rows of institutions after their whole streams, by BRIN; other subjects have none."""
    rows: dict[str, InstitutionRow] = {}
    for event in (recorded.event() for recorded in logged):
        if isinstance(event.data, InstitutionFact):
            rows[event.originator_id] = institution_after(rows.get(event.originator_id), event, event.data)
    return rows


def read_module(
    cursor: Cursor, module_id: str, version: int | None = None
) -> tuple[Extent, VersionedModule | None]:
    """A module in a version, by default the latest."""
    query = f"{_MODULE} AND v.version = coalesce(%s, m.latest) WHERE m.id = %s"
    extent, rows = select(cursor, Catalogue.name, query, (version, module_id), prepared=True)
    return extent, _versioned(rows[0]) if rows else None


def read_module_as_of(
    cursor: Cursor, module_id: str, version: int | None, then: Extent
) -> VersionedModule | None:
    """A module as it was through `then`, in a version, by default the latest then."""
    query = f"{_MODULE_THEN} AND v.version = coalesce(%s, latest.version) AND v.version <= latest.version"
    cursor.execute(f"{query} WHERE m.id = %s", (then.position, version, module_id))
    row = cursor.fetchone()
    return _versioned(row) if row else None


def list_modules(
    cursor: Cursor, wanted: ModuleFilter, now: dt.datetime, after: int, limit: int
) -> tuple[Extent, list[VersionedModule], bool]:
    """Modules in the order of registration, from beyond position `after`, each in its latest version.

    At most `limit`, and fewer where their content is long; and whether more follow.
    """
    conditions, values = _unchanging(wanted, after)
    if wanted.withdrawn is not None:
        # Apart, since the few that are withdrawn have an index.
        withdrawn = "m.withdrawn_from <= %s"
        conditions.append(withdrawn if wanted.withdrawn else f"({withdrawn}) IS NOT TRUE")
        values.append(day_in_amsterdam(now))
    query = (
        f"{_MODULE} AND v.version = m.latest WHERE {' AND '.join(conditions)} ORDER BY m.position LIMIT %s"
    )
    limit = _fitting(cursor, query, values, limit)
    prepared = wanted == ModuleFilter()
    extent, rows = select(cursor, Catalogue.name, query, (*values, limit + 1), prepared=prepared)
    return extent, [_versioned(row) for row in rows[:limit]], len(rows) > limit


def list_modules_as_of(
    cursor: Cursor, wanted: ModuleFilter, then: Extent, after: int, limit: int
) -> tuple[list[VersionedModule], bool]:
    """The same, as they were through `then`."""
    conditions, values = _unchanging(wanted, after)
    if wanted.withdrawn is not None:
        withdrawn = "m.withdrawn_from <= %s AND w.position IS NOT NULL"
        conditions.append(withdrawn if wanted.withdrawn else f"({withdrawn}) IS NOT TRUE")
        values.append(day_in_amsterdam(then.time))
    query = (
        f"{_MODULE_THEN} AND v.version = latest.version WHERE {' AND '.join(conditions)}"
        " ORDER BY m.position LIMIT %s"
    )
    limit = _fitting(cursor, query, [then.position, *values], limit)
    cursor.execute(query, (then.position, *values, limit + 1))
    rows = cursor.fetchall()
    return [_versioned(row) for row in rows[:limit]], len(rows) > limit


def _fitting(cursor: Cursor, query: str, values: Sequence[object], limit: int) -> int:
    """How many of the rows there is room for in an answer; at least one."""
    cursor.execute(f"SELECT octet_length(content) FROM ({query}) AS listed", (*values, limit))
    size = 0
    for number, (length,) in enumerate(cursor.fetchall()):
        size += length
        if size > MAX_CONTENT:
            return max(number, 1)
    return limit


def _unchanging(wanted: ModuleFilter, after: int) -> tuple[list[str], list[object]]:
    """The conditions, with their values, on columns that never change."""
    conditions, values = ["m.position > %s"], [after]  # type: tuple[list[str], list[object]]
    if wanted.institution is not None:
        conditions.append("m.institution = %s")
        values.append(wanted.institution)
    if wanted.reference is not None:
        conditions.append("m.reference = %s")
        values.append(wanted.reference)
    return conditions, values


def names_of(cursor: Cursor, brins: Collection[str], module_ids: Collection[str]) -> dict[str, str]:
    """The names of institutions and of modules in their latest version, by BRIN and id."""
    cursor.execute(
        "SELECT brin, name FROM institution WHERE brin = ANY(%s)"
        " UNION ALL SELECT m.id::text, v.content::json ->> 'name' FROM module m"
        " JOIN module_version v ON v.module_id = m.id AND v.version = m.latest WHERE m.id = ANY(%s::uuid[])",
        (list(brins), list(module_ids)),
    )
    return dict(cursor.fetchall())


def _versioned(row: tuple[Any, ...]) -> VersionedModule:
    width = len(columns(ModuleRow))
    return VersionedModule(ModuleRow(*row[:width]), VersionRow(*row[width:]))
