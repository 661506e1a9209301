"""A writing session: one connection that reads what decisions need, and appends what they decide.

A thread has a session of its own. What was read and what is appended go through one connection, so that
nothing that was read from a lost server is appended on the one that took over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter

import msgspec
import psycopg2
import psycopg2.errors

from registry.event_store.append import STAGING, Appended, ConnectionLostError, Unit, append
from registry.event_store.log import LoggedEvent
from registry.postgres.clock import SystemTime, system_time
from registry.postgres.connections import (
    PATIENCE_MS,
    STILL_SECONDS,
    Connection,
    Cursor,
    UnavailableError,
    connect,
    is_full,
    is_lost,
)
from registry.postgres.disk_space import NoRoomError, Room

# Errors of the server, not of a unit: nothing is recorded, and the same may be recorded later.
TRY_AGAIN = (
    psycopg2.errors.LockNotAvailable,
    psycopg2.errors.QueryCanceled,
    psycopg2.errors.InsufficientResources,
)


class Loaded(msgspec.Struct, frozen=True):
    """The streams and learners that were read at one moment, when `position` was the last one."""

    position: int
    streams: dict[str, list[LoggedEvent]]
    learners: dict[bytes, str]


# Prepared, since planning took as long as execution; one statement, so that all rows are of one moment.
_LOADING = """
PREPARE loading (text, text) AS
SELECT position, subject, version, type, schema_version, time, data FROM event
WHERE subject = ANY (string_to_array($1, E'\\x1f'))
UNION ALL
SELECT 0, learner_id::text, 0, '', 0, NULL, key FROM alias
WHERE key = ANY (string_to_array($2, ' ')::bytea[])
UNION ALL
SELECT coalesce(max(position), 0), '', 0, '', 0, NULL, '' FROM event
"""


class Session:
    """A connection in the role `registry_write`, made when it is first used and again after a loss."""

    def __init__(self, url: str, time: SystemTime = system_time) -> None:
        self._url, self._room, self._time = url, Room(url), time
        self._connection: Connection | None = None

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor for reading, each statement in its own transaction; connects where that is needed."""
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self._connected()
        try:
            with connection.cursor() as cursor:
                yield cursor
        except psycopg2.Error as error:
            if isinstance(error, TRY_AGAIN):
                raise UnavailableError(f"PostgreSQL cannot read now ({type(error).__name__})") from error
            if not is_lost(connection, error):
                raise
            self.close()
            raise ConnectionLostError(f"PostgreSQL was lost ({type(error).__name__})") from error

    def load(self, subjects: Iterable[str], alias_keys: Iterable[bytes]) -> Loaded:
        """All events of these subjects, each in the order of its versions, and the learners by alias."""
        with self.cursor() as cursor:
            cursor.execute(
                "EXECUTE loading (%s, %s)",
                # One text each, since psycopg2 writes an array value by value; no id holds the separator.
                ("\x1f".join(subjects), " ".join(["\\x" + key.hex() for key in alias_keys])),
            )
            rows = cursor.fetchall()
        last = 0
        streams: dict[str, list[LoggedEvent]] = {}
        learners: dict[bytes, str] = {}
        for position, subject, version, kind, schema, time, data in rows:
            if kind:
                logged = LoggedEvent(position, subject, version, kind, schema, time, bytes(data))
                streams.setdefault(subject, []).append(logged)
            elif subject:
                learners[bytes(data)] = subject
            else:
                last = position
        for events in streams.values():
            events.sort(key=attrgetter("version"))
        return Loaded(last, streams, learners)

    def append(self, units: Sequence[Unit], relied_on: Collection[str], read_at: int) -> Appended:
        """Appends as `registry.event_store.append.append`; never connects again.

        Raises `NoRoomError`, `ClockError` or `UnavailableError` where nothing was recorded,
        `ConnectionLostError`, or the error of PostgreSQL or psycopg2 about a row that cannot be recorded.
        """
        self._room.check()
        connection = self._connection
        if connection is None:
            # Not recorded, but the remedy is the same: what was loaded may be of another server.
            raise ConnectionLostError("PostgreSQL was lost before the append")
        try:
            with connection.cursor() as cursor:
                answer = append(cursor, units, relied_on, read_at, self._time)
        except Exception as error:
            lost = is_lost(connection, error)
            if not _rolled_back(connection):
                self.close()
            self._report_full(error)
            if isinstance(error, TRY_AGAIN):
                raise UnavailableError(f"PostgreSQL cannot record now ({type(error).__name__})") from error
            if lost:
                raise ConnectionLostError(f"PostgreSQL was lost ({type(error).__name__})") from error
            raise
        self._room.recorded()
        return answer

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded; may be asked by any thread."""
        return self._room.is_there()

    def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        connection = connect(
            self._url,
            "registry_write",
            STILL_SECONDS,
            lock_timeout=PATIENCE_MS,
            idle_in_transaction_session_timeout=PATIENCE_MS,
            # Reads and appends probe a few keys in tables of any size: never scan, whatever statistics say.
            enable_seqscan="off",
            enable_hashjoin="off",
            enable_mergejoin="off",
            # Planning the append's queries took longer than executing them.
            plan_cache_mode="force_generic_plan",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(STAGING)
                cursor.execute(_LOADING)
        except psycopg2.Error as error:
            lost = is_lost(connection, error)
            connection.close()
            self._report_full(error)
            if not lost:
                raise
            raise UnavailableError(f"PostgreSQL was lost ({type(error).__name__})") from error
        return connection

    def _report_full(self, error: Exception) -> None:
        if is_full(error):
            self._room.refused()
            raise NoRoomError("PostgreSQL has no room to record") from error


def _rolled_back(connection: Connection) -> bool:
    """Rolls back; returns whether the connection survives, outside any transaction.

    Inside a failed or open transaction the next append would be acknowledged and never committed.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        return False
    return not connection.closed
