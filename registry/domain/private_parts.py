"""The private parts of an event: what the vault keeps and the log only commits to (contract section 4)."""

from __future__ import annotations

import msgspec


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """JSON members in camelCase; one that is absent is left out."""


class Recipient(_Part, frozen=True):
    """The learner as the institution named it: one identifier, with name and e-mail where given."""

    edu_id: str | None = None
    eppn: str | None = None
    edubadges: str | None = None
    name: str | None = None
    email: str | None = None


class Evidence(_Part, frozen=True):
    url: str | None = None
    name: str | None = None
    narrative: str | None = None
    description: str | None = None


class Salts(_Part, frozen=True):
    recipient: str | None = None
    reference: str | None = None
    grade: str | None = None
    evidence: str | None = None
    note: str | None = None


class PrivateParts(_Part, frozen=True):
    """The private parts of one event, with their salts. `content_fingerprint` is of an award: see
    `Keys.content_fingerprint`. The vault holds it under the name `sameness`, which stays."""

    salts: Salts
    recipient: Recipient | None = None
    reference: str | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    note: str | None = None
    content_fingerprint: str | None = msgspec.field(default=None, name="sameness")


def corrected(parts: PrivateParts, later: PrivateParts) -> PrivateParts:
    """The parts of an award after a correction."""
    return msgspec.structs.replace(
        parts,
        recipient=later.recipient or parts.recipient,
        grade=parts.grade if later.grade is None else later.grade,
    )
