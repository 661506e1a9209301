"""What must be forgettable: who the learner is, the award's reference, grade and evidence, and notes.

The log holds salted commitments of these (contract section 4); the parts themselves and their salts are
sealed here, AES-256-GCM under the `vault` secret, with the event's id as associated data. This module
seals, opens and reads; only the store writes the rows, in the transaction of their event.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.domain.events import Commitments, Correction, canonical
from registry.domain.private_parts import Evidence, PrivateParts, Recipient, Salts
from registry.keys import Chance, Keys
from registry.postgres.connections import Cursor

NONCE = 12
SALT = 16


class PrivateRow(msgspec.Struct, frozen=True, gc=False):
    """A vault row: the sealed parts of one event, and whose they are (for row-level security)."""

    institution: str
    learner_id: str | None
    sealed: bytes


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


def corrected(parts: PrivateParts, later: PrivateParts) -> PrivateParts:
    """The parts of an award after a correction."""
    return msgspec.structs.replace(
        parts,
        recipient=later.recipient or parts.recipient,
        grade=parts.grade if later.grade is None else later.grade,
    )


class Vault:
    """Seals and opens private parts under the `vault` secret."""

    def __init__(self, keys: Keys) -> None:
        self._cipher = AESGCM(keys.vault)
        self._decoder = msgspec.json.Decoder(PrivateParts)

    def seal(self, event_id: str, parts: PrivateParts, chance: Chance | None = None) -> bytes:
        """Nonce and ciphertext; `event_id` is `{subject}/{version}` and must be the same on opening."""
        nonce = chance.take(NONCE) if chance else os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(parts), event_id.encode())

    def open(self, event_id: str, sealed: bytes) -> PrivateParts:
        plain = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], event_id.encode())
        return self._decoder.decode(plain)

    def read_awards(self, cursor: Cursor, badge_ids: Sequence[str]) -> dict[str, PrivateParts]:
        """The private parts of several badges by id, as corrected since.

        What row-level security hides is missing.
        """
        cursor.execute(
            "SELECT e.subject, e.version, v.sealed FROM event e JOIN vault v USING (position)"
            " WHERE e.subject = ANY(%s) AND e.type IN ('badge.awarded', 'badge.corrected')"
            " ORDER BY e.subject, e.version",
            (list(badge_ids),),
        )
        found: dict[str, PrivateParts] = {}
        for subject, version, sealed in cursor.fetchall():
            parts = self.open(f"{subject}/{version}", bytes(sealed))
            found[subject] = corrected(found[subject], parts) if subject in found else parts
        return found

    def read_notes(self, cursor: Cursor, subject: str) -> dict[str, str | None]:
        """By event type, the note on the subject's last event of that type; None where it has none."""
        cursor.execute(
            "SELECT e.type, e.version, v.sealed FROM event e LEFT JOIN vault v USING (position)"
            " WHERE e.subject = %s AND e.type NOT IN ('badge.awarded', 'badge.corrected') ORDER BY e.version",
            (subject,),
        )
        return {
            kind: None if sealed is None else self.open(f"{subject}/{version}", bytes(sealed)).note
            for kind, version, sealed in cursor.fetchall()
        }
