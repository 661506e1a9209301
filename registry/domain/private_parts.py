"""The private parts of an event, which the vault keeps, and the commitments to them in the log.

A commitment is a salted hash; the salts are in the vault too. Salts are drawn elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from registry.domain.events import Commitments, Correction, canonical

SALT = 16
"""Bytes of a salt."""
MAX_EVIDENCE = 20
"""Pieces of evidence of an award that the API accepts."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """JSON members in camelCase; one that is absent is left out."""


class Recipient(_Part, frozen=True):
    """The learner as the institution named it: one identifier, with name and e-mail where given."""

    edu_id: str | None = None
    eppn: str | None = None
    edubadges: str | None = None
    name: str | None = None
    email: str | None = None


MAX_EVIDENCE_TEXT = 20_000
"""Characters of all evidence of an award: its private parts are read whole, whatever is asked of them."""


class Evidence(_Part, frozen=True):
    url: str | None = None
    name: str | None = None
    narrative: str | None = None
    description: str | None = None


def evidence_text(evidence: Iterable[Evidence]) -> int:
    """The number of characters of all texts of the evidence."""
    return sum(len(text) for piece in evidence for text in msgspec.structs.astuple(piece) if text)


class Salts(_Part, frozen=True):
    recipient: str | None = None
    reference: str | None = None
    grade: str | None = None
    evidence: str | None = None
    note: str | None = None


class Stated(_Part, frozen=True):
    """What an award stated that neither its event nor its standing parts show.

    The module's version, where the institution named one, and the grade before all corrections.
    """

    module_version: int | None = None
    grade: str | None = None


class PrivateParts(_Part, frozen=True):
    """The private parts of one event, with their salts.

    `stated` is of an award; no correction changes it.
    """

    salts: Salts
    recipient: Recipient | None = None
    reference: str | None = None
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    note: str | None = None
    stated: Stated | None = None


def corrected(parts: PrivateParts, later: PrivateParts) -> PrivateParts:
    """The parts of an award after a correction, with the salts of their latest commitments."""
    return msgspec.structs.replace(
        parts,
        salts=msgspec.structs.replace(
            parts.salts,
            recipient=later.salts.recipient or parts.salts.recipient,
            grade=later.salts.grade or parts.salts.grade,
        ),
        recipient=later.recipient or parts.recipient,
        grade=parts.grade if later.grade is None else later.grade,
    )


def commitment(salt: bytes, part: bytes) -> str:
    """SHA-256 (hex) of the salt, then the part."""
    return hashlib.sha256(salt + part).hexdigest()


def commit_award(
    recipient: Recipient,
    reference: str,
    grade: str | None,
    evidence: tuple[Evidence, ...] | None,
    module_version: int | None,
    drawn: bytes,
) -> tuple[Commitments, PrivateParts]:
    """The commitments for the log, and the private parts with their salts for the vault.

    `module_version` is the one that the institution named; `drawn` are `4 * SALT` random bytes.
    """
    for_recipient, for_reference = drawn[:SALT], drawn[SALT : 2 * SALT]
    for_grade, for_evidence = drawn[2 * SALT : 3 * SALT], drawn[3 * SALT :]
    salts = Salts(
        recipient=for_recipient.hex(),
        reference=for_reference.hex(),
        grade=None if grade is None else for_grade.hex(),
        evidence=None if evidence is None else for_evidence.hex(),
    )
    commitments = Commitments(
        recipient=commitment(for_recipient, canonical(recipient)),
        reference=commitment(for_reference, reference.encode()),
        grade=None if grade is None else commitment(for_grade, grade.encode()),
        evidence=None if evidence is None else commitment(for_evidence, canonical(evidence)),
    )
    parts = PrivateParts(
        salts=salts,
        recipient=recipient,
        reference=reference,
        grade=grade,
        evidence=evidence,
        stated=Stated(module_version=module_version, grade=grade),
    )
    return commitments, parts


def commit_note(note: str | None, salt: str) -> tuple[str | None, PrivateParts | None]:
    """The commitment of a note and its private part; nothing without a note."""
    if note is None:
        return None, None
    return _commitment_of_hex(salt, note.encode()), PrivateParts(salts=Salts(note=salt), note=note)


def commit_correction(
    current: PrivateParts, grade: str | None, grade_salt: str, name: str | None, recipient_salt: str
) -> tuple[Correction | None, PrivateParts | None]:
    """The commitments of what a correction changes, and the new parts; nothing where it changes nothing."""
    recipient = None
    if name is not None and current.recipient is not None and name != current.recipient.name:
        recipient = msgspec.structs.replace(current.recipient, name=name)
    new_grade = grade if grade != current.grade else None
    if recipient is None and new_grade is None:
        return None, None
    commitments = Correction(
        recipient=None if recipient is None else _commitment_of_hex(recipient_salt, canonical(recipient)),
        grade=None if new_grade is None else _commitment_of_hex(grade_salt, new_grade.encode()),
    )
    salts = Salts(
        recipient=None if recipient is None else recipient_salt,
        grade=None if new_grade is None else grade_salt,
    )
    return commitments, PrivateParts(salts=salts, recipient=recipient, grade=new_grade)


def _commitment_of_hex(salt: str, part: bytes) -> str:
    return commitment(bytes.fromhex(salt), part)
