"""The projector: carries events from a feed into read models, page by page.

The rows and positions of a page change in one transaction, the positions by compare-and-set, so that each
event takes effect once, whatever is killed and however many projectors work. An event that cannot be applied
stops the read model, and is never skipped unless an operator says so (`registry skip`). The reason goes to
the database, for health and metrics, and to the log.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

from consumers.applying import ReplacedError, apply_page, check_version
from consumers.feeds import Feed, GapError, PoisonError, Source, StoppedError, WaitError
from consumers.interventions import last_intervention
from consumers.store_feed import Page
from projections.read_model import ReadModel
from registry import defects
from registry.event_store.read_model_positions import OvertakenError, source_of
from registry.logs import Troubles
from registry.postgres.connections import STILL_SECONDS, Cursor, connect
from registry.postgres.locks import Lock

MAX_PAGE = 2_000
STAND_BY_SECONDS = 1.0
INTERVAL_SECONDS = 0.02
POISON_SECONDS = 60.0
"""After this time a stopped read model tries its event again: the cause may have been fixed."""
ALIVE_SECONDS = 4.0
FROZEN_SECONDS = 10
"""PostgreSQL ends the session of a projector that is silent for this long, and another takes over."""

log = logging.getLogger("registry.projector")


class Projector:
    """Keeps read models that share a feed up to date until it is stopped."""

    def __init__(self, url: str, models: Sequence[ReadModel], source: Source) -> None:
        self._url, self._models, self._source = url, models, source
        self._name = " and ".join(model.name for model in models)
        self._stopped: dict[str, _Stopped] = {}
        self._leaving = threading.Event()
        self.troubles = Troubles(log)
        self.turned = time.monotonic()
        """When the loop last turned: one that stands still is seen from outside."""
        self._thread = threading.Thread(target=self._run, name=f"projector-{self._name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """Makes the projector end after its page."""
        self._leaving.set()

    def stop(self, seconds: float | None = None) -> None:
        """Ends the projector, and waits at most so long: the next one applies an unfinished page again."""
        self.leave()
        self._thread.join(seconds)

    @property
    def works(self) -> bool:
        """False when the thread has ended: restart the process."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work_on()
        except BaseException as error:
            log.critical("the projector of %s has ended after %s", self._name, defects.named(error))

    def _work_on(self) -> None:
        """Works while it may, and begins again after every failure."""
        while not self._leaving.is_set():
            self.turned = time.monotonic()
            try:
                # Rows and positions change together, so a transaction that a crash loses is applied again.
                connection = connect(
                    self._url,
                    "registry_project",
                    STILL_SECONDS,
                    synchronous_commit="off",
                    # A page is too short for compilation to pay off.
                    jit="off",
                    idle_session_timeout=FROZEN_SECONDS * 1000,
                    idle_in_transaction_session_timeout=FROZEN_SECONDS * 1000,
                )
                with closing(connection), connection.cursor() as cursor:
                    self._work(cursor)
            except (OvertakenError, WaitError) as error:
                self.troubles.met(str(error))
            except Exception as error:
                # Begin again after every error: a read model must not stay behind unnoticed.
                self.troubles.met(f"{self._name} begins again after {defects.named(error)}")
            self._leaving.wait(STAND_BY_SECONDS)

    def _work(self, cursor: Cursor) -> None:
        """Follows a feed until no read model continues, or a stopped one is to be tried again."""
        while self._source.alone and not _try_lock(cursor, self._models[0].name):
            # Stand by on the same connection: to try costs one statement a second.
            self.turned = time.monotonic()
            self.troubles.standing_by()
            if self._leaving.wait(STAND_BY_SECONDS):
                return
        while not (going := self._going(cursor)):
            self.turned = time.monotonic()
            if self._leaving.wait(STAND_BY_SECONDS):
                return
        with closing(self._source.feed(going, cursor)) as feed:
            self.troubles.over()
            active = checked = time.monotonic()
            while going and not self._leaving.is_set():
                began = self.turned = time.monotonic()
                pages = self._read(cursor, feed, going)
                for model, page in pages:
                    if not self._apply(cursor, model, page):
                        going.remove(model)
                        feed.drop(model)
                if pages:
                    active = time.monotonic()
                    # The first event is applied at once; those that follow quickly are collected into pages.
                    self._leaving.wait(began + INTERVAL_SECONDS - active)
                elif began > active + ALIVE_SECONDS:
                    cursor.execute("SELECT")
                    active = began
                if self._stopped and began > checked + STAND_BY_SECONDS:
                    checked = began
                    if self._to_try_again(cursor):
                        return

    def _read(self, cursor: Cursor, feed: Feed, going: list[ReadModel]) -> Sequence[tuple[ReadModel, Page]]:
        try:
            return feed.read(MAX_PAGE)
        except GapError as gap:
            for model in going:
                self._stop(cursor, model, gap)
            going.clear()
            return []

    def _apply(self, cursor: Cursor, model: ReadModel, page: Page) -> bool:
        """Applies a page; returns whether the read model continues."""
        try:
            apply_page(cursor, model, page)
        except PoisonError as poison:
            self._stop(cursor, model, poison)
            return False
        except ReplacedError as replaced:
            self._leave_alone(cursor, model, replaced)
            return False
        return True

    def _stop(self, cursor: Cursor, model: ReadModel, stop: StoppedError) -> None:
        log.error("%s stops: %s", model.name, stop)
        # Every intervention after this one is about this stop.
        intervention = last_intervention(cursor, model.name)
        _record_stop(cursor, model.name, stop)
        self._stopped[model.name] = _Stopped(time.monotonic() + POISON_SECONDS, intervention)

    def _leave_alone(self, cursor: Cursor, model: ReadModel, replaced: ReplacedError) -> None:
        log.warning("%s", replaced)
        intervention = last_intervention(cursor, model.name)
        self._stopped[model.name] = _Stopped(time.monotonic() + POISON_SECONDS, intervention)

    def _to_try_again(self, cursor: Cursor) -> list[str]:
        """The stopped read models that are to try again, after a time or an intervention of an operator."""
        now = time.monotonic()
        return [
            name
            for name, stopped in self._stopped.items()
            if now > stopped.until or last_intervention(cursor, name) != stopped.intervention
        ]

    def _going(self, cursor: Cursor) -> list[ReadModel]:
        """The read models to read for: neither stopped nor of another release."""
        for name in self._to_try_again(cursor):
            del self._stopped[name]
        going = [model for model in self._models if model.name not in self._stopped]
        for model in list(going):
            try:
                check_version(cursor, model)
            except ReplacedError as replaced:
                self._leave_alone(cursor, model, replaced)
                going.remove(model)
        return going


def projectors_of(url: str, source: Source, models: Sequence[ReadModel]) -> list[Projector]:
    """The projectors of these read models, not started yet."""
    return [Projector(url, group, source) for group in source.together(models)]


@contextmanager
def at_work(projectors: Sequence[Projector], seconds: float | None = None) -> Iterator[None]:
    """Runs projectors until the block ends, then waits for each, at most so long."""
    for projector in projectors:
        projector.start()
    try:
        yield
    finally:
        for projector in projectors:
            projector.leave()
        for projector in projectors:
            projector.stop(seconds)


class _Stopped(NamedTuple):
    """The time at which a stopped read model is tried again, and the last intervention before that."""

    until: float
    intervention: int | None


def _try_lock(cursor: Cursor, name: str) -> bool:
    cursor.execute(
        "SELECT pg_try_advisory_lock(%s, %s)", (Lock.PROJECT, zlib.crc32(name.encode()) & 0x7FFFFFFF)
    )
    (locked,) = cursor.fetchone() or (False,)
    return bool(locked)


def _record_stop(cursor: Cursor, name: str, stop: StoppedError) -> None:
    cursor.execute(
        "UPDATE read_model_position SET stopped_at = %s, stopped_because = %s"
        " WHERE name = %s AND source = %s",
        (stop.at, stop.reason, name, source_of(stop.partition)),
    )
