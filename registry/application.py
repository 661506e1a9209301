"""The commands: each loads, decides, and saves once.

A decision is made again, on what is then recorded, when the append finds that another writer was first,
when a kept state led to a refusal, and after a connection was lost at commit (the fact may be recorded).
"""

from __future__ import annotations

import datetime as dt
import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, Recording

from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import Award, Badge, Status
from registry.domain.errors import (
    BadgeUnknown,
    InstitutionNotAdmitted,
    InstitutionUnknown,
    ModuleNotFound,
    ModuleOfAnother,
    ModuleUnknown,
    ReferenceTaken,
    Refusal,
)
from registry.domain.institution import Institution, Origin, Particulars
from registry.domain.module import Module
from registry.domain.values import day_in_amsterdam
from registry.events import (
    BadgeSuspensionReason,
    Event,
    Fact,
    ModuleContent,
    RevocationReason,
    SuspensionReason,
    canonical,
)
from registry.keys import Keys
from registry.postgres import UnavailableError
from registry.reads import Reads, StreamCache
from registry.store import EventMapper, EventRecorder
from registry.vault import (
    Evidence,
    PrivateParts,
    PrivateRow,
    Recipient,
    Vault,
    commit_award,
    commit_note,
    new_salt,
)
from registry.writer import ConflictError, MaybeRecordedError, Unit

ATTEMPTS = 8
EDUID_SCOPE = "eduid.nl"

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


@dataclass(frozen=True)
class AwardCommand:
    """An award as an institution states it. `reference`, recipient, grade and evidence are private."""

    reference: str
    module_id: str | None
    module_reference: str | None
    recipient: Recipient
    award: Award
    grade: str | None = None
    evidence: tuple[Evidence, ...] | None = None


class Registry(Application[str]):
    """The one place where facts are recorded."""

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

    # Institutions: the registrar's commands.

    def admit_institution(self, brin: str, stated: Particulars, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = reads.institution(brin)
            fact = institutions.admit(state, stated, origin)
            return self._save(reads, brin, state, fact)

        return self._decide(decide)

    def suspend_institution(
        self, brin: str, reason: SuspensionReason, note: str | None, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = _found(reads.institution(brin), InstitutionUnknown)
            committed, private = commit_note(note)
            fact = institutions.suspend(state, reason, committed, origin)
            return self._save(reads, brin, state, fact, private, brin)

        return self._decide(decide)

    def reinstate_institution(self, brin: str, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = _found(reads.institution(brin), InstitutionUnknown)
            return self._save(reads, brin, state, institutions.reinstate(state, origin))

        return self._decide(decide)

    # Modules: an institution's commands.

    def register_module(self, brin: str, reference: str, content: ModuleContent, origin: Origin) -> Outcome:
        module_id = self._keys.made_id("module", brin, reference)

        def decide(reads: Reads) -> Outcome:
            institution = self._admitted(reads, brin)
            state = reads.module(module_id)
            fact = modules.register(state, institution, reference, content, self._today(), origin)
            return self._save(reads, module_id, state, fact)

        return self._decide(decide)

    def revise_module(
        self, brin: str, module_id: str, reference: str, content: ModuleContent, origin: Origin
    ) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            institution = self._admitted(reads, brin)
            state = self._own_module(reads, brin, module_id)
            fact = modules.revise(state, institution, reference, content, self._today(), origin)
            number = state.latest + 1 if fact else state.latest
            return self._save(reads, module_id, state, fact, version=number, created=fact is not None)

        return self._decide(decide)

    def withdraw_module(self, brin: str, module_id: str, from_: dt.date | None, origin: Origin) -> Outcome:
        def decide(reads: Reads) -> Outcome:
            state = self._own_module(reads, brin, module_id)
            fact = modules.withdraw(state, from_, self._today(), origin)
            return self._save(reads, module_id, state, fact, version=state.latest)

        return self._decide(decide)

    # Badges: an institution's commands.

    def award_badge(self, brin: str, command: AwardCommand, origin: Origin) -> BadgeOutcome:
        """Awards; the same award again answers as it stands, another under its reference is refused."""
        badge_id = self._keys.made_id("badge", brin, command.reference)
        module_id = command.module_id or self._keys.made_id("module", brin, command.module_reference or "")
        alias = self._alias(brin, command.recipient)
        sameness = self._keys.sameness(_statement(command, module_id))

        def decide(reads: Reads) -> BadgeOutcome:
            known, learner_id, read_at = self.event_recorder.look_up(badge_id, alias)
            if known:
                return self._known_award(badge_id, sameness)
            institution = self._admitted(reads, brin)
            module = _found(reads.module(module_id), ModuleUnknown)
            superseded = self._badge(command.award.supersedes) if command.award.supersedes else None
            commitments, private = commit_award(
                command.recipient, command.reference, command.grade, command.evidence, sameness
            )
            learner = learner_id or str(uuid.uuid4())
            fact = badges.award(
                institution, module, superseded, command.award, learner, commitments, self._today(), origin
            )
            if learner_id is not None:
                reads.relies_on(learner_id, read_at)
            position = self._append(
                reads, badge_id, 1, fact, private, brin, learner, None if learner_id else alias
            )
            status, _ = badges.status(
                self._clock(),
                revoked_since=None,
                suspended_since=None,
                valid_until=fact.valid_until,
                active_since=self._clock(),
            )
            return BadgeOutcome(
                badge_id, learner, module_id, fact.module_version, status, position, created=True
            )

        return self._decide(decide, on_kept=True)

    def revoke_badge(
        self,
        brin: str,
        badge_id: str,
        reason: RevocationReason,
        effective_on: dt.date | None,
        note: str | None,
        origin: Origin,
    ) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            committed, private = commit_note(note)
            fact = badges.revoke(state, reason, effective_on, new_salt(), committed, self._today(), origin)
            return self._save_badge(reads, state, fact, private, "revoked")

        return self._decide(decide)

    def suspend_badge(
        self, brin: str, badge_id: str, reason: BadgeSuspensionReason, note: str | None, origin: Origin
    ) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            committed, private = commit_note(note)
            fact = badges.suspend(state, reason, new_salt(), committed, origin)
            return self._save_badge(reads, state, fact, private, "suspended")

        return self._decide(decide)

    def reinstate_badge(self, brin: str, badge_id: str, origin: Origin) -> BadgeOutcome:
        def decide(reads: Reads) -> BadgeOutcome:
            state = self._own_badge(reads, brin, badge_id)
            fact = badges.reinstate(state, new_salt(), origin)
            now = self._clock()
            status, _ = badges.status(
                now,
                revoked_since=None,
                suspended_since=None,
                valid_until=state.award.valid_until,
                active_since=now,
            )
            return self._save_badge(reads, state, fact, None, status)

        return self._decide(decide)

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
        reads.held_until(position)
        return position

    def _known_award(self, badge_id: str, sameness: bytes) -> BadgeOutcome:
        state = _found(self._badge(badge_id), BadgeUnknown)
        private = self.event_recorder.private_parts(self._vault, badge_id)
        if private is not None and not hmac.compare_digest(private.sameness or "", sameness.hex()):
            raise ReferenceTaken("badge")
        status, _ = badges.status_of(state, self._clock())
        award = state.award
        return BadgeOutcome(
            badge_id, award.learner_id, award.module_id, award.module_version, status, state.award_position
        )

    # What commands read.

    def _today(self) -> dt.date:
        return day_in_amsterdam(self._clock())

    def _load(self, subject: str) -> list[Event]:
        return [cast(Event, event) for event in self.events.get(subject)]

    def _badge(self, badge_id: str) -> Badge | None:
        return badges.fold(self._load(badge_id))

    def _own_badge(self, reads: Reads, brin: str, badge_id: str) -> Badge:
        """A badge that this institution awarded; another's is as unknown as one that is not there."""
        read_at = self._cache.last_position()
        state = self._badge(badge_id)
        if state is None or state.award.institution != brin:
            raise BadgeUnknown
        reads.relies_on(state.award.learner_id, read_at)
        return state

    def _own_module(self, reads: Reads, brin: str, module_id: str) -> Module:
        state = _found(reads.module(module_id), ModuleNotFound)
        if state.institution != brin:
            raise ModuleOfAnother
        return state

    def _admitted(self, reads: Reads, brin: str) -> Institution:
        state = reads.institution(brin)
        if state is None:
            raise InstitutionNotAdmitted(brin)
        return state

    def _alias(self, brin: str, recipient: Recipient) -> bytes:
        if recipient.edu_id is not None:
            return self._keys.alias_key("eduId", EDUID_SCOPE, recipient.edu_id)
        return self._keys.alias_key("eppn", brin, recipient.eppn or "")


def _found(state: Answer | None, refusal: type[Refusal]) -> Answer:
    if state is None:
        raise refusal
    return state


def _statement(command: AwardCommand, module_id: str) -> bytes:
    """What is compared when a reference comes again (contract section 2); name and e-mail are not."""
    kind: Literal["eduId", "eppn"] = "eduId" if command.recipient.edu_id is not None else "eppn"
    identifier = command.recipient.edu_id or command.recipient.eppn or ""
    stated = {
        "moduleId": module_id,
        "moduleVersion": command.award.module_version,
        "learner": {kind: identifier.lower()},
        "awardedOn": command.award.awarded_on,
        "validUntil": command.award.valid_until,
        "grade": command.grade,
        "evidence": command.evidence,
        "supersedes": command.award.supersedes,
    }
    return canonical({name: value for name, value in stated.items() if value is not None})
