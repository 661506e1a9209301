"""Connections to PostgreSQL: which login a process has, and in which of three roles a connection works.

A login has no rights of its own. Each connection takes one of the roles of its login, and row-level security
holds for all of them. The owner of the tables is a login of its own, which no long-running process has.
Where the server is lost, `UnavailableError` is raised, and the next use connects again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from registry.failures import Failure

Role = Literal["registry_write", "registry_read", "registry_project"]
Login = Literal["registry_owner", "registry_serve", "registry_stream"]
LOGINS: tuple[Login, ...] = get_args(Login)
# `serve` also projects, because it keeps the read models itself where there is no Kafka.
ROLES: dict[Login, tuple[Role, ...]] = {
    "registry_serve": ("registry_read", "registry_write", "registry_project"),
    "registry_stream": ("registry_project",),
}
Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor
CONNECT_TIMEOUT = 5
# A stopped writer must not hold up the others for longer than this.
PATIENCE_MS = 5_000
STILL_SECONDS = 60.0
"""PostgreSQL stands still if a recorder, projector or relay has waited so long for a statement."""
GRACE_SECONDS = 5.0
"""So much later than PostgreSQL should have ended a statement itself, its connection is given up."""

# The classes of SQLSTATE that are about the server and not about the statement: connection, rollback by
# conflict, resources, state (locks), operator intervention.
_SERVER_ERRORS = ("08", "40", "53", "55", "57")
_READ_ONLY = "25006"
"""The server became a standby, or was made read-only: another one may take what this one refuses."""
# The functions that extend a table's file, in the server's `md.c`.
_EXTENDING = ("mdextend", "mdzeroextend")


def is_lost(connection: Connection, error: Exception) -> bool:
    """Whether an error comes from the connection or the server, so that the same statement may work later.

    psycopg2 reports a lost server by errors of several classes, without a code.
    """
    if connection.closed or isinstance(error, psycopg2.InterfaceError):
        return True
    if not isinstance(error, psycopg2.DatabaseError):
        return False
    code = error.pgcode
    return code is None or code[:2] in _SERVER_ERRORS or code == _READ_ONLY or is_full(error)


def _is_gone(connection: Connection, error: psycopg2.Error) -> bool:
    """Whether the server itself is lost, and other connections with it; not only this statement."""
    if connection.closed or error.pgcode is None:
        return True
    return error.pgcode.startswith("08") or error.pgcode in ("57P01", "57P02", "57P03", _READ_ONLY)


def is_full(error: Exception) -> bool:
    """Whether PostgreSQL found no room for a row.

    It has no code for reaching a quota or a limit: the error only names the function where that happened.
    """
    if isinstance(error, psycopg2.errors.DiskFull):
        return True
    return isinstance(error, psycopg2.errors.InternalError_) and error.diag.source_function in _EXTENDING


class UnavailableError(Failure):
    """PostgreSQL cannot be reached, or is too busy to answer in time."""


class BusyError(UnavailableError):
    """The process itself is too busy, or stopping; PostgreSQL is not at fault."""


class TooSlowError(UnavailableError):
    """A statement took longer than its time; PostgreSQL serves others."""


class LoginError(Failure):
    """A login can do more than its process needs, or less."""


_RELIED_ON: dict[str, str | int] = {
    # The append writes literals in this form.
    "standard_conforming_strings": "on",
    # Each statement of the append must see everything that was committed before it got the lock.
    "default_transaction_isolation": r"read\ committed",
}


class _Watch:
    """Ends connections that are not answered in time; a thread of its own looks once a second.

    PostgreSQL ends slow statements itself, and the kernel notices a peer that is gone. Nobody else notices a
    peer that takes everything and answers nothing: the thread that waits for it would be lost for ever.
    Shutting down the socket wakes that thread, with the error of a lost server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Connection, float] = {}
        self._thread: threading.Thread | None = None

    def begin(self, connection: Connection, seconds: float) -> None:
        with self._lock:
            self._until[connection] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="postgres-watch", daemon=True)
                self._thread.start()

    def end(self, connection: Connection) -> None:
        with self._lock:
            self._until.pop(connection, None)

    def _run(self) -> None:
        while True:
            time.sleep(1)
            # Under the lock, so that no later statement of the connection is hit.
            with self._lock:
                now = time.monotonic()
                late = [connection for connection, until in self._until.items() if until < now]
                for connection in late:
                    del self._until[connection]
                    with suppress(OSError, psycopg2.Error), _socket(connection) as waited_for:
                        waited_for.shutdown(socket.SHUT_RDWR)


def _socket(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


_watch = _Watch()


class PatientConnection(psycopg2.extensions.connection):
    """A connection that knows how long its statements may take, and which it has prepared, by name."""

    patience: float | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.prepared: set[str] = set()


class PatientCursor(psycopg2.extensions.cursor):
    """A cursor whose statements have an end, also where PostgreSQL stands still."""

    def execute(self, query: Any, vars: Any = None) -> None:
        self._waited(super().execute, query, vars)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        self._waited(super().copy_expert, sql, file, size)

    def _waited(self, run: Callable[..., None], *arguments: Any) -> None:
        connection = self.connection
        patience = connection.patience if isinstance(connection, PatientConnection) else None
        if patience is None:
            run(*arguments)
            return
        _watch.begin(connection, patience)
        try:
            run(*arguments)
        finally:
            _watch.end(connection)


def connect(
    url: str, role: Role | None = None, patience: float | None = None, **settings: str | int
) -> Connection:
    """A connection in autocommit, in `role`, or as the login itself: the owner, or before any role.

    A statement that is not answered within `patience` seconds ends as where the server is lost.
    """
    options = [f"-c {name}={value}" for name, value in (_RELIED_ON | settings).items()]
    try:
        options.insert(0, psycopg2.extensions.parse_dsn(url).get("options", ""))
        connection = psycopg2.connect(
            url,
            connect_timeout=CONNECT_TIMEOUT,
            # A peer that is gone without a word is noticed in half a minute; a Unix socket ignores these.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            # Whatever the shell prefers: the append writes literals as these bytes.
            client_encoding="UTF8",
            options=" ".join(options),
            application_name=role or "registry",
            connection_factory=PatientConnection,
            cursor_factory=PatientCursor,
        )
    except psycopg2.Error as error:
        raise UnavailableError(f"PostgreSQL cannot be reached ({type(error).__name__})") from error
    connection.autocommit, connection.patience = True, patience
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
    """At most `size` connections in one role, each lent to one caller at a time; other callers wait."""

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
            connection = self._borrow()
            try:
                with connection.cursor() as cursor:
                    yield cursor
            except psycopg2.errors.QueryCanceled as error:
                raise TooSlowError("a statement took too long") from error
            except psycopg2.Error as error:
                if not is_lost(connection, error):
                    raise
                if _is_gone(connection, error):
                    self.close()  # the idle connections were lost with it
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
        except IndexError:  # checking first would not help: other threads pop too
            return None

    def _borrow(self) -> Connection:
        while (connection := self._idle()) is not None:
            if not connection.closed:
                return connection
        return connect(
            self._url,
            self._role,
            self._timeout / 1000 + GRACE_SECONDS,
            statement_timeout=self._timeout,
            idle_in_transaction_session_timeout=PATIENCE_MS,
        )

    def _give_back(self, connection: Connection) -> None:
        idle = psycopg2.extensions.TRANSACTION_STATUS_IDLE
        if not connection.closed and connection.info.transaction_status == idle:
            self._free.append(connection)
        else:
            connection.close()


# The attributes of each role that the login can become, the login itself included.
_REACHABLE = """
SELECT r.rolname, r.rolname = session_user,
    r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
    OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid AND relpersistence <> 't')
FROM pg_roles r WHERE pg_has_role(session_user, r.oid, 'MEMBER')
ORDER BY r.rolname <> session_user, r.rolname
"""


def check_login(url: str, login: Login) -> None:
    """Refuses to work unless who logs in can become the roles of `login` and nothing else.

    `RESET ROLE` and `SET ROLE` undo each other at any time: what a login can become is what it may do. So
    none of its roles may be superuser, have BYPASSRLS, make roles or databases, replicate, or own a table.
    """
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_REACHABLE)
            reachable = cursor.fetchall()
    finally:
        connection.close()
    name, roles = reachable[0][0], ROLES[login]
    remedy = f"log in as {login}, which `registry migrate` makes: see docs/operating.md"
    for role, is_login, is_privileged in reachable:
        if is_privileged:
            raise LoginError(
                f"the login {name} is or can become {role}, which is a superuser, owns a table, has"
                f" BYPASSRLS, or may make roles or databases; {remedy}"
            )
        if not is_login and role not in roles:
            raise LoginError(f"the login {name} can become {role}; {remedy}")
    if missing := set(roles) - {role for role, _, _ in reachable}:
        raise LoginError(f"the login {name} cannot become {min(missing)}; {remedy}")
