"""How a command comes to its answer: load, decide, one save; and once more when that is needed.

A decision is made again, on what is then recorded, when the append finds that another writer was first,
and after PostgreSQL was lost: at commit (the fact may be recorded), or since it was made. What comes in
pages, awards and revocations in bulk, is in `registry.recording.pages`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Recording, StoredEvent

from registry.domain import badge as badges
from registry.domain.badge import Badge, Status
from registry.domain.errors import (
    BadgeUnknown,
    InstitutionNotAdmitted,
    ModuleNotFound,
    ModuleOfAnother,
    Refusal,
)
from registry.domain.events import BadgeAwarded, Event, Fact
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.domain.private_parts import PrivateParts
from registry.domain.values import day_in_amsterdam
from registry.event_store.append import ConflictError, MaybeRecordedError, Unit
from registry.event_store.recorder import EventMapper, EventRecorder
from registry.event_store.vault import PrivateRow, Vault
from registry.keys import Keys
from registry.postgres.connections import UnavailableError
from registry.recording.stream_cache import Loaded, Reads, StreamCache

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


class BadgeOutcome(msgspec.Struct, frozen=True, gc=False):
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
        super().__init__(env={"PERSISTENCE_MODULE": "registry.event_store.recorder", "DATABASE_URL": url})
        self.keys, self.clock, self._on_recorded = keys, clock, on_recorded
        self.vault = Vault(keys)
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

    def _decide(self, decide: Callable[[Reads], Answer]) -> Answer:
        """Decides on what is recorded by now, and again where that has changed."""
        for attempt in range(ATTEMPTS):
            try:
                return decide(Reads(self.loaded(fresh=True)))
            except ConflictError:
                pass
            except MaybeRecordedError:
                if attempt > 0:
                    raise
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
    ) -> int:
        rows = {}
        if private is not None:
            rows[0] = self.private_row(subject, version, institution, learner_id, private)
        unit = Unit(
            events=(),
            private=rows,
            relied_on={each: read_at for each, read_at in reads.relied_on.items() if each != subject},
            epoch=reads.epoch,
        )
        event = cast(DomainEventProtocol[str], Event(subject, version, fact))
        position = self.save(event, unit=unit)[0].notification.id
        reads.held_until(position, subject)
        return position

    # What pages of commands share.

    def stored(self, subject: str, version: int, fact: Fact) -> StoredEvent:
        """The event as the recorder takes it; refuses one that is too large."""
        return self.mapper.to_stored_event(cast("DomainEventProtocol[str]", Event(subject, version, fact)))

    def private_row(
        self,
        subject: str,
        version: int,
        institution: str,
        learner_id: str | None,
        private: PrivateParts,
    ) -> PrivateRow:
        return PrivateRow(institution, learner_id, self.vault.seal(f"{subject}/{version}", private))

    def append_each(self, units: Sequence[Unit]) -> list[list[int] | Exception]:
        """Records each unit by itself: its positions, or why it was not recorded."""
        results = self.event_recorder.append_each(units)
        self._on_recorded()
        return results

    def has_room(self) -> bool:
        """Whether the disk has room for what is to be recorded."""
        return self.event_recorder.has_room()

    # What commands read.

    def last_position(self) -> int:
        return self._cache.last_position()

    def today(self) -> dt.date:
        return day_in_amsterdam(self.clock())

    def loaded(self, *, fresh: bool) -> Loaded:
        """The states to decide on: as recorded by now, or as kept."""
        return Loaded(self._cache, fresh=fresh)

    def badges_by_id(self, badge_ids: Sequence[str]) -> dict[str, Badge]:
        """Those of the badges that are recorded."""
        streams: dict[str, list[Event]] = {}
        for stored in self.event_recorder.select_streams(badge_ids) if badge_ids else ():
            event = cast(Event, self.mapper.to_domain_event(stored))
            streams.setdefault(event.originator_id, []).append(event)
        return {
            subject: badges.fold(events)
            for subject, events in streams.items()
            if isinstance(events[0].data, BadgeAwarded)
        }

    def private_parts(self, badge_ids: Sequence[str]) -> dict[str, PrivateParts]:
        """The private parts of awards by badge id; missing after the learner's erasure."""
        return self.event_recorder.private_parts(self.vault, badge_ids) if badge_ids else {}

    def _load(self, subject: str) -> list[Event]:
        return [cast(Event, event) for event in self.events.get(subject)]

    def _own_badge(self, reads: Reads, brin: str, badge_id: str) -> Badge:
        """A badge that this institution awarded; another's is as unknown as one that is not there."""
        read_at = self._cache.last_position()
        state = self.badges_by_id([badge_id]).get(badge_id)
        if state is None or state.award.institution != brin:
            raise BadgeUnknown
        reads.relies_on(state.award.learner_id, read_at)
        return state

    def _own_module(self, reads: Reads, brin: str, module_id: str) -> Module:
        state = found(reads.module(module_id), ModuleNotFound)
        if state.institution != brin:
            raise ModuleOfAnother
        return state

    def admitted(self, reads: Reads, brin: str) -> Institution:
        state = reads.institution(brin)
        if state is None:
            raise InstitutionNotAdmitted(brin)
        return state


def found(state: Answer | None, refusal: type[Refusal]) -> Answer:
    """The state, or the refusal where there is none."""
    if state is None:
        raise refusal
    return state
