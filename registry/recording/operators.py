"""What operators do to the registry itself: each act and the event that records it are one transaction."""

from __future__ import annotations

import datetime as dt
from typing import Any

from registry import tokens
from registry.domain.errors import InstitutionNotAdmitted
from registry.domain.events import Fact, InstitutionAdmitted, OperatorFact, TokenCreated, TokenRevoked
from registry.event_store.append import append, row
from registry.postgres.connections import PATIENCE_MS, Connection, Cursor
from registry.postgres.locks import Lock

ORIGIN: dict[str, Any] = {"channel": "operator", "client": "cli"}
SUBJECT = "registry"
"""The subject of operators' acts on the registry as a whole, in the order in which they were done."""


def create_token(
    connection: Connection,
    role: tokens.Role,
    lifetime: dt.timedelta,
    *,
    institution: str | None = None,
    learner_id: str | None = None,
    name: str | None = None,
) -> tuple[str, dt.datetime]:
    """Creates a token; returns it, whole this once, and its end.

    Raises `InstitutionNotAdmitted` for an institution that is not in the registry.
    """
    with connection, connection.cursor() as cursor:
        if institution is not None:
            cursor.execute(
                "SELECT FROM event WHERE subject = %s AND version = 1 AND type = %s",
                (institution, InstitutionAdmitted.TYPE),
            )
            if cursor.fetchone() is None:
                raise InstitutionNotAdmitted(institution)
        token = tokens.insert_token(
            connection, role, lifetime, institution=institution, learner_id=learner_id, name=name
        )
        subject = tokens.token_id(token) or ""
        cursor.execute("SELECT expires_at FROM token WHERE id = %s", (subject,))
        (expires_at,) = cursor.fetchone() or (None,)
        fact = TokenCreated(
            **ORIGIN, role=role, expires_at=expires_at, institution=institution, learner_id=learner_id
        )
        _record(cursor, subject, fact)
    return token, expires_at


def revoke_token(connection: Connection, token_id: str) -> bool:
    """Revokes a token permanently; False where it is unknown, or already revoked and recorded.

    The token is dead even where the log takes no event now, and the error is raised: the command given
    again then records what was done.
    """
    revoked = tokens.mark_revoked(connection, token_id)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT revoked_at IS NOT NULL AND NOT EXISTS ("
            " SELECT FROM event WHERE subject = token.id AND type = %s) FROM token WHERE id = %s",
            (TokenRevoked.TYPE, token_id),
        )
        (unrecorded,) = cursor.fetchone() or (False,)
        if unrecorded:
            _record(cursor, token_id, TokenRevoked(**ORIGIN))
    return revoked or unrecorded


def record_act(cursor: Cursor, fact: OperatorFact) -> None:
    """Records an act on the registry as a whole, in the transaction in which it is done."""
    _record(cursor, SUBJECT, fact)


def _record(cursor: Cursor, subject: str, fact: Fact) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
    # Nobody appends until the transaction ends, so that the version is still the next one. A command that
    # is stopped or lost in between loses the lock, and nothing of its act remains.
    cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = {PATIENCE_MS}")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (Lock.APPEND,))
    cursor.execute("SELECT coalesce(max(version), 0) + 1 FROM event WHERE subject = %s", (subject,))
    (version,) = cursor.fetchone() or (1,)
    append(cursor, [[row(subject, version, fact)]], (), 0)
