"""An institution, which awards: admitted by the registrar, sometimes suspended and reinstated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, assert_never

import msgspec

from registry.domain.errors import (
    AdmissionEnded,
    AlreadySuspended,
    InstitutionIsSuspended,
    OutsideAdmission,
    SuspendedOnThatDay,
    TooManyChanges,
)
from registry.domain.events import (
    Channel,
    Event,
    ExemptionRule,
    InstitutionAdmitted,
    InstitutionChanged,
    InstitutionExempted,
    InstitutionReinstated,
    InstitutionSuspended,
    MisplacedEventError,
    Sector,
    SuspensionReason,
    institution_fact,
)
from registry.domain.values import day_in_amsterdam

MAX_EXEMPTIONS = 1_000
Objection = InstitutionIsSuspended | AdmissionEnded | OutsideAdmission | SuspendedOnThatDay
"""An objection to an award by an institution: a refusal, which an import notes as a finding instead."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The origin of a fact: its channel, and the id of the client's token (or `cli`)."""

    channel: Channel
    client: str


@dataclass(frozen=True)
class Particulars:
    """Everything that the registrar states about an institution."""

    name: str
    kind: Sector
    admitted_from: dt.date
    name_en: str | None = None
    schac_home: str | None = None
    admitted_until: dt.date | None = None


@dataclass(frozen=True)
class Suspension:
    """Covers the days from `first` up to, not including, `lifted`; both in Amsterdam."""

    first: dt.date
    reason: SuspensionReason
    lifted: dt.date | None = None

    def covers(self, day: dt.date) -> bool:
        return self.first <= day and (self.lifted is None or day < self.lifted)


@dataclass(frozen=True)
class Institution:
    brin: str
    version: int
    position: int
    particulars: Particulars
    suspensions: tuple[Suspension, ...] = ()
    exempted: frozenset[str] = frozenset()

    @property
    def suspension(self) -> Suspension | None:
        """The suspension in force, if there is one."""
        last = self.suspensions[-1] if self.suspensions else None
        return last if last is not None and last.lifted is None else None


def fold(events: Iterable[Event]) -> Institution:
    """The state after a whole stream, which has at least its first event."""
    state: Institution | None = None
    for event in events:
        state = evolve(state, event)
    if state is None:
        raise AssertionError("a stream has a first event")
    return state


def evolve(state: Institution | None, event: Event) -> Institution:
    """The state after `event`: assigns, and checks nothing."""
    at: dict[str, Any] = {"version": event.originator_version, "position": event.position}
    day = day_in_amsterdam(event.time) if event.time else dt.date.min
    fact = institution_fact(event)
    if isinstance(fact, InstitutionAdmitted | InstitutionChanged):
        particulars = Particulars(
            name=fact.name,
            kind=fact.kind,
            admitted_from=fact.admitted_from,
            name_en=fact.name_en,
            schac_home=fact.schac_home,
            admitted_until=fact.admitted_until,
        )
        if state is None:
            return Institution(event.originator_id, particulars=particulars, **at)
        return replace(state, particulars=particulars, **at)
    if state is None:
        raise MisplacedEventError(f"{event.originator_id} begins with {fact.TYPE}")
    match fact:
        case InstitutionSuspended():
            added = (*state.suspensions, Suspension(day, fact.reason))
            return replace(state, suspensions=added, **at)
        case InstitutionReinstated():
            lifted = replace(state.suspensions[-1], lifted=day)
            return replace(state, suspensions=(*state.suspensions[:-1], lifted), **at)
        case InstitutionExempted():
            return replace(state, exempted=state.exempted | {fact.module_reference}, **at)
        case _:
            assert_never(fact)


def admit(
    state: Institution | None, particulars: Particulars, origin: Origin
) -> InstitutionAdmitted | InstitutionChanged | None:
    """Admits an institution, or changes its particulars; the same particulars again change nothing."""
    if state is not None and state.particulars == particulars:
        return None
    kind = InstitutionAdmitted if state is None else InstitutionChanged
    return kind(channel=origin.channel, client=origin.client, **vars(particulars))


def suspend(
    state: Institution, reason: SuspensionReason, note_commitment: str | None, origin: Origin
) -> InstitutionSuspended | None:
    if state.suspension is None:
        return InstitutionSuspended(
            channel=origin.channel, client=origin.client, reason=reason, note_commitment=note_commitment
        )
    if state.suspension.reason != reason:
        raise AlreadySuspended(state.suspension.reason)
    return None


def reinstate(state: Institution, origin: Origin) -> InstitutionReinstated | None:
    if state.suspension is None:
        return None
    return InstitutionReinstated(channel=origin.channel, client=origin.client)


def exempt(
    state: Institution, module_reference: str, rule: ExemptionRule, reason: str, origin: Origin
) -> InstitutionExempted | None:
    """Lifts a rule of the policy for one reference permanently; a second exemption changes nothing."""
    if module_reference in state.exempted:
        return None
    if len(state.exempted) >= MAX_EXEMPTIONS:
        raise TooManyChanges("The institution has too many exemptions", MAX_EXEMPTIONS, "change the policy")
    return InstitutionExempted(
        channel=origin.channel,
        client=origin.client,
        module_reference=module_reference,
        rule=rule,
        reason=reason,
    )


def check_may_award(state: Institution, awarded_on: dt.date, today: dt.date) -> None:
    """Refuses an award if today or its day is outside the admission or within a suspension."""
    for objection in objections(state, awarded_on, today):
        raise objection


def objections(state: Institution, awarded_on: dt.date, today: dt.date) -> Iterator[Objection]:
    """Every objection to an award by this institution."""
    until = state.particulars.admitted_until
    if state.suspension is not None:
        yield InstitutionIsSuspended(state.brin)
    if until is not None and today > until:
        yield AdmissionEnded(state.brin, until)
    if not state.particulars.admitted_from <= awarded_on <= (until or dt.date.max):
        yield OutsideAdmission(state.brin, awarded_on)
    if state.suspensions and any(suspension.covers(awarded_on) for suspension in state.suspensions):
        yield SuspendedOnThatDay(state.brin, awarded_on)
