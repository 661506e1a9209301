"""Access tokens: each has a role, expires and can be revoked; only its hash is stored.

A token reads `mcr_{id}_{secret}`. The id is not secret: it is the `client` of the events that the
token's bearer records.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import logging
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import get_args

from registry import defects
from registry.domain.events import TokenRole
from registry.logs import Troubles
from registry.postgres.connections import Connection, Cursor, Pool, UnavailableError

log = logging.getLogger("registry.tokens")
Role = TokenRole
ROLES: tuple[Role, ...] = get_args(Role)
KEPT_SECONDS = 1.0
"""How long a process trusts a token that it has read; after this time a revocation holds everywhere."""

EXPIRY_WARNING = dt.timedelta(days=14)
"""A bearer is told of the end of a token that has less than this left."""
TOKEN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)

_FORMAT = re.compile(r"mcr_([0-9a-f]{16})_([0-9A-Za-z_-]{43})", re.ASCII)
_MAX_KEPT = 10_000
_MAX_USES_WAITING = 10_000


@dataclass(frozen=True)
class Principal:
    """The bearer of a token: a role, with the institution or learner that it acts for."""

    token_id: str
    role: Role
    institution: str | None
    learner_id: str | None
    expires_at: dt.datetime


@dataclass(frozen=True)
class Token:
    """What is known of a token, without its secret and its hash. `last_used_on` is a day in UTC."""

    id: str
    role: Role
    institution: str | None
    learner_id: str | None
    name: str | None
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    last_used_on: dt.date | None


def list_tokens(cursor: Cursor, after: str = "", limit: int | None = None) -> list[Token]:
    """Tokens in the order of their ids, from beyond `after`; also those that are expired or revoked."""
    cursor.execute(
        "SELECT id, role, institution, learner_id::text, name, created_at, expires_at, revoked_at,"
        " last_used_on FROM token WHERE id > %s ORDER BY id LIMIT %s",
        (after, limit),
    )
    return [Token(*row) for row in cursor.fetchall()]


def count_expiring(cursor: Cursor) -> int:
    """The tokens that are in use and end soon: valid, made for longer than the warning, used within it."""
    cursor.execute(
        "SELECT count(*) FROM token WHERE revoked_at IS NULL AND expires_at > now()"
        " AND expires_at <= now() + %(warning)s AND expires_at - created_at > %(warning)s"
        " AND last_used_on >= (now() AT TIME ZONE 'UTC' - %(warning)s)::date",
        {"warning": EXPIRY_WARNING},
    )
    (count,) = cursor.fetchone() or (0,)
    return int(count)


def token_id(text: str) -> str | None:
    """The id of a whole token, or of a text that is an id; None for any other text."""
    match = _FORMAT.fullmatch(text)
    return match[1] if match else text if TOKEN_ID.fullmatch(text) else None


def insert_token(
    connection: Connection,
    role: Role,
    lifetime: dt.timedelta,
    *,
    institution: str | None = None,
    learner_id: str | None = None,
    name: str | None = None,
) -> str:
    """Stores a token and returns it: this is the only time that it can be seen whole.

    That it was created is an event besides (`registry.recording.operators.create_token`).
    """
    new_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO token (id, hash, role, institution, learner_id, name, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() + %s)",
            (new_id, _hash(secret), role, institution, learner_id, name, lifetime),
        )
    return f"mcr_{new_id}_{secret}"


def mark_revoked(connection: Connection, token_or_id: str) -> bool:
    """Ends a token permanently; False where it is unknown or already revoked. The event comes besides."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE token SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL",
            (token_id(token_or_id),),
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

    def __init__(self, pool: Pool, note_use: Callable[[str], None] = lambda _: None) -> None:
        """`note_use` is called with the id of a token that is used for the first time on a day."""
        self._pool, self._note_use = pool, note_use
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
                "SELECT hash, last_used_on IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date,"
                " role, institution, learner_id::text, expires_at FROM token"
                " WHERE id = %s AND revoked_at IS NULL AND expires_at > now()",
                (match[1],),
            )
            row = cursor.fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), _hash(match[2])):
            return None
        if row[1]:
            self._note_use(match[1])
        principal = Principal(match[1], *row[2:])
        with self._lock:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[_hash(token)] = (until, principal)
        return principal


class LastUses:
    """Writes the day of the last use of a token, once a day, in a thread of its own: no request waits for it.

    Where PostgreSQL is away the day is not written; the next use of the token tries again.
    """

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, "registry_write", 1)
        # None ends the thread.
        self._waiting: queue.Queue[str | None] = queue.Queue(_MAX_USES_WAITING)
        self._troubles = Troubles(log)
        self._thread = threading.Thread(target=self._run, name="token-uses", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def note(self, used: str) -> None:
        """Notes the use of a token, by its id; never waits."""
        with suppress(queue.Full):
            self._waiting.put_nowait(used)

    def stop(self) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _run(self) -> None:
        while (used := self._waiting.get()) is not None:
            try:
                with self._pool.cursor() as cursor:
                    cursor.execute(
                        "UPDATE token SET last_used_on = (now() AT TIME ZONE 'UTC')::date"
                        " WHERE id = %s AND last_used_on IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date",
                        (used,),
                    )
                self._troubles.over()
            except UnavailableError:
                pass  # readiness tells it
            except Exception as error:
                # The thread goes on: without it, nobody would be told of a token that is about to expire.
                self._troubles.met(f"the use of a token is not noted, after {defects.named(error)}")
        self._pool.close()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
