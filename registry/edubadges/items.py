"""The items of an import, each with its place: the file, and where in the file, as the report shows it."""

from __future__ import annotations

import datetime as dt

import msgspec

from registry.domain.imports import ImportedModule
from registry.domain.private_parts import Evidence, Recipient


class Unreadable(ValueError):  # noqa: N818 - says something about a file, not about the program
    """The reason why something cannot be read, without any of its contents."""


class RefusedItem(msgspec.Struct, frozen=True):
    place: str
    reason: str


class StatedClass(msgspec.Struct, frozen=True):
    """What is stated of a badge class, with the identifier of the institution that its issuer belongs to."""

    module: ImportedModule
    institution: str | None


class AwardItem(msgspec.Struct, frozen=True):
    """An assertion, or a row of the bulk CSV.

    `badge` is the badge class's address, None for a row. `stated` is what the answer states of the class, or
    why that is not known.
    """

    place: str
    reference: str
    recipient: Recipient
    awarded_on: dt.date
    valid_until: dt.date | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    badge: str | None = None
    stated: StatedClass | str | None = None
    findings: tuple[str, ...] = ()


class RevokedItem(msgspec.Struct, frozen=True):
    """A revoked assertion, of which Edubadges shows only the address and a reason in words."""

    place: str
    reference: str
    reason: str


Item = AwardItem | RevokedItem | RefusedItem
