"""A module: registered by an institution, revised in frozen versions, finally withdrawn."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, assert_never

from registry.domain.errors import (
    InvalidInput,
    ModuleAlreadyWithdrawn,
    ModuleIsWithdrawn,
    ModuleVersionUnknown,
    ReferenceFixed,
    ReferenceTaken,
    StudyLoadOutsidePolicy,
    TargetGroupOutsidePolicy,
    TooManyChanges,
)
from registry.domain.events import (
    BadgeType,
    Event,
    MisplacedEventError,
    ModuleContent,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    canonical,
    differing,
    module_fact,
)
from registry.domain.institution import Institution, Origin
from registry.domain.policy import check_study_load, check_target_group

MAX_VERSIONS = 100
Objection = StudyLoadOutsidePolicy | TargetGroupOutsidePolicy
"""An objection of the policy to a version: a refusal, which an import notes as a finding instead."""


@dataclass(frozen=True)
class Module:
    id: str
    version: int
    position: int
    institution: str
    reference: str
    versions: tuple[tuple[str, ModuleContent], ...]
    """Content hash and content of each version; the first is version 1."""
    withdrawn_from: dt.date | None = None
    badge_type: BadgeType | None = None
    """The type that an import found, where it is not a microcredential."""
    findings: tuple[tuple[str, ...], ...] = ()
    """The findings of an import, for each version."""
    own: bool = False
    """Whether the institution itself stated a version; an import then adds none."""

    @property
    def latest(self) -> int:
        return len(self.versions)

    def version_of(self, content: ModuleContent) -> int | None:
        """The latest version with exactly this content, None where there is none."""
        digest = content_hash(content)
        numbers = [number for number, (known, _) in enumerate(self.versions, 1) if known == digest]
        return numbers[-1] if numbers else None

    def content(self, version: int | None) -> tuple[int, str, ModuleContent]:
        """Number, hash and content of a version, by default the latest."""
        number = self.latest if version is None else version
        if not 1 <= number <= self.latest:
            raise ModuleVersionUnknown(number, self.latest)
        return (number, *self.versions[number - 1])


def content_hash(content: ModuleContent) -> str:
    """SHA-256 (hex) of the canonical JSON."""
    return hashlib.sha256(canonical(content)).hexdigest()


def fold(events: Iterable[Event]) -> Module:
    """The state after a whole stream, which has at least its first event."""
    state: Module | None = None
    for event in events:
        state = evolve(state, event)
    if state is None:
        raise AssertionError("a stream has a first event")
    return state


def evolve(state: Module | None, event: Event) -> Module:
    """The state after `event`: assigns, and checks nothing."""
    at: dict[str, Any] = {"version": event.originator_version, "position": event.position}
    fact = module_fact(event)
    if isinstance(fact, ModuleRegistered):
        return Module(
            event.originator_id,
            institution=fact.institution,
            reference=fact.reference,
            versions=((fact.content_hash, fact.content),),
            badge_type=fact.badge_type,
            findings=(fact.findings or (),),
            own=fact.channel != "import",
            **at,
        )
    if state is None:
        raise MisplacedEventError(f"{event.originator_id} begins with {fact.TYPE}")
    match fact:
        case ModuleRevised():
            return replace(
                state,
                versions=(*state.versions, (fact.content_hash, fact.content)),
                badge_type=fact.badge_type or state.badge_type,
                findings=(*state.findings, fact.findings or ()),
                own=state.own or fact.channel != "import",
                **at,
            )
        case ModuleWithdrawn():
            return replace(state, withdrawn_from=fact.from_, **at)
        case _:
            assert_never(fact)


def register(
    state: Module | None,
    institution: Institution,
    reference: str,
    content: ModuleContent,
    today: dt.date,
    origin: Origin,
) -> ModuleRegistered | None:
    """Registers version 1; the same reference with the same content, in any version, changes nothing."""
    if state is not None:
        if state.version_of(content) is None:
            raise ReferenceTaken("module", differing(content, state.versions[-1][1]))
        return None
    for objection in objections(institution, reference, content, today):
        raise objection
    return ModuleRegistered(
        channel=origin.channel,
        client=origin.client,
        institution=institution.brin,
        reference=reference,
        version=1,
        content_hash=content_hash(content),
        content=content,
    )


def revise(
    state: Module,
    institution: Institution,
    reference: str,
    content: ModuleContent,
    today: dt.date,
    origin: Origin,
) -> ModuleRevised | None:
    """Adds a version; the content of the latest version again changes nothing."""
    digest = content_hash(content)
    if reference != state.reference:
        raise ReferenceFixed
    if state.versions[-1][0] == digest:
        return None
    check_not_withdrawn(state, today)
    check_versions(state)
    for objection in objections(institution, reference, content, today):
        raise objection
    return ModuleRevised(
        channel=origin.channel,
        client=origin.client,
        institution=institution.brin,
        reference=state.reference,
        version=state.latest + 1,
        content_hash=digest,
        content=content,
    )


def withdraw(state: Module, from_: dt.date | None, today: dt.date, origin: Origin) -> ModuleWithdrawn | None:
    """Withdraws from a day, by default today; a withdrawal is permanent."""
    if state.withdrawn_from is not None and from_ in (None, state.withdrawn_from):
        return None
    first = today if from_ is None else from_
    if first < today:
        raise InvalidInput(("/from", "must be today or later; a withdrawal is never retroactive"))
    if state.withdrawn_from is not None:
        raise ModuleAlreadyWithdrawn(state.withdrawn_from)
    return ModuleWithdrawn(
        channel=origin.channel, client=origin.client, institution=state.institution, from_=first
    )


def check_not_withdrawn(state: Module, today: dt.date, pointer: str | None = None) -> None:
    if state.withdrawn_from is not None and state.withdrawn_from <= today:
        raise ModuleIsWithdrawn(state.withdrawn_from, pointer)


def check_versions(state: Module) -> None:
    if state.latest >= MAX_VERSIONS:
        raise TooManyChanges("The module has too many versions", MAX_VERSIONS, "register another module")


def objections(
    institution: Institution, reference: str, content: ModuleContent, today: dt.date
) -> Iterator[Objection]:
    """Every objection of the day's policy to a version."""
    sector = institution.particulars.kind
    try:
        if content.study_load is not None:
            exempted = reference in institution.exempted
            check_study_load(content.study_load, sector, today, exempted=exempted)
    except StudyLoadOutsidePolicy as refusal:
        yield refusal
    try:
        check_target_group(content.target_group, sector, today)
    except TargetGroupOutsidePolicy as refusal:
        yield refusal
