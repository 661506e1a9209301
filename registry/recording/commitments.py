"""Commitments: what the log holds of the private parts (contract section 4), and the salts that open them."""

from __future__ import annotations

import hashlib
import os

import msgspec

from registry.domain.events import Commitments, Correction, canonical
from registry.domain.private_parts import Evidence, PrivateParts, Recipient, Salts
from registry.keys import Chance

SALT = 16


def new_salt() -> str:
    """16 random bytes, as hex."""
    return os.urandom(SALT).hex()


def commitment(salt: bytes, part: bytes) -> str:
    """SHA-256 (hex) of the salt, then the part."""
    return hashlib.sha256(salt + part).hexdigest()


def _salted(part: bytes) -> tuple[str, str]:
    """A new salt, as hex, and the part's commitment under it."""
    salt = os.urandom(SALT)
    return salt.hex(), commitment(salt, part)


def commit_award(
    recipient: Recipient,
    reference: str,
    grade: str | None,
    evidence: tuple[Evidence, ...] | None,
    sameness: bytes,
    chance: Chance,
) -> tuple[Commitments, PrivateParts]:
    """The commitments for the log, and the private parts with their salts for the vault."""
    drawn = chance.take(4 * SALT)
    first, second = drawn[:SALT], drawn[SALT : 2 * SALT]
    third, fourth = drawn[2 * SALT : 3 * SALT], drawn[3 * SALT :]
    salts = Salts(
        recipient=first.hex(),
        reference=second.hex(),
        grade=None if grade is None else third.hex(),
        evidence=None if evidence is None else fourth.hex(),
    )
    commitments = Commitments(
        recipient=commitment(first, canonical(recipient)),
        reference=commitment(second, reference.encode()),
        grade=None if grade is None else commitment(third, grade.encode()),
        evidence=None if evidence is None else commitment(fourth, canonical(evidence)),
    )
    parts = PrivateParts(
        salts=salts,
        recipient=recipient,
        reference=reference,
        grade=grade,
        evidence=evidence,
        sameness=sameness.hex(),
    )
    return commitments, parts


def commit_note(note: str | None) -> tuple[str | None, PrivateParts | None]:
    """The commitment of a note and its private part; nothing where there is no note."""
    if note is None:
        return None, None
    salt, committed = _salted(note.encode())
    return committed, PrivateParts(salts=Salts(note=salt), note=note)


def commit_correction(
    current: PrivateParts, grade: str | None, name: str | None
) -> tuple[Correction | None, PrivateParts | None]:
    """The commitments of what a correction changes, and the new parts; nothing where it changes nothing."""
    recipient = None
    if name is not None and current.recipient is not None and name != current.recipient.name:
        recipient = msgspec.structs.replace(current.recipient, name=name)
    new_grade = grade if grade != current.grade else None
    if recipient is None and new_grade is None:
        return None, None
    none: tuple[None, None] = (None, None)
    name_salt, name_commitment = none if recipient is None else _salted(canonical(recipient))
    grade_salt, grade_commitment = none if new_grade is None else _salted(new_grade.encode())
    salts = Salts(recipient=name_salt, grade=grade_salt)
    commitments = Correction(recipient=name_commitment, grade=grade_commitment)
    return commitments, PrivateParts(salts=salts, recipient=recipient, grade=new_grade)
