"""Connections to PostgreSQL, each in one of three roles.

No process works as owner or superuser: every connection takes its role first, and row-level security
holds for it. A lost server is `Unavailable`; the next use connects anew.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import psycopg2
import psycopg2.errors
import psycopg2.extensions

Role = Literal["registry_write", "registry_read", "registry_project"]
Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor
CONNECT_TIMEOUT = 5
# A writer that was stopped must not hold up the others for longer than this.
PATIENCE_MS = 5_000


# Classes of SQLSTATE that speak of the server and not of what was asked: connection, rollback by
# conflict, resources, state (locks), operator intervention.
_OF_THE_SERVER = ("08", "40", "53", "55", "57")


# What lengthens a table's file, in the server's `md.c`.
_LENGTHENS = ("mdextend", "mdzeroextend")


def is_lost(connection: Connection, error: Exception) -> bool:
    """Whether an error is of the connection or the server, so that the same may work later.

    psycopg2 tells a lost server by several classes, without a code.
    """
    if connection.closed or isinstance(error, psycopg2.InterfaceError):
        return True
    if not isinstance(error, psycopg2.DatabaseError):
        return False
    return error.pgcode is None or error.pgcode[:2] in _OF_THE_SERVER or is_full(error)


def is_full(error: Exception) -> bool:
    """Whether PostgreSQL found no room for a row.

    Where a quota or a limit ended before the disk did, it has no code for that: it says where it met it.
    """
    if isinstance(error, psycopg2.errors.DiskFull):
        return True
    return isinstance(error, psycopg2.errors.InternalError_) and error.diag.source_function in _LENGTHENS


class UnavailableError(Exception):
    """PostgreSQL cannot be reached, or is too busy to answer in time."""


class PrivilegedRoleError(Exception):
    """A connection has rights that would make row-level security void."""


def connect(url: str, role: Role | None = None, **settings: str | int) -> Connection:
    """A connection in autocommit, in `role` (None: as who logs in, for migrations and the command line)."""
    options = [f"-c {name}={value}" for name, value in settings.items()]
    try:
        options.insert(0, psycopg2.extensions.parse_dsn(url).get("options", ""))
        connection = psycopg2.connect(
            url,
            connect_timeout=CONNECT_TIMEOUT,
            options=" ".join(options),
            application_name=role or "registry",
        )
    except psycopg2.Error as error:
        raise UnavailableError(f"PostgreSQL cannot be reached ({type(error).__name__})") from error
    connection.autocommit = True
    if role is not None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SET ROLE {role}")
        except psycopg2.Error as error:
            lost = is_lost(connection, error)
            connection.close()
            if not lost:
                raise
            raise UnavailableError(f"PostgreSQL was lost ({type(error).__name__})") from error
    return connection


class Pool:
    """At most `size` connections in one role, lent one at a time; who comes later waits."""

    def __init__(self, url: str, role: Role, size: int, statement_timeout_ms: int = 30_000) -> None:
        self._url, self._role, self._timeout = url, role, statement_timeout_ms
        self._free: list[Connection] = []
        self._places = threading.BoundedSemaphore(size)

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor in autocommit: each `execute` is a transaction of its own."""
        if not self._places.acquire(timeout=CONNECT_TIMEOUT):
            raise UnavailableError("all connections to PostgreSQL are in use")
        try:
            connection = self._take()
            try:
                with connection.cursor() as cursor:
                    yield cursor
            except psycopg2.Error as error:
                if not is_lost(connection, error):
                    raise
                self.close()  # the idle connections went with it
                raise UnavailableError(f"PostgreSQL was lost ({type(error).__name__})") from error
            finally:
                self._give_back(connection)
        finally:
            self._places.release()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in one transaction, committed at the end or rolled back."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(psycopg2.Error):
                    cursor.execute("ROLLBACK")
                raise

    def close(self) -> None:
        while (connection := self._idle()) is not None:
            connection.close()

    def _idle(self) -> Connection | None:
        try:
            return self._free.pop()
        except IndexError:  # asked for and not looked for: others take from it too
            return None

    def _take(self) -> Connection:
        while (connection := self._idle()) is not None:
            if not connection.closed:
                return connection
        return connect(
            self._url,
            self._role,
            statement_timeout=self._timeout,
            idle_in_transaction_session_timeout=PATIENCE_MS,
        )

    def _give_back(self, connection: Connection) -> None:
        idle = psycopg2.extensions.TRANSACTION_STATUS_IDLE
        if not connection.closed and connection.info.transaction_status == idle:
            self._free.append(connection)
        else:
            connection.close()


def check_roles(url: str) -> None:
    """Refuses roles that could pass row-level security by: superuser, owner or BYPASSRLS."""
    for role in ("registry_write", "registry_read", "registry_project"):
        connection = connect(url, role)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_class"
                    " WHERE relowner = r.oid AND relpersistence <> 't')"
                    " FROM pg_roles r WHERE rolname = current_user"
                )
                found = cursor.fetchone()
        finally:
            connection.close()
        if found is None or found[0]:
            raise PrivilegedRoleError(
                f"the role {role} is superuser, owner of a table or may bypass row-level security;"
                " run `registry migrate` as the owner and take those rights from the role"
            )
