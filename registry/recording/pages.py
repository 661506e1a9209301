"""Pages of commands about badges: looked up together, decided each by itself, appended together.

A page is settled in rounds. What a round records or refuses is settled; where another writer was first,
where a connection was lost at commit (the fact may be recorded), or where a refusal was decided on kept
states, the command is decided again in the next round, on what is recorded by then.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
from eventsourcing.persistence import StoredEvent

from registry.domain.errors import Refusal
from registry.domain.values import day_in_amsterdam
from registry.event_store.append import ConflictError, MaybeRecordedError, Unit, since
from registry.event_store.vault import PrivateRow
from registry.keys import Chance
from registry.postgres.connections import UnavailableError
from registry.recording.decisions import ATTEMPTS, BadgeOutcome, RecordingApplication
from registry.recording.stream_cache import Loaded, Reads

Command = TypeVar("Command")
DECIDED_AGAIN = (ConflictError, MaybeRecordedError)
Settled = BadgeOutcome | Exception
"""The outcome of a command; or its refusal, or what kept it from being decided."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event to be recorded for a command, with its private parts and what it was decided on."""

    line: int
    event: StoredEvent
    private: PrivateRow | None
    reads: Reads
    outcome: BadgeOutcome


class Together(msgspec.Struct, gc=False):
    """What is recorded together: mostly one; all of a page that have the same new learner."""

    alias: bytes | None = None
    entries: list[Entry] = []


def _joined(decided: Sequence[Together]) -> Unit:
    """All of them, decided in one round, as one unit."""
    events: list[StoredEvent] = []
    private: dict[int, PrivateRow] = {}
    aliases: dict[int, bytes] = {}
    reads: set[Reads] = set()
    for together in decided:
        if together.alias is not None:
            aliases[len(events)] = together.alias
        for entry in together.entries:
            if entry.private is not None:
                private[len(events)] = entry.private
            events.append(entry.event)
            reads.add(entry.reads)
    relied_on = since([each.relied_on for each in reads])
    return Unit(events, private, aliases, relied_on, decided[0].entries[0].reads.epoch)


class Page(Generic[Command]):
    """Some commands on their way; `decide` is the kind's own."""

    def __init__(self, recording: RecordingApplication, commands: Sequence[Command]) -> None:
        self.recording, self.commands = recording, commands
        self.settled: dict[int, Settled] = {}
        self.chance = Chance()
        # The moment and the day on which a round is decided.
        self.now = recording.clock()
        self.today = day_in_amsterdam(self.now)

    def settle(self) -> list[Settled]:
        """Per command, in order, its outcome or why it has none."""
        waiting = self._unsettled(range(len(self.commands)))
        for attempt in range(ATTEMPTS):
            self._round(waiting, final=attempt > 0)
            waiting = self._unsettled(waiting)
            if not waiting:
                break
        crowded = UnavailableError("too many writers want the same streams")
        return [self.settled.get(line, crowded) for line in range(len(self.commands))]

    def _round(self, waiting: Sequence[int], *, final: bool) -> None:
        """Decides and records; what fails a page is found by trying each command alone."""
        self.now = self.recording.clock()
        self.today = day_in_amsterdam(self.now)
        try:
            self._record(self.decide(waiting, self.recording.loaded(fresh=final), final=final))
        except Exception as error:
            left = self._unsettled(waiting)
            if isinstance(error, UnavailableError) or len(waiting) == 1:
                self.settled.update(dict.fromkeys(left, error))
                return
            for line in left:
                self._round([line], final=final)

    def _unsettled(self, waiting: Sequence[int]) -> list[int]:
        return [line for line in waiting if line not in self.settled]

    def decide(self, waiting: Sequence[int], loaded: Loaded, *, final: bool) -> Sequence[Together]:
        """What is to be recorded; settles what is not, a refusal only when it is `final`."""
        raise NotImplementedError

    def fail(self, line: int, error: Exception, *, final: bool) -> None:
        if final or not isinstance(error, Refusal):
            self.settled[line] = error

    def _append(self, decided: Sequence[Together]) -> list[list[int] | Exception]:
        """Records all as one, which costs the least; where that is refused, each by itself."""
        if len(decided) > 1:
            (result,) = self.recording.append_each([_joined(decided)])
            if isinstance(result, UnavailableError):
                return [result] * len(decided)
            if not isinstance(result, Exception):
                positions = iter(result)
                return [list(itertools.islice(positions, len(together.entries))) for together in decided]
        return self.recording.append_each([_joined([together]) for together in decided])

    def _record(self, decided: Sequence[Together]) -> None:
        results = self._append(decided)
        held: dict[Reads, int] = {}
        for together, result in zip(decided, results, strict=True):
            if isinstance(result, DECIDED_AGAIN):
                continue
            if isinstance(result, Exception):
                self.settled.update((entry.line, result) for entry in together.entries)
                continue
            for entry, position in zip(together.entries, result, strict=True):
                held[entry.reads] = position
                self.settled[entry.line] = msgspec.structs.replace(entry.outcome, position=position)
        for reads, position in held.items():
            reads.held_until(position)
