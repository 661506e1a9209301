"""Commitments: what the log holds of the private parts (contract section 4), and the salts that open them."""

from __future__ import annotations

import hashlib
import os

import msgspec

from registry.domain.events import Commitments, Correction, canonical
from registry.domain.private_parts import Evidence, PrivateParts, Recipient, Salts
from registry.keys import RandomBytes

SALT = 16


def new_salt() -> str:
    """16 random bytes, as hex."""
    return os.urandom(SALT).hex()


def commitment(salt: bytes, part: bytes) -> str:
    """SHA-256 (hex) of the salt, then the part."""
    return hashlib.sha256(salt + part).hexdigest()


def commit_award(
    recipient: Recipient,
    reference: str,
    grade: str | None,
    evidence: tuple[Evidence, ...] | None,
    content_fingerprint: bytes,
    random: RandomBytes,
) -> tuple[Commitments, PrivateParts]:
    """The commitments for the log, and the private parts with their salts for the vault."""
    drawn = random.draw(4 * SALT)
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
        content_fingerprint=content_fingerprint.hex(),
    )
    return commitments, parts


def commit_note(note: str | None, salt: str) -> tuple[str | None, PrivateParts | None]:
    """The commitment of a note and its private part; nothing where there is no note."""
    if note is None:
        return None, None
    return _commitment(salt, note.encode()), PrivateParts(salts=Salts(note=salt), note=note)


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
        recipient=None if recipient is None else _commitment(recipient_salt, canonical(recipient)),
        grade=None if new_grade is None else _commitment(grade_salt, new_grade.encode()),
    )
    salts = Salts(
        recipient=None if recipient is None else recipient_salt,
        grade=None if new_grade is None else grade_salt,
    )
    return commitments, PrivateParts(salts=salts, recipient=recipient, grade=new_grade)


def _commitment(salt: str, part: bytes) -> str:
    return commitment(bytes.fromhex(salt), part)
