"""The parts of a decision: a command, the known state of the streams that it names, and the outcome."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import Badge, Status
from registry.domain.errors import (
    BadgeUnknown,
    InstitutionNotAdmitted,
    ModuleNotFound,
    ModuleOfAnother,
    Refusal,
)
from registry.domain.events import (
    BadgeAwarded,
    Event,
    Fact,
    InstitutionAdmitted,
    ModuleRegistered,
    UnknownEventError,
)
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.domain.private_parts import PrivateParts
from registry.domain.values import day_in_amsterdam
from registry.event_store.log import LoggedEvent
from registry.postgres.connections import UnavailableError

State = TypeVar("State")


class UnreadableError(UnavailableError):
    """An event cannot be read by this release: another process of the service may be newer."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result of a write: the subject, its position, and whether it is new.

    `module_version` is the number of the version that was meant, where the subject is a module or a badge.
    """

    id: str
    position: int = 0
    created: bool = False
    module_version: int = 1


class BadgeOutcome(Outcome, frozen=True, kw_only=True, gc=False):
    """The result of a write about a badge: `status` is today's, `created` whether an event was recorded."""

    learner_id: str
    module_id: str
    status: Status


OutcomeT_co = TypeVar("OutcomeT_co", bound=Outcome, covariant=True)


class Decision(msgspec.Struct, Generic[OutcomeT_co], frozen=True, gc=False):
    """A command's decision: the fact to record in the stream of its subject, or None.

    `private` are the private parts of the fact, encoded already where they are bytes; `institution` and
    `learner_id` say whose they are. `alias_key` is an identifier of a learner who was unknown.
    """

    outcome: OutcomeT_co
    fact: Fact | None = None
    version: int = 1
    private: PrivateParts | bytes | None = None
    institution: str | None = None
    learner_id: str | None = None
    alias_key: bytes | None = None


class Command(Protocol[OutcomeT_co]):
    """A request to the registry, as data: randomness and ids are drawn before."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """The streams that the decision reads; the first is the one that it writes."""

    @property
    def alias_key(self) -> bytes | None:
        """The identifier by which a learner is looked up."""

    @property
    def reads_private_parts(self) -> bool:
        """Whether the decision reads the private parts of its subject, where it is recorded."""

    def decide(self, known: Known) -> Decision[OutcomeT_co]:
        """Decides on what is known, and on nothing else; raises `Refusal`."""


class Known:
    """The recorded state of the streams that some commands name, as of `position`.

    The append refuses what was decided where one of `relied_on` has changed since.
    """

    def __init__(
        self,
        position: int,
        now: dt.datetime,
        streams: Mapping[str, Sequence[LoggedEvent]],
        learners: dict[bytes, str],
        private_parts: Mapping[str, PrivateParts],
    ) -> None:
        self.position, self.now, self.today = position, now, day_in_amsterdam(now)
        self.private_parts = private_parts
        self.relied_on: set[str] = set()
        self._streams, self._learners = streams, learners
        self._institutions: dict[str, Institution | None] = {}
        self._modules: dict[str, Module | None] = {}

    def institution(self, brin: str) -> Institution | None:
        if brin not in self._institutions:
            events = self._stream(brin, InstitutionAdmitted)
            self._institutions[brin] = institutions.fold(events) if events else None
            self.relied_on.add(brin)
        return self._institutions[brin]

    def admitted(self, brin: str) -> Institution:
        if (institution := self.institution(brin)) is None:
            raise InstitutionNotAdmitted(brin)
        return institution

    def module(self, module_id: str) -> Module | None:
        if module_id not in self._modules:
            events = self._stream(module_id, ModuleRegistered)
            self._modules[module_id] = modules.fold(events) if events else None
            self.relied_on.add(module_id)
        return self._modules[module_id]

    def own_module(self, brin: str, module_id: str) -> Module:
        if (module := self.module(module_id)) is None:
            raise ModuleNotFound
        if module.institution != brin:
            raise ModuleOfAnother
        return module

    def badge(self, badge_id: str) -> Badge | None:
        """A badge; not relied on: whoever writes to it takes its next version, and a revocation stays."""
        events = self._stream(badge_id, BadgeAwarded)
        return badges.fold(events) if events else None

    def own_badge(self, brin: str, badge_id: str) -> Badge:
        """A badge that this institution awarded; another's is as unknown as one that is not there."""
        badge = self.badge(badge_id)
        if badge is None or badge.award.institution != brin:
            raise BadgeUnknown
        self.relied_on.add(badge.award.learner_id)
        return badge

    def learner(self, alias_key: bytes) -> str | None:
        """The learner of an alias; relied on for events about learners, such as an erasure."""
        learner_id = self._learners.get(alias_key)
        if learner_id is not None:
            self.relied_on.add(learner_id)
        return learner_id

    def meet(self, alias_key: bytes, learner_id: str) -> None:
        """From now on the alias is this learner's: a later command of the page awards to the same one."""
        self._learners[alias_key] = learner_id

    def _stream(self, subject: str, first: type[Fact]) -> Sequence[Event]:
        """The events of a subject, decoded; none where the id is another kind's.

        Raises `UnreadableError` for an event of a later release: only the command that names it fails.
        """
        logged = self._streams.get(subject, ())
        if not logged or logged[0].type != first.TYPE:
            return ()
        try:
            return [event.event() for event in logged]
        except (UnknownEventError, msgspec.DecodeError) as error:
            raise UnreadableError("an event of a later release was met") from error


Settled = Outcome | Exception
"""The outcome of a command; or its refusal, or what kept it from being decided."""


def existing(state: State | None, refusal: type[Refusal]) -> State:
    """The state, or the refusal where there is none."""
    if state is None:
        raise refusal
    return state
