"""The recorder of a process: what waits becomes a page, which its thread loads, decides and appends.

While one page is recorded the next one gathers; then the thread waits at most half a millisecond for the
callers that were just answered. One thread is enough: another one's append would wait for the same lock, and
a page of all that waits costs less than two halves.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from registry.event_store.session import Session
from registry.event_store.vault import Vault
from registry.postgres.connections import BusyError
from registry.recording.decisions import Command, Outcome, Settled
from registry.recording.pages import settle

MAX_PAGE = 2_000
MAX_PAGE_SECONDS = 30.0
MAX_WAITING = 10_000
"""Callers. A batch is one of them, since it has one page at a time in the recorder."""
# Callers who were answered just now mostly come back at once: half as many commits are worth more than the
# fraction of a millisecond that they take.
LINGER_SECONDS = 0.000_1
MAX_LINGERS = 5

log = logging.getLogger("registry.recorder")


class Submission(msgspec.Struct):
    """Commands on their way; `done` is called once, in the recorder's thread, with their outcomes.

    A submission that is `given_up` before its page is taken is not recorded, and not answered.
    """

    commands: Sequence[Command[Outcome]]
    done: Callable[[list[Settled]], None]
    given_up: bool = False


class PageRecorder:
    """Decides and records what waits, in a thread and a session of its own."""

    def __init__(
        self, url: str, vault: Vault, clock: Callable[[], dt.datetime], on_recorded: Callable[[], None]
    ) -> None:
        self._vault, self._clock, self._on_recorded = vault, clock, on_recorded
        self._session = Session(url)
        self._queue: deque[Submission] = deque()
        self._answered = 0
        self._began: float | None = None
        self._changed = threading.Condition()
        self._closed = self._failed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def submit(self, submission: Submission) -> None:
        """Queues the commands; raises `BusyError` where it is stopped or too many wait."""
        with self._changed:
            if self._closed:
                raise BusyError("the recorder has ended" if self._failed else "the registry is stopping")
            if len(self._queue) >= MAX_WAITING:
                raise BusyError("too many callers wait to be recorded")
            self._queue.append(submission)
            self._changed.notify()

    @property
    def works(self) -> bool:
        """False when the thread has ended by a defect, or one page takes too long: restart the process."""
        began = self._began
        return not self._failed and (began is None or time.monotonic() - began < MAX_PAGE_SECONDS)

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return self._session.has_room()

    def close(self) -> None:
        """Records what waits, then stops."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(MAX_PAGE_SECONDS)

    def _run(self) -> None:
        try:
            while (page := self._take()) is not None:
                self._record(page)
        except BaseException as error:
            self._refuse_all()
            # Its text may hold a value of a command.
            log.critical("the recorder has ended after %s", type(error).__name__)
        finally:
            self._session.close()

    def _take(self) -> list[Submission] | None:
        """The next page; None when the recorder is closed and all is recorded."""
        for _ in range(MAX_LINGERS):
            if len(self._queue) >= self._answered or self._closed:
                break
            time.sleep(LINGER_SECONDS)
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if not self._queue:
                return None
            page: list[Submission] = []
            size = 0
            while self._queue and (not page or size + len(self._queue[0].commands) <= MAX_PAGE):
                submission = self._queue.popleft()
                if not submission.given_up:
                    page.append(submission)
                    size += len(submission.commands)
            return page

    def _record(self, page: Sequence[Submission]) -> None:
        commands = [command for submission in page for command in submission.commands]
        settled: list[Settled] | None = None
        self._began = time.monotonic()
        try:
            settled = settle(self._session, self._vault, self._clock, commands)
            self._on_recorded()
        finally:
            first = 0
            for submission in page:
                last = first + len(submission.commands)
                _answer(submission, None if settled is None else settled[first:last])
                first = last
            self._answered, self._began = len(page), None

    def _refuse_all(self) -> None:
        """Nobody waits for a thread that is gone."""
        with self._changed:
            self._closed = self._failed = True
            left = list(self._queue)
            self._queue.clear()
        for submission in left:
            _answer(submission, None)


def _answer(submission: Submission, settled: list[Settled] | None) -> None:
    """Hands over the outcomes; where there are none, a refusal for each command."""
    if settled is None:
        settled = [BusyError("the recorder has ended") for _ in submission.commands]
    try:
        submission.done(settled)
    except Exception as error:  # the caller's event loop may be closed by now
        log.warning("an outcome could not be handed over (%s)", type(error).__name__)
