"""The vault holds what must be erasable: learners' identity, references, grades, evidence and notes.

The log holds salted commitments of these; the parts themselves and their salts are
sealed here, AES-256-GCM under the `vault` secret, with the event's id as associated data. This module
seals, opens and reads; only the append writes the rows, in the transaction of their event.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.domain.private_parts import PrivateParts, corrected
from registry.keys import Keys, RandomBytes
from registry.postgres.connections import Cursor

NONCE = 12
MAX_POSITION = 2**63 - 1


class Vault:
    """Seals and opens private parts under the `vault` secret."""

    def __init__(self, keys: Keys) -> None:
        self._cipher = AESGCM(keys.vault)
        self._decoder = msgspec.json.Decoder(PrivateParts)

    def seal(self, event_id: str, parts: PrivateParts, random: RandomBytes | None = None) -> bytes:
        """Nonce and ciphertext; `event_id` is `{subject}/{version}` and must be the same on opening."""
        nonce = random.draw(NONCE) if random else os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(parts), event_id.encode())

    def open(self, event_id: str, sealed: bytes) -> PrivateParts:
        plain = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], event_id.encode())
        return self._decoder.decode(plain)

    def read_awards(
        self, cursor: Cursor, badge_ids: Sequence[str], until: int = MAX_POSITION
    ) -> dict[str, PrivateParts]:
        """The private parts of several badges by id, with later corrections through position `until`.

        Badges that row-level security hides are missing.
        """
        cursor.execute(
            "SELECT e.subject, e.version, v.sealed FROM event e JOIN vault v USING (position)"
            " WHERE e.subject = ANY(%s) AND e.type IN ('badge.awarded', 'badge.corrected')"
            " AND e.position <= %s ORDER BY e.subject, e.version",
            (list(badge_ids), until),
        )
        by_badge: dict[str, PrivateParts] = {}
        for subject, version, sealed in cursor.fetchall():
            parts = self.open(f"{subject}/{version}", bytes(sealed))
            by_badge[subject] = corrected(by_badge[subject], parts) if subject in by_badge else parts
        return by_badge

    def read_notes(self, cursor: Cursor, subject: str, until: int = MAX_POSITION) -> dict[str, str | None]:
        """The note on the subject's last event of each type through `until`; None where it has none."""
        cursor.execute(
            "SELECT e.type, e.version, v.sealed FROM event e LEFT JOIN vault v USING (position)"
            " WHERE e.subject = %s AND e.type NOT IN ('badge.awarded', 'badge.corrected')"
            " AND e.position <= %s ORDER BY e.version",
            (subject, until),
        )
        return {
            kind: None if sealed is None else self.open(f"{subject}/{version}", bytes(sealed)).note
            for kind, version, sealed in cursor.fetchall()
        }
