"""The registry as its callers see it: commands go in, outcomes come out."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from eventsourcing.application import Application
from eventsourcing.persistence import JSONTranscoder, Mapper, Recording

from registry.domain.events import InstitutionAdmitted
from registry.domain.values import day_in_amsterdam
from registry.event_store.recorder import EventMapper, EventRecorder
from registry.event_store.session import Session
from registry.event_store.vault import Vault
from registry.keys import Keys
from registry.postgres.clock import SystemTime, system_time
from registry.postgres.connections import BusyError
from registry.recording.awards import Preparation
from registry.recording.decisions import Command, Known, Outcome, OutcomeT_co, Settled
from registry.recording.page_recorder import PageRecorder, Submission

MAX_SECONDS = 15.0
"""How long a caller waits. To ask again is safe: a command that was recorded after all is known."""


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Registry(Application[str]):
    """The one place where facts are recorded.

    It is an application of the eventsourcing library, which reads and follows the log through it
    (`registry.event_store.recorder`); no command needs the library.

    Commands are data (`registry.recording.commands`, `registry.recording.awards`). Each takes one road:
    it waits in a page, is loaded, decided by a pure function, and appended (`registry.recording.pages`).
    """

    name = "registry"

    def __init__(
        self,
        url: str,
        keys: Keys,
        clock: Callable[[], dt.datetime] = utc_now,
        on_recorded: Callable[[], None] = lambda: None,
        time: SystemTime = system_time,
    ) -> None:
        """`clock` decides which day it is; `time` is compared with the clock of PostgreSQL."""
        super().__init__(env={"PERSISTENCE_MODULE": "registry.event_store.recorder", "DATABASE_URL": url})
        self.keys, self.clock, self.vault = keys, clock, Vault(keys)
        self._on_recorded = on_recorded
        self._pages = PageRecorder(url, self.vault, clock, on_recorded, time)
        self._reading, self._reads = Session(url), threading.Lock()

    def construct_mapper(self) -> Mapper[str]:
        return EventMapper(JSONTranscoder())

    def close(self) -> None:
        """Records what waits, then lets go of the database."""
        super().close()
        self._pages.close()
        cast(EventRecorder, self.recorder).close()
        with self._reads:
            self._reading.close()

    def _notify(self, recordings: list[Recording[str]]) -> None:
        """What the library itself has saved is followed at once, too."""
        self._on_recorded()

    # Recording.

    def submit(
        self, commands: Sequence[Command[Outcome]], done: Callable[[list[Settled]], None]
    ) -> Submission:
        """Records; `done` is called in the recorder's thread with the outcome of each command.

        Of two of these about one subject the first is decided first. Raises `UnavailableError` at once
        where too much waits, or the registry is stopping.
        """
        submission = Submission(commands, done)
        self._pages.submit(submission)
        return submission

    def record(self, command: Command[OutcomeT_co]) -> OutcomeT_co:
        """Records one command; raises its refusal, or `UnavailableError`."""
        (settled,) = self.settle([command])
        if isinstance(settled, Exception):
            raise settled
        return settled  # type: ignore[return-value] # what the command decides

    def settle(self, commands: Sequence[Command[Outcome]], seconds: float = MAX_SECONDS) -> list[Settled]:
        """Records; per command, in order, its outcome or why it has none."""
        settled: list[Settled] = []
        # A bare lock wakes its waiter at half the cost of a future.
        answered = threading.Lock()
        answered.acquire()

        def done(outcomes: list[Settled]) -> None:
            settled.extend(outcomes)
            answered.release()

        submission = self.submit(commands, done)
        if not answered.acquire(timeout=seconds):
            submission.given_up = True
            raise BusyError("it was not recorded in time")
        return settled

    def preparation(self) -> Preparation:
        """For the awards of one caller."""
        return Preparation(self.keys)

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return self._pages.has_room()

    @property
    def works(self) -> bool:
        """Whether the threads that record run, and finish their pages."""
        return self._pages.works

    # Questions before a command.

    def today(self) -> dt.date:
        return day_in_amsterdam(self.clock())

    def badge_id(self, brin: str, reference: str) -> str:
        """The id of the award that this institution made, or would make, under a reference."""
        return self.keys.made_id("badge", brin, reference)

    def module_id(self, brin: str, reference: str) -> str:
        """The id of the module that this institution registered, or would register, under a reference."""
        return self.keys.made_id("module", brin, reference)

    def known(self, subjects: Iterable[str]) -> Known:
        """The recorded state of these subjects, without private parts."""
        with self._reads:
            loaded = self._reading.load(subjects, ())
        return Known(loaded.position, self.clock(), loaded.streams, loaded.learners, {})

    def institutions(self) -> list[str]:
        """The BRINs of all institutions, in the order of their admission."""
        with self._reads, self._reading.cursor() as cursor:
            # The condition on badges finds the few events that are no badge's by their index.
            cursor.execute(
                "SELECT subject FROM event WHERE type NOT LIKE 'badge.%%' AND type = %s ORDER BY position",
                (InstitutionAdmitted.TYPE,),
            )
            return [brin for (brin,) in cursor.fetchall()]
