"""Access tokens: each has a role, expires and can be revoked; only its hash is stored.

A token reads `mcr_{id}_{secret}`. The id is not secret: it is the `client` of the events that the
token's bearer records.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from registry.postgres.connections import Connection, Cursor, Pool

Role = Literal["registrar", "institution", "auditor", "statistician", "learner", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
KEPT_SECONDS = 1.0
"""How long a process trusts a token that it has read; after this time a revocation holds everywhere."""

_FORMAT = re.compile(r"mcr_([0-9a-f]{16})_([0-9A-Za-z_-]{43})", re.ASCII)
_MAX_KEPT = 10_000


@dataclass(frozen=True)
class Principal:
    """The bearer of a token: a role, with the institution or learner that it acts for."""

    token_id: str
    role: Role
    institution: str | None
    learner_id: str | None


def create_token(
    connection: Connection,
    role: Role,
    lifetime: dt.timedelta,
    *,
    institution: str | None = None,
    learner_id: str | None = None,
    name: str | None = None,
) -> str:
    """Creates a token and returns it: this is the only time that it can be seen whole."""
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO token (id, hash, role, institution, learner_id, name, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() + %s)",
            (token_id, _hash(secret), role, institution, learner_id, name, lifetime),
        )
    return f"mcr_{token_id}_{secret}"


def revoke_token(connection: Connection, token_or_id: str) -> bool:
    """Revokes a token permanently; False where it is unknown or already revoked."""
    match = _FORMAT.fullmatch(token_or_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE token SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL",
            (match[1] if match else token_or_id,),
        )
        return cursor.rowcount == 1


def tokens_of(cursor: Cursor, institution: str, token_ids: Sequence[str]) -> set[str]:
    """Those of these ids that are of the institution's own tokens, valid or not."""
    cursor.execute(
        "SELECT id FROM token WHERE institution = %s AND id = ANY(%s)", (institution, list(token_ids))
    )
    return {token_id for (token_id,) in cursor.fetchall()}


class TokenReader:
    """Finds the principal of a token, and keeps it for a second."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def kept(self, token: str) -> Principal | None:
        """The principal, if the token was read within the last second; never waits."""
        entry = self._kept.get(_hash(token))
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def read(self, token: str) -> Principal | None:
        """The principal of a valid token, None for any other text."""
        match = _FORMAT.fullmatch(token)
        if match is None:
            return None
        until = time.monotonic() + KEPT_SECONDS
        with self._pool.cursor() as cursor:
            cursor.execute(
                "SELECT hash, role, institution, learner_id::text FROM token"
                " WHERE id = %s AND revoked_at IS NULL AND expires_at > now()",
                (match[1],),
            )
            row = cursor.fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), _hash(match[2])):
            return None
        principal = Principal(match[1], *row[1:])
        with self._lock:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[_hash(token)] = (until, principal)
        return principal


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
