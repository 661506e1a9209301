"""The projector: carries events from a feed into one read model, batch by batch.

A batch's rows and the position behind it are one transaction, moved by compare-and-set, so that each
event has its effect once, whoever is killed. One projector per read model works, by a session's advisory
lock; others stand by. An event that cannot be applied stops the read model at it, and is never skipped:
the reason goes to the database (for health and metrics) and to the log.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import zlib
from collections.abc import Sequence
from typing import Protocol

import psycopg2

from projections.read_model import ReadModel, active_version, position
from registry.events import FACTS, Event
from registry.feed import LOG, LoggedEvent
from registry.positions import OvertakenError, advance
from registry.postgres import Connection, Cursor, connect, is_lost

BATCH = 2_000
STAND_BY_SECONDS = 1.0
INTERVAL_SECONDS = 0.02
POISON_SECONDS = 60.0
"""After so long a stopped read model tries its event again: the cause may have been mended."""
_LOCK_SPACE = 4203

log = logging.getLogger("registry.projector")


class Feed(Protocol):
    """The log in order, wherever it comes from."""

    def read(self, after: int, limit: int) -> list[LoggedEvent]: ...
    def wait(self) -> None: ...


class PoisonError(Exception):
    """An event that the read model cannot apply."""

    def __init__(self, at: int, kind: str, reason: str) -> None:
        super().__init__(f"event {at} ({kind}): {reason}")
        self.at, self.reason = at, f"{kind}: {reason}"


class ReplacedError(Exception):
    """Another release has rebuilt the read model in another version: only that one goes on with it."""


class Projector:
    """Keeps one read model up to date until it is stopped."""

    def __init__(self, url: str, model: ReadModel, feed: Feed) -> None:
        self._url, self._model, self._feed = url, model, feed
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"projector-{model.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """It ends after its batch."""
        self._leaving.set()

    def stop(self, seconds: float | None = None) -> None:
        """Waits for its end, at most so long: a batch that is left halfway is applied again by the next."""
        self.leave()
        self._thread.join(seconds)

    def _run(self) -> None:
        """Works when it holds the lock; begins again after anything that passes."""
        while not self._leaving.is_set():
            try:
                # Rows and position are one transaction: one that a crash takes back is applied again.
                connection = connect(self._url, "registry_project", synchronous_commit="off")
                try:
                    self._work(connection)
                finally:
                    connection.close()
            except (OvertakenError, ReplacedError) as error:
                log.warning("%s", error)
            except Exception as error:
                # Whatever it was, it begins again: a read model never stays behind unsaid.
                log.warning("%s begins again after %s", self._model.name, type(error).__name__)
            self._leaving.wait(STAND_BY_SECONDS)

    def _work(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            if not _take_lock(cursor, self._model.name):
                return
            at = position(cursor, self._model.name)
            stopped = _is_stopped(cursor, self._model.name)
            while not self._leaving.is_set():
                began = time.monotonic()
                page = self._feed.read(at, BATCH)
                if not page:
                    self._feed.wait()
                    continue
                try:
                    at = apply_page(cursor, self._model, at, page)
                except PoisonError as poison:
                    log.error("%s stops: %s", self._model.name, poison)  # noqa: TRY400 - a trace can hold a row
                    _say_stopped(cursor, self._model.name, poison.at, poison.reason)
                    self._leaving.wait(POISON_SECONDS)
                    return
                if stopped:
                    _say_stopped(cursor, self._model.name, None, None)
                    stopped = False
                # After a first event at once, what comes in quick succession makes batches.
                self._leaving.wait(began + INTERVAL_SECONDS - time.monotonic())


def apply_page(cursor: Cursor, model: ReadModel, after: int, page: Sequence[LoggedEvent]) -> int:
    """Applies a page in one transaction; a poison event leaves those before it applied.

    Answers the new position; raises `PoisonError` when the read model stands before such an event.
    """
    try:
        return _apply(cursor, model, after, page)
    except (OvertakenError, ReplacedError):
        raise
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        return _apply_singly(cursor, model, after, page)


def _apply(cursor: Cursor, model: ReadModel, after: int, page: Sequence[LoggedEvent]) -> int:
    events = decoded(model, page)
    last = page[-1].position
    cursor.execute("BEGIN")
    try:
        # The position first: who was overtaken finds out before it changes a row.
        advance(cursor, model.name, LOG, after, last)
        _check_version(cursor, model)
        if events:
            model.apply(cursor, events)
        cursor.execute("COMMIT")
    except Exception:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise
    return last


def _check_version(cursor: Cursor, model: ReadModel) -> None:
    active = active_version(cursor, model.name)
    if active != model.version:
        raise ReplacedError(f"{model.name} has version {active} now, and this release has {model.version}")


def decoded(model: ReadModel, page: Sequence[LoggedEvent]) -> list[Event]:
    """The events of a page that the read model takes."""
    return [logged.event() for logged in page if _takes(model.takes, logged.type, logged.schema_version)]


@functools.cache
def _takes(beginnings: tuple[str, ...], kind: str, schema_version: int) -> bool:
    """Whether an event is one of the read model's: also one that this release does not know.

    Nobody can say that an unknown event changes nothing here; decoding it stops the read model.
    """
    return f"{kind}/{schema_version}" not in FACTS or kind.startswith(beginnings)


def _apply_singly(cursor: Cursor, model: ReadModel, after: int, page: Sequence[LoggedEvent]) -> int:
    """Finds the event that cannot be applied, one transaction an event."""
    for logged in page:
        try:
            after = _apply(cursor, model, after, [logged])
        except (OvertakenError, ReplacedError):
            raise
        except Exception as error:
            if is_lost(cursor.connection, error):
                raise
            raise PoisonError(logged.position, logged.type, reason_of(error)) from error
    return after


def reason_of(error: Exception) -> str:
    """What is said of an event that cannot be applied."""
    # A database error's text can hold a row's values; its class cannot.
    return type(error).__name__ if isinstance(error, psycopg2.Error) else str(error)


def _take_lock(cursor: Cursor, name: str) -> bool:
    cursor.execute(
        "SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, zlib.crc32(name.encode()) & 0x7FFFFFFF)
    )
    (taken,) = cursor.fetchone() or (False,)
    return bool(taken)


def _say_stopped(cursor: Cursor, name: str, at: int | None, because: str | None) -> None:
    cursor.execute(
        "UPDATE read_model SET stopped_at = %s, stopped_because = %s WHERE name = %s", (at, because, name)
    )


def _is_stopped(cursor: Cursor, name: str) -> bool:
    cursor.execute("SELECT stopped_at IS NOT NULL FROM read_model WHERE name = %s", (name,))
    (stopped,) = cursor.fetchone() or (False,)
    return bool(stopped)
