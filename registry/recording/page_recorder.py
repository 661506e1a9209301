"""The recorder of a process: what waits becomes a page, which one thread loads, decides and appends.

A page has no timer: while one is recorded the next one gathers. To PostgreSQL, two threads of one process
are what two processes are: the lock and the indexes decide.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from registry.event_store.session import Session
from registry.event_store.vault import Vault
from registry.postgres.connections import UnavailableError
from registry.postgres.disk_space import Room
from registry.recording.decisions import Command, Outcome, Settled
from registry.recording.pages import settle

log = logging.getLogger("registry.recorder")

# One thread decides while the other waits for its commit.
THREADS = 1
MAX_PAGE = 2_000
MAX_WAITING = 20_000

_Submitted = tuple[Sequence[Command[Outcome]], "Future[list[Settled]]"]


class PageRecorder:
    """Decides and records what waits, in `THREADS` threads, each with a session of its own."""

    def __init__(
        self, url: str, vault: Vault, clock: Callable[[], dt.datetime], on_recorded: Callable[[], None]
    ) -> None:
        self._vault, self._clock, self._on_recorded = vault, clock, on_recorded
        self._room = Room(url)
        self._sessions = [Session(url, self._room) for _ in range(THREADS)]
        self._queue: deque[_Submitted] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._closed = self._failed = False
        self._threads = [
            threading.Thread(target=self._run, args=(session,), name=f"recorder-{number}", daemon=True)
            for number, session in enumerate(self._sessions)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, commands: Sequence[Command[Outcome]]) -> Future[list[Settled]]:
        """Settles the commands in order; raises `UnavailableError` where it is stopped or too many wait."""
        submitted: Future[list[Settled]] = Future()
        with self._changed:
            if self._closed:
                raise UnavailableError("the registry is stopping")
            if self._waiting + len(commands) > MAX_WAITING:
                raise UnavailableError("too many commands wait to be recorded")
            self._waiting += len(commands)
            self._queue.append((commands, submitted))
            self._changed.notify()
        return submitted

    @property
    def works(self) -> bool:
        """False when a thread has ended by a defect: the process is to be restarted."""
        return not self._failed

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return self._room.is_there()

    def close(self) -> None:
        """Records what waits, then stops."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, session: Session) -> None:
        try:
            while (page := self._take()) is not None:
                self._record(session, page)
        except BaseException as error:
            self._failed = True
            # Its text may hold a value of a command.
            log.critical("the recorder has ended after %s", type(error).__name__)
        finally:
            session.close()
            if self._failed:
                self._refuse_all()

    def _take(self) -> list[_Submitted] | None:
        """What waits; None when the recorder is closed and all is recorded."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if not self._queue:
                return None
            page: list[_Submitted] = []
            size = 0
            while self._queue and (not page or size + len(self._queue[0][0]) <= MAX_PAGE):
                commands, submitted = self._queue.popleft()
                self._waiting -= len(commands)
                if submitted.set_running_or_notify_cancel():  # else nobody waits for it any more
                    page.append((commands, submitted))
                    size += len(commands)
            return page

    def _record(self, session: Session, page: Sequence[_Submitted]) -> None:
        settled: list[Settled] = []
        try:
            settled = settle(
                session, self._vault, self._clock, [command for commands, _ in page for command in commands]
            )
            self._on_recorded()
        finally:
            first = 0
            for commands, submitted in page:
                last = first + len(commands)
                if last <= len(settled):
                    submitted.set_result(settled[first:last])
                else:
                    submitted.set_exception(UnavailableError("the recorder has stopped"))
                first = last

    def _refuse_all(self) -> None:
        """Nobody waits for a thread that is gone."""
        with self._changed:
            self._closed = True
            left = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        for _, submitted in left:
            submitted.set_exception(UnavailableError("the recorder has stopped"))
