"""The catalogue as it is looked up: public, the same for everyone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from projections.catalogue.projection import Catalogue, InstitutionRow, ModuleRow, VersionRow
from projections.read_model import select
from projections.tables import columns, names
from registry.domain.values import day_in_amsterdam
from registry.event_store.log import Extent
from registry.postgres.connections import Cursor


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


def list_institutions(cursor: Cursor, after: str, limit: int) -> tuple[Extent, list[InstitutionRow]]:
    """Institutions in the order of their BRIN, from beyond `after`."""
    query = f"{_INSTITUTION} WHERE brin > %s ORDER BY brin LIMIT %s"
    extent, rows = select(cursor, Catalogue.name, query, (after, limit))
    return extent, [InstitutionRow(*row) for row in rows]


def read_module(
    cursor: Cursor, module_id: str, version: int | None = None
) -> tuple[Extent, VersionedModule | None]:
    """A module in a version, by default the latest."""
    query = f"{_MODULE} AND v.version = coalesce(%s, m.latest) WHERE m.id = %s"
    extent, rows = select(cursor, Catalogue.name, query, (version, module_id), prepared=True)
    return extent, _versioned(rows[0]) if rows else None


def list_modules(
    cursor: Cursor, wanted: ModuleFilter, now: dt.datetime, after: int, limit: int
) -> tuple[Extent, list[VersionedModule]]:
    """Modules in the order of registration, from beyond position `after`, each in its latest version."""
    conditions, values = ["m.position > %s"], [after]  # type: tuple[list[str], list[object]]
    if wanted.institution is not None:
        conditions.append("m.institution = %s")
        values.append(wanted.institution)
    if wanted.reference is not None:
        conditions.append("m.reference = %s")
        values.append(wanted.reference)
    if wanted.withdrawn is not None:
        conditions.append("coalesce(m.withdrawn_from <= %s, false) = %s")
        values += [day_in_amsterdam(now), wanted.withdrawn]
    query = (
        f"{_MODULE} AND v.version = m.latest WHERE {' AND '.join(conditions)} ORDER BY m.position LIMIT %s"
    )
    prepared = wanted == ModuleFilter()
    extent, rows = select(cursor, Catalogue.name, query, (*values, limit), prepared=prepared)
    return extent, [_versioned(row) for row in rows]


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
