"""The projector: carries events from a feed into one read model, page by page.

A page's rows and the positions behind it are one transaction, moved by compare-and-set, so that each
event has its effect once, whoever is killed and however many projectors are at work. An event that
cannot be applied stops the read model at it, and is never skipped unless an operator says so
(`registry skip`): the reason goes to the database, for health and metrics, and to the log.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import psycopg2

from consumers.feeds import Feed, GapError, PoisonError, Source, StoppedError, WaitError
from consumers.interventions import last_intervention, skipped
from projections.read_model import ReadModel, active_version
from registry.events import FACTS, Event
from registry.feed import LoggedEvent
from registry.positions import OvertakenError, advance, source_of
from registry.postgres import Cursor, connect, is_lost
from registry.store_feed import Page

BATCH = 2_000
STAND_BY_SECONDS = 1.0
INTERVAL_SECONDS = 0.02
POISON_SECONDS = 60.0
"""After so long a stopped read model tries its event again: the cause may have been mended."""
ALIVE_SECONDS = 2.0
FROZEN_SECONDS = 10
"""PostgreSQL ends the session of a projector that has not been heard of for so long: others take over."""
_LOCK_SPACE = 4203

log = logging.getLogger("registry.projector")


class ReplacedError(Exception):
    """Another release has rebuilt the read model in another version: only that one goes on with it."""


class Projector:
    """Keeps read models that share a feed up to date until it is stopped."""

    def __init__(self, url: str, models: Sequence[ReadModel], source: Source) -> None:
        self._url, self._models, self._source = url, models, source
        self._name = " and ".join(model.name for model in models)
        self._stopped: dict[str, _Stopped] = {}
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"projector-{self._name}", daemon=True)

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
        """Works when it may; begins again after anything that passes."""
        while not self._leaving.is_set():
            try:
                # Rows and position are one transaction: one that a crash takes back is applied again.
                connection = connect(
                    self._url,
                    "registry_project",
                    synchronous_commit="off",
                    idle_session_timeout=FROZEN_SECONDS * 1000,
                    idle_in_transaction_session_timeout=FROZEN_SECONDS * 1000,
                )
                with closing(connection), connection.cursor() as cursor:
                    self._work(cursor)
            except (OvertakenError, ReplacedError, WaitError) as error:
                log.warning("%s", error)
            except Exception as error:
                # Whatever it was, it begins again: a read model never stays behind unsaid.
                log.warning("%s begins again after %s", self._name, type(error).__name__)
            self._leaving.wait(STAND_BY_SECONDS)

    def _work(self, cursor: Cursor) -> None:
        """Follows a feed, until a read model stops or one that had stopped is to be tried again."""
        if self._source.alone and not _take_lock(cursor, self._models[0].name):
            return
        while not (going := self._going(cursor)):
            if self._leaving.wait(STAND_BY_SECONDS):
                return
        passed_over = {model.name: skipped(cursor, model.name) for model in going}
        with closing(self._source.feed(going, cursor)) as feed:
            heard = looked = time.monotonic()
            while not self._leaving.is_set() and len(going) == len(self._models) - len(self._stopped):
                began = time.monotonic()
                pages = self._read(cursor, feed, going)
                for model, page in pages:
                    self._apply(cursor, model, page, passed_over[model.name])
                if pages:
                    heard = time.monotonic()
                    # After a first event at once, what comes in quick succession makes batches.
                    self._leaving.wait(began + INTERVAL_SECONDS - heard)
                elif began > heard + ALIVE_SECONDS:
                    cursor.execute("SELECT")
                    heard = began
                if self._stopped and began > looked + STAND_BY_SECONDS:
                    looked = began
                    self._going(cursor)

    def _read(
        self, cursor: Cursor, feed: Feed, going: Sequence[ReadModel]
    ) -> Sequence[tuple[ReadModel, Page]]:
        try:
            return feed.read(BATCH)
        except GapError as gap:
            for model in going:
                self._stop(cursor, model, gap)
            return []

    def _apply(self, cursor: Cursor, model: ReadModel, page: Page, passed_over: frozenset[int]) -> None:
        try:
            apply_page(cursor, model, page, passed_over)
        except PoisonError as poison:
            self._stop(cursor, model, poison)

    def _stop(self, cursor: Cursor, model: ReadModel, stop: StoppedError) -> None:
        log.error("%s stops: %s", model.name, stop)
        _say_stopped(cursor, model.name, stop)
        said = last_intervention(cursor, model.name)
        self._stopped[model.name] = _Stopped(time.monotonic() + POISON_SECONDS, said)

    def _going(self, cursor: Cursor) -> list[ReadModel]:
        """Those that have not stopped, and those that are to try again: after a time, or when told to."""
        now = time.monotonic()
        for name, stopped in list(self._stopped.items()):
            if now > stopped.until or last_intervention(cursor, name) != stopped.said:
                del self._stopped[name]
        return [model for model in self._models if model.name not in self._stopped]


def projectors_of(url: str, source: Source, models: Sequence[ReadModel]) -> list[Projector]:
    """One for all read models that are read for at once; not started yet."""
    return [Projector(url, each, source) for each in source.together(models)]


class _Stopped(NamedTuple):
    """When a read model that stopped is tried again, and what an operator had said last."""

    until: float
    said: int | None


def apply_page(
    cursor: Cursor, model: ReadModel, page: Page, passed_over: frozenset[int] = frozenset()
) -> None:
    """Applies a page in one transaction; a poison event leaves those before it applied.

    `passed_over` are the positions that an operator told the read model to skip. Raises `PoisonError`
    when the read model stands before an event that it cannot apply.
    """
    try:
        _apply(cursor, model, page, passed_over)
    except (OvertakenError, ReplacedError):
        raise
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        _apply_singly(cursor, model, page, passed_over)


def _apply(cursor: Cursor, model: ReadModel, page: Page, passed_over: frozenset[int]) -> None:
    events = decoded(model, page.events, passed_over)
    cursor.execute("BEGIN")
    try:
        # The positions first: who was overtaken finds out before it changes a row.
        advance(cursor, model.name, page.at, page.to)
        _check_version(cursor, model)
        if events:
            model.apply(cursor, events)
        cursor.execute("COMMIT")
    except Exception:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise


def _check_version(cursor: Cursor, model: ReadModel) -> None:
    active = active_version(cursor, model.name)
    if active != model.version:
        raise ReplacedError(f"{model.name} has version {active} now, and this release has {model.version}")


def decoded(
    model: ReadModel, page: Sequence[LoggedEvent], passed_over: frozenset[int] = frozenset()
) -> list[Event]:
    """The events of a page that the read model takes."""
    return [
        logged.event()
        for logged in page
        if _takes(model.takes, logged.type, logged.schema_version) and logged.position not in passed_over
    ]


@functools.cache
def _takes(beginnings: tuple[str, ...], kind: str, schema_version: int) -> bool:
    """Whether an event is one of the read model's: also one that this release does not know.

    Nobody can say that an unknown event changes nothing here; decoding it stops the read model.
    """
    return f"{kind}/{schema_version}" not in FACTS or kind.startswith(beginnings)


def _apply_singly(cursor: Cursor, model: ReadModel, page: Page, passed_over: frozenset[int]) -> None:
    """Finds the event that cannot be applied, one transaction an event."""
    for single in page.singly():
        try:
            _apply(cursor, model, single, passed_over)
        except (OvertakenError, ReplacedError):
            raise
        except Exception as error:
            if is_lost(cursor.connection, error):
                raise
            (logged,) = single.events
            partition = logged.partition(page.partitions)
            raise PoisonError(partition, logged.position, f"{logged.type}: {reason_of(error)}") from error


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


def _say_stopped(cursor: Cursor, name: str, stop: StoppedError) -> None:
    cursor.execute(
        "UPDATE read_model_position SET stopped_at = %s, stopped_because = %s"
        " WHERE name = %s AND source = %s",
        (stop.at, stop.reason, name, source_of(stop.partition)),
    )
