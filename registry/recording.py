"""How a command comes to its answer: load, decide, one save; and once more when that is needed.

A decision is made again, on what is then recorded, when the append finds that another writer was first,
when a kept state led to a refusal, and after a connection was lost at commit (the fact may be recorded).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Recording

from registry.domain import badge as badges
from registry.domain.badge import Badge, Status
from registry.domain.errors import (
    BadgeUnknown,
    InstitutionNotAdmitted,
    ModuleNotFound,
    ModuleOfAnother,
    Refusal,
)
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.domain.values import day_in_amsterdam
from registry.events import BadgeAwarded, Event, Fact
from registry.keys import Keys
from registry.postgres import UnavailableError
from registry.reads import Reads, StreamCache
from registry.store import EventMapper, EventRecorder
from registry.vault import PrivateParts, PrivateRow, Vault
from registry.writer import ConflictError, MaybeRecordedError, Unit

ATTEMPTS = 8

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Outcome:
    """What a write came to: the subject, its position, and whether it is new."""

    id: str
    position: int
    created: bool = False
    version: int = 1
    """Of a module: the number of the version that was meant."""


@dataclass(frozen=True)
class BadgeOutcome:
    """What a write about a badge came to; `status` is today's."""

    id: str
    learner_id: str
    module_id: str
    module_version: int
    status: Status
    position: int
    created: bool = False


class RecordingApplication(Application[str]):
    """The library's application on our recorder, and the steps that the commands share."""

    name = "registry"

    def __init__(
        self,
        url: str,
        keys: Keys,
        clock: Callable[[], dt.datetime],
        on_recorded: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(env={"PERSISTENCE_MODULE": "registry.store", "DATABASE_URL": url})
        self._keys, self._clock, self._on_recorded = keys, clock, on_recorded
        self._vault = Vault(keys)
        self._cache = StreamCache(self.event_recorder, self._load)

    @property
    def event_recorder(self) -> EventRecorder:
        return cast(EventRecorder, self.recorder)

    def construct_mapper(self) -> Mapper[str]:
        return EventMapper(JSONTranscoder())

    def close(self) -> None:
        super().close()
        if isinstance(getattr(self, "recorder", None), EventRecorder):
            self.event_recorder.close()

    def _notify(self, recordings: list[Recording[str]]) -> None:
        self._on_recorded()

    # How a command comes to its answer.

    def _decide(self, decide: Callable[[Reads], Answer], *, on_kept: bool = False) -> Answer:
        """Decides, at first on kept states if `on_kept`, and then on what is recorded by now."""
        fresh = not on_kept
        for attempt in range(ATTEMPTS):
            try:
                return decide(Reads(self._cache, fresh=fresh))
            except ConflictError:
                pass
            except Refusal:
                if fresh:
                    raise
            except MaybeRecordedError:
                if attempt > 0:
                    raise
            fresh = True
        raise UnavailableError("too many writers want the same stream")

    def _save(
        self,
        reads: Reads,
        subject: str,
        state: Institution | Module | None,
        fact: Fact | None,
        private: PrivateParts | None = None,
        owner: str = "",
        version: int = 1,
        created: bool | None = None,
    ) -> Outcome:
        """Records the fact in its stream; where there is none, answers the stream's last position."""
        if fact is None:
            return Outcome(subject, state.position if state else 0, version=version)
        number = state.version + 1 if state else 1
        position = self._append(reads, subject, number, fact, private, owner, None)
        self._cache.forget(subject)
        return Outcome(subject, position, state is None if created is None else created, version)

    def _save_badge(
        self, reads: Reads, state: Badge, fact: Fact | None, private: PrivateParts | None, status: Status
    ) -> BadgeOutcome:
        learner, position = state.award.learner_id, state.position
        if fact is not None:
            number, owner = state.version + 1, state.award.institution
            position = self._append(reads, state.id, number, fact, private, owner, learner)
        return BadgeOutcome(
            state.id, learner, state.award.module_id, state.award.module_version, status, position
        )

    def _append(
        self,
        reads: Reads,
        subject: str,
        version: int,
        fact: Fact,
        private: PrivateParts | None,
        institution: str,
        learner_id: str | None,
        alias: bytes | None = None,
    ) -> int:
        rows = {}
        if private is not None:
            sealed = self._vault.seal(f"{subject}/{version}", private)
            rows[0] = PrivateRow(institution, learner_id, sealed)
        unit = Unit(
            events=(),
            private=rows,
            aliases={} if alias is None else {0: alias},
            relied_on={each: read_at for each, read_at in reads.relied_on.items() if each != subject},
        )
        event = cast(DomainEventProtocol[str], Event(subject, version, fact))
        position = self.save(event, unit=unit)[0].notification.id
        reads.held_until(position, subject)
        return position

    # What commands read.

    def _today(self) -> dt.date:
        return day_in_amsterdam(self._clock())

    def _load(self, subject: str) -> list[Event]:
        return [cast(Event, event) for event in self.events.get(subject)]

    def _badge(self, badge_id: str) -> Badge | None:
        events = self._load(badge_id)
        return badges.fold(events) if events and isinstance(events[0].data, BadgeAwarded) else None

    def _own_badge(self, reads: Reads, brin: str, badge_id: str) -> Badge:
        """A badge that this institution awarded; another's is as unknown as one that is not there."""
        read_at = self._cache.last_position()
        state = self._badge(badge_id)
        if state is None or state.award.institution != brin:
            raise BadgeUnknown
        reads.relies_on(state.award.learner_id, read_at)
        return state

    def _own_module(self, reads: Reads, brin: str, module_id: str) -> Module:
        state = found(reads.module(module_id), ModuleNotFound)
        if state.institution != brin:
            raise ModuleOfAnother
        return state

    def _admitted(self, reads: Reads, brin: str) -> Institution:
        state = reads.institution(brin)
        if state is None:
            raise InstitutionNotAdmitted(brin)
        return state


def found(state: Answer | None, refusal: type[Refusal]) -> Answer:
    """The state, or the refusal where there is none."""
    if state is None:
        raise refusal
    return state
