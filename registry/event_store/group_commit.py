"""The writer: one thread per process that appends units to the log.

All threads hand their units to it, and whatever waits when it is free becomes one transaction: commits
coalesce by themselves, without a timer. How one goes to the database is in `registry.event_store.append`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import psycopg2
import psycopg2.errors

from registry.event_store.append import (
    COPY_FROM_ROWS,
    STAGING,
    Appended,
    ConflictError,
    MaybeRecordedError,
    Unit,
    append,
)
from registry.event_store.rivals import Waiting, without_rivals
from registry.postgres.connections import PATIENCE_MS, Connection, UnavailableError, connect, is_full, is_lost
from registry.postgres.disk_space import NoRoomError, Room

MOST_ROWS = 5_000
# So often the writer gives way to those who may come back after a commit.
GIVES_WAY = 30
# Of the server, not of a unit: nothing is recorded, and the same may be recorded later.
TRY_AGAIN = (
    psycopg2.errors.LockNotAvailable,
    psycopg2.errors.QueryCanceled,
    psycopg2.errors.InsufficientResources,
)


class Writer:
    """The one thread of a process that appends; what waits when it is free becomes one transaction."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.epoch = 0
        """How often it was connected: another server may have taken over, that lacks what the one before it
        had acknowledged. What was decided in another epoch is decided again."""
        self._queue: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._taken = self._together = 0
        self._connection: Connection | None = None
        self._room = Room(url)
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def append(self, unit: Unit) -> list[int]:
        """Records the unit and answers its positions, when it is durable."""
        (result,) = self.append_each([unit])
        if isinstance(result, Exception):
            raise result
        return result

    def append_each(self, units: Sequence[Unit]) -> list[list[int] | Exception]:
        """Records each unit by itself, all in as few transactions as can be: its positions, or why not."""
        if not units:
            return []
        left = len(units)
        # A bare lock wakes the caller at half the cost of a future.
        done = threading.Lock()
        done.acquire()

        def settled() -> None:  # in the writer's thread only
            nonlocal left
            left -= 1
            if left == 0:
                done.release()

        together = [Waiting(unit, settled) for unit in units]
        with self._lock:
            if self._closed:
                raise UnavailableError("the registry is stopping")
            self._queue.put(together)
        done.acquire()
        return [waiting.result for waiting in together]

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return self._room.is_there()

    def close(self) -> None:
        """Records what is queued, then stops."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._reset()

    def _run(self) -> None:
        waiting: list[Waiting] = []
        going_on = True
        while going_on or waiting:
            if going_on:
                going_on = self._take(waiting)
            batch, waiting = without_rivals(waiting)
            if batch:
                self._record(batch)

    def _take(self, waiting: list[Waiting]) -> bool:
        """Adds what is queued, waiting only when there is nothing to do; False when it was the last.

        Callers whose units were settled just now come back at once, and half as many commits is worth
        more than the fraction of a millisecond that they take: the writer gives way to them first.
        """
        if 1 < self._together < COPY_FROM_ROWS:
            for _ in range(GIVES_WAY):
                if self._queue.qsize() >= self._together:
                    break
                time.sleep(0)
        self._taken, rows = 0, sum(len(each.unit.events) for each in waiting)
        while rows < MOST_ROWS:
            try:
                together = self._queue.get(block=not waiting)
            except queue.Empty:
                break
            if together is None:
                return False
            self._taken += 1
            waiting += together
            rows += sum(len(each.unit.events) for each in together)
        return True

    def _record(self, batch: list[Waiting]) -> None:
        """Appends the batch and settles each unit."""
        try:
            self._room.check()
            connection = self._connected()
            if not (batch := self._of_this_epoch(batch)):
                return
            answer = self._call(connection, [each.unit for each in batch])
            self._together = self._taken + self._queue.qsize()
        except UnavailableError as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            # The last resort: the database refuses something that only one unit can have caused.
            half = len(batch) // 2
            self._record(batch[:half])
            self._record(batch[half:])
        else:
            self._settle(batch, answer)

    def _settle(self, batch: list[Waiting], answer: Appended) -> None:
        if answer.changed is not None:
            stale = [each for each in batch if _is_stale(each.unit, answer.changed)]
            others = [each for each in batch if not _is_stale(each.unit, answer.changed)]
            _fail(stale, ConflictError("what it relied on has changed"))
            if others:
                self._record(others)
            return
        lost, position = frozenset(answer.conflicts), answer.last
        for number, each in enumerate(batch):
            if number in lost:
                each.settle(ConflictError("another writer was first"))
                continue
            first, position = position + 1, position + len(each.unit.events)
            each.settle(list(range(first, position + 1)))

    def _of_this_epoch(self, batch: list[Waiting]) -> list[Waiting]:
        """The batch without what was decided before PostgreSQL was lost."""
        of_this: list[Waiting] = []
        outlived: list[Waiting] = []
        for each in batch:
            (of_this if each.unit.epoch in (None, self.epoch) else outlived).append(each)
        _fail(outlived, ConflictError("PostgreSQL was lost since it was decided"))
        return of_this

    def _call(self, connection: Connection, units: list[Unit]) -> Appended:
        try:
            with connection.cursor() as cursor:
                answer = append(cursor, units)
        except Exception as error:
            lost = is_lost(connection, error)
            if not _rolled_back(connection):
                self._reset()
            self._tell_room(error)
            if isinstance(error, TRY_AGAIN):
                raise UnavailableError(f"PostgreSQL cannot record now ({type(error).__name__})") from error
            if lost:
                raise MaybeRecordedError(f"PostgreSQL was lost ({type(error).__name__})") from error
            raise
        self._room.recorded()
        return answer

    def _tell_room(self, error: Exception) -> None:
        if is_full(error):
            self._room.refused()
            raise NoRoomError("PostgreSQL has no room to record") from error

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(
                self._url,
                "registry_write",
                lock_timeout=PATIENCE_MS,
                idle_in_transaction_session_timeout=PATIENCE_MS,
                # The append probes a few keys in tables of any size: never scan, whatever the statistics say.
                enable_seqscan="off",
                enable_hashjoin="off",
                enable_mergejoin="off",
                # And never plan anew: the planning of the append's queries took longer than their execution.
                plan_cache_mode="force_generic_plan",
                # The literals are written here (`_literal`): in these terms.
                standard_conforming_strings="on",
                # A statement of the append sees what was there when it got the lock, not before.
                default_transaction_isolation=r"read\ committed",
                client_encoding="UTF8",
            )
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(STAGING)
            except psycopg2.Error as error:
                self._reset()
                self._tell_room(error)
                raise UnavailableError(f"PostgreSQL was lost ({type(error).__name__})") from error
            self.epoch += 1
        return self._connection

    def _reset(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


def _rolled_back(connection: Connection) -> bool:
    """Whether the session lives on, in no transaction: what came next in one that has failed, or was never
    ended, would be acknowledged and never committed."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        return False
    return not connection.closed


def _is_stale(unit: Unit, changed: Mapping[str, int]) -> bool:
    return any(changed.get(subject, 0) > read_at for subject, read_at in unit.relied_on.items())


def _fail(batch: Iterable[Waiting], error: Exception) -> None:
    for each in batch:
        each.settle(error)
