"""The catalogue as it is looked up: public, the same for everyone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import msgspec

from registry.domain.events import Sector
from registry.domain.values import day_in_amsterdam
from registry.postgres.connections import Cursor


class InstitutionRow(msgspec.Struct, frozen=True):
    brin: str
    name: str
    name_en: str | None
    kind: Sector
    schac_home: str | None
    admitted_from: dt.date
    admitted_until: dt.date | None
    suspended_since: dt.datetime | None
    last_position: int


class ModuleRow(msgspec.Struct, frozen=True):
    """A module in one of its versions; `content` is canonical JSON."""

    id: str
    position: int
    institution: str
    reference: str
    latest: int
    withdrawn_from: dt.date | None
    last_position: int
    version: int
    content_hash: str
    content: str
    registered_at: dt.datetime


@dataclass(frozen=True)
class ModuleFilter:
    institution: str | None = None
    reference: str | None = None
    withdrawn: bool | None = None


_INSTITUTION = (
    "SELECT brin, name, name_en, kind, schac_home, admitted_from, admitted_until, suspended_since,"
    " last_position FROM institution"
)
_MODULE = (
    "SELECT m.id::text, m.position, m.institution, m.reference, m.latest, m.withdrawn_from,"
    " m.last_position, v.version, v.content_hash, v.content, v.registered_at"
    " FROM module m JOIN module_version v ON v.module_id = m.id"
)


def read_institution(cursor: Cursor, brin: str) -> InstitutionRow | None:
    cursor.execute(f"{_INSTITUTION} WHERE brin = %s", (brin,))
    found = cursor.fetchone()
    return InstitutionRow(*found) if found else None


def list_institutions(cursor: Cursor, after: str, limit: int) -> list[InstitutionRow]:
    """By BRIN, from beyond `after`."""
    cursor.execute(f"{_INSTITUTION} WHERE brin > %s ORDER BY brin LIMIT %s", (after, limit))
    return [InstitutionRow(*row) for row in cursor.fetchall()]


def read_module(cursor: Cursor, module_id: str, version: int | None = None) -> ModuleRow | None:
    """A module in the version named, the latest when none is."""
    cursor.execute(f"{_MODULE} AND v.version = coalesce(%s, m.latest) WHERE m.id = %s", (version, module_id))
    found = cursor.fetchone()
    return ModuleRow(*found) if found else None


def list_modules(
    cursor: Cursor, wanted: ModuleFilter, now: dt.datetime, after: int, limit: int
) -> list[ModuleRow]:
    """In the order of registration, from beyond position `after`, each in its latest version."""
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
    cursor.execute(
        f"{_MODULE} AND v.version = m.latest WHERE {' AND '.join(conditions)} ORDER BY m.position LIMIT %s",
        (*values, limit),
    )
    return [ModuleRow(*row) for row in cursor.fetchall()]
