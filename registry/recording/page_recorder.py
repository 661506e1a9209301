"""The recorder of a process: what waits becomes a page, which a thread loads, decides and appends.

A page has no timer: while pages are recorded, the next one gathers. To PostgreSQL, two threads of one process
are what two processes are: the lock and the indexes decide between them.
"""

from __future__ import annotations

import datetime as dt
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from registry import defects
from registry.event_store.session import Session
from registry.event_store.vault import Vault
from registry.postgres.clock import SystemTime, system_time
from registry.postgres.connections import BusyError
from registry.recording.decisions import Command, Outcome, Settled
from registry.recording.pages import settle

# One thread loads and decides while the other waits for its commit.
THREADS = 2
MAX_PAGE = 2_000
"""Commands from which a page is full; the last submission of a page may go beyond it."""
MAX_PAGE_SECONDS = 30.0
MAX_WAITING = 10_000
"""Submissions. A batch has at most two of them in the recorder."""

log = logging.getLogger("registry.recorder")


class Submission(msgspec.Struct):
    """Commands on their way; `done` is called once, in the recorder's thread, with their outcomes.

    A submission that is `given_up` before its page is taken is not recorded, and not answered.
    """

    commands: Sequence[Command[Outcome]]
    done: Callable[[list[Settled]], None]
    given_up: bool = False


class PageRecorder:
    """Decides and records what waits, in `THREADS` threads, each with a session of its own."""

    def __init__(
        self,
        url: str,
        vault: Vault,
        clock: Callable[[], dt.datetime],
        on_recorded: Callable[[], None],
        time: SystemTime = system_time,
    ) -> None:
        self._vault, self._clock, self._on_recorded = vault, clock, on_recorded
        self._sessions = [Session(url, time) for _ in range(THREADS)]
        # None ends the thread that takes it.
        self._waiting: queue.SimpleQueue[Submission | None] = queue.SimpleQueue()
        self._began: dict[Session, float] = {}
        self._gate = threading.Lock()
        self._closed = self._failed = False
        self._threads = [
            threading.Thread(target=self._run, args=(session,), name=f"recorder-{number}", daemon=True)
            for number, session in enumerate(self._sessions)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, submission: Submission) -> None:
        """Queues the commands; raises `BusyError` where it is stopped or too many wait."""
        with self._gate:
            if self._closed:
                raise BusyError("the recorder has ended" if self._failed else "the registry is stopping")
            if self._waiting.qsize() >= MAX_WAITING:
                raise BusyError("too many callers wait to be recorded")
            self._waiting.put(submission)

    @property
    def works(self) -> bool:
        """False when a thread has ended by a defect, or a page takes too long: restart the process."""
        first = min(list(self._began.values()), default=None)
        return not self._failed and (first is None or time.monotonic() - first < MAX_PAGE_SECONDS)

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return all(session.has_room() for session in self._sessions)

    def close(self) -> None:
        """Records what waits, then stops."""
        with self._gate:
            self._closed = True
        self._waiting.put(None)
        for thread in self._threads:
            thread.join(MAX_PAGE_SECONDS)

    def _run(self, session: Session) -> None:
        try:
            while (page := self._take()) is not None:
                self._record(session, page)
        except BaseException as error:
            self._refuse_all()
            # Its text may hold a value of a command.
            log.critical("the recorder has ended after %s", defects.named(error))
        finally:
            session.close()

    def _take(self) -> list[Submission] | None:
        """The next page; None when the recorder is closed and all is recorded."""
        page: list[Submission] = []
        size = 0
        while size < MAX_PAGE:
            try:
                submission = self._waiting.get(block=not page)
            except queue.Empty:
                break
            if submission is None:
                # The end comes after all that waits; what was taken is recorded first.
                self._waiting.put(None)
                return page or None
            if not submission.given_up:
                page.append(submission)
                size += len(submission.commands)
        return page

    def _record(self, session: Session, page: Sequence[Submission]) -> None:
        """Answers each submission as soon as all of its commands are settled."""
        commands: list[Command[Outcome]] = []
        waiting: list[tuple[Submission, range]] = []
        for submission in page:
            waiting.append((submission, range(len(commands), len(commands) + len(submission.commands))))
            commands += submission.commands
        settled: dict[int, Settled] = {}
        self._began[session] = time.monotonic()
        try:
            for some in settle(session, self._vault, self._clock, commands):
                settled |= some
                self._on_recorded()
                still: list[tuple[Submission, range]] = []
                for submission, lines in waiting:
                    if all(line in settled for line in lines):
                        _answer(submission, [settled[line] for line in lines])
                    else:
                        still.append((submission, lines))
                waiting = still
        finally:
            for submission, _ in waiting:
                _answer(submission, None)
            del self._began[session]

    def _refuse_all(self) -> None:
        """Nobody waits for a thread that is gone."""
        with self._gate:
            self._closed = self._failed = True
        with suppress(queue.Empty):
            while (submission := self._waiting.get_nowait()) is not None:
                _answer(submission, None)
        self._waiting.put(None)


def _answer(submission: Submission, settled: list[Settled] | None) -> None:
    """Hands over the outcomes; where there are none, a refusal for each command."""
    if settled is None:
        settled = [BusyError("the recorder has ended") for _ in submission.commands]
    try:
        submission.done(settled)
    except Exception as error:  # the caller's event loop may be closed by now
        log.warning("an outcome could not be handed over (%s)", type(error).__name__)
