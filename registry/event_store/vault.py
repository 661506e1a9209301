"""The vault holds what must be erasable: learners' identity, references, grades, evidence and notes.

The log holds salted commitments of these; the parts themselves and their salts are sealed here, AES-256-GCM
under the `vault` secret. A row opens only with what it was sealed for: its event's id, and the institution
and learner in its columns, by which row-level security decides who sees it. This module seals, opens and
reads; only the append writes the rows, in the transaction of their event.

Sealed parts are one byte, the epoch of their key; a nonce; and the ciphertext. A key that is rotated gets
the next epoch, and PostgreSQL shows the epoch of each row in a column of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.domain.private_parts import PrivateParts, Salts, corrected
from registry.keys import Keys, RandomBytes
from registry.postgres.connections import Cursor

NONCE = 12
MAX_POSITION = 2**63 - 1
EPOCH = 1
"""The epoch of the key that seals now; the key file holds no other yet."""
_FIRST = bytes([EPOCH])


class Owner(NamedTuple):
    """The event that private parts belong to, by its id `{subject}/{version}`, and whose they are."""

    event_id: str
    institution: str | None
    learner_id: str | None

    def associated_data(self, epoch: int) -> bytes:
        return f"{self.event_id}\n{self.institution or ''}\n{self.learner_id or ''}\n{epoch}".encode()


def encoded(parts: PrivateParts) -> bytes:
    """The JSON that is sealed."""
    return msgspec.json.encode(parts)


class Vault:
    """Seals and opens private parts under the `vault` secret."""

    def __init__(self, keys: Keys) -> None:
        self._ciphers = {EPOCH: AESGCM(keys.vault)}
        self._decoder = msgspec.json.Decoder(PrivateParts)

    def seal(self, owner: Owner, parts: bytes, random: RandomBytes) -> bytes:
        """Seals encoded parts for their owner; `random` is for this thread alone."""
        nonce = random.draw(NONCE)
        sealed = self._ciphers[EPOCH].encrypt(nonce, parts, owner.associated_data(EPOCH))
        return _FIRST + nonce + sealed

    def open(self, owner: Owner, sealed: bytes) -> PrivateParts:
        """The parts; raises `InvalidTag` where they were sealed for another, or changed."""
        cipher = self._ciphers.get(epoch := sealed[0]) if len(sealed) > 1 + NONCE else None
        if cipher is None:
            raise InvalidTag
        nonce, ciphertext = sealed[1 : 1 + NONCE], sealed[1 + NONCE :]
        return self._decoder.decode(cipher.decrypt(nonce, ciphertext, owner.associated_data(epoch)))

    def read_awards(
        self, cursor: Cursor, badge_ids: Sequence[str], until: int = MAX_POSITION
    ) -> dict[str, PrivateParts]:
        """The private parts of several badges by id, with later corrections through position `until`.

        Badges that row-level security hides are missing.
        """
        cursor.execute(
            "SELECT e.subject, e.version, v.institution, v.learner_id, v.sealed"
            " FROM event e JOIN vault v USING (position)"
            " WHERE e.subject = ANY(%s) AND e.type IN ('badge.awarded', 'badge.corrected')"
            " AND e.position <= %s ORDER BY e.subject, e.version",
            (list(badge_ids), until),
        )
        by_badge: dict[str, PrivateParts] = {}
        for subject, version, institution, learner_id, sealed in cursor.fetchall():
            parts = self.open(Owner(f"{subject}/{version}", institution, learner_id), bytes(sealed))
            by_badge[subject] = corrected(by_badge[subject], parts) if subject in by_badge else parts
        return by_badge

    def read_notes(self, cursor: Cursor, subject: str, until: int = MAX_POSITION) -> dict[str, PrivateParts]:
        """The note, with its salt, on the subject's last event of each type through `until`; or neither."""
        cursor.execute(
            "SELECT e.type, e.version, v.institution, v.learner_id, v.sealed"
            " FROM event e LEFT JOIN vault v USING (position)"
            " WHERE e.subject = %s AND e.type NOT IN ('badge.awarded', 'badge.corrected')"
            " AND e.position <= %s ORDER BY e.version",
            (subject, until),
        )
        return {
            kind: PrivateParts(salts=Salts())
            if sealed is None
            else self.open(Owner(f"{subject}/{version}", institution, learner_id), bytes(sealed))
            for kind, version, institution, learner_id, sealed in cursor.fetchall()
        }
