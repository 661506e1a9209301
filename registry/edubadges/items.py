"""The items of an import, each with the place that the report names."""

from __future__ import annotations

import datetime as dt

import msgspec

from registry.domain.private_parts import Evidence, Recipient


class Unreadable(ValueError):  # noqa: N818 - the answer to a file, not an error of ours
    """Why something cannot be read: one sentence without what it holds."""


class Refused(msgspec.Struct, frozen=True):
    place: str
    reason: str


class Award(msgspec.Struct, frozen=True):
    """An assertion, or a row of the bulk CSV. `badge` is the badge class's address; a row has none."""

    place: str
    reference: str
    recipient: Recipient
    awarded_on: dt.date
    valid_until: dt.date | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    badge: str | None = None
    findings: tuple[str, ...] = ()


class Revoked(msgspec.Struct, frozen=True):
    """A revoked assertion: Edubadges says no more of it than its address and a reason in words."""

    place: str
    reference: str
    reason: str


Item = Award | Revoked | Refused
