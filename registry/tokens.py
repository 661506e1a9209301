"""Tokens: who may do what. Only a hash is stored; each has an expiry and can be revoked.

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
from dataclasses import dataclass
from typing import Literal, get_args

from registry.postgres.connections import Connection, Pool

Role = Literal["registrar", "institution", "auditor", "statistician", "learner", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
KEPT_SECONDS = 1.0
"""So long a process trusts what it read of a token; a revocation is complete everywhere after it."""

_FORM = re.compile(r"mcr_([0-9a-f]{16})_([0-9A-Za-z_-]{43})", re.ASCII)
_MOST_KEPT = 10_000


@dataclass(frozen=True)
class Principal:
    """Who asks: a role, and the institution or the learner for whom."""

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
    """Makes a token and answers it: the one time that it is seen whole."""
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO token (id, hash, role, institution, learner_id, name, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() + %s)",
            (token_id, _hash(secret), role, institution, learner_id, name, lifetime),
        )
    return f"mcr_{token_id}_{secret}"


def revoke_token(connection: Connection, token_or_id: str) -> bool:
    """Revokes a token for ever; False where there is none, or it was revoked already."""
    found = _FORM.fullmatch(token_or_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE token SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL",
            (found[1] if found else token_or_id,),
        )
        return cursor.rowcount == 1


class TokenReader:
    """Finds the principal of a token; keeps what it found for a second."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def kept(self, token: str) -> Principal | None:
        """The principal if the token was read within the last second; never waits."""
        found = self._kept.get(_hash(token))
        return found[1] if found and found[0] > time.monotonic() else None

    def read(self, token: str) -> Principal | None:
        """The principal of a living token, None for any other text."""
        form = _FORM.fullmatch(token)
        if form is None:
            return None
        until = time.monotonic() + KEPT_SECONDS
        with self._pool.cursor() as cursor:
            cursor.execute(
                "SELECT hash, role, institution, learner_id::text FROM token"
                " WHERE id = %s AND revoked_at IS NULL AND expires_at > now()",
                (form[1],),
            )
            row = cursor.fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), _hash(form[2])):
            return None
        principal = Principal(form[1], *row[1:])
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[_hash(token)] = (until, principal)
        return principal


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
