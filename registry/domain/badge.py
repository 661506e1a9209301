"""A badge: awarded once, perhaps suspended and reinstated, and perhaps revoked, permanently."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never

import msgspec

from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.errors import (
    AlreadySuspended,
    BadgeIsRevoked,
    InvalidInput,
    ModuleOfAnother,
    RevokedForAnotherReason,
    SupersededNotRevoked,
    SupersededUnknown,
    TooManyChanges,
)
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    BadgeSuspensionReason,
    Commitments,
    Correction,
    Event,
    MisplacedEventError,
    RevocationReason,
    badge_fact,
)
from registry.domain.institution import Institution, Origin
from registry.domain.module import Module
from registry.domain.values import midnight_after

MAX_CHANGES = 100
"""Events of one badge from which it is neither suspended nor corrected."""
Status = Literal["active", "suspended", "revoked", "expired"]


@dataclass(frozen=True)
class Badge:
    id: str
    version: int
    position: int
    award_position: int
    award: BadgeAwarded
    active_since: dt.datetime
    suspended_since: dt.datetime | None = None
    suspended_for: BadgeSuspensionReason | None = None
    revoked_since: dt.datetime | None = None
    revoked_for: RevocationReason | None = None


def status(
    at: dt.datetime,
    *,
    revoked_since: dt.datetime | None,
    suspended_since: dt.datetime | None,
    valid_until: dt.date | None,
    active_since: dt.datetime,
) -> tuple[Status, dt.datetime]:
    """The first that applies of revoked, suspended, expired and active, and since when.

    An expiry is derived from the last valid day in Amsterdam, and takes effect at the midnight after.
    """
    if revoked_since is not None:
        return "revoked", revoked_since
    if suspended_since is not None:
        return "suspended", suspended_since
    if valid_until is not None and at >= (expiry := midnight_after(valid_until)):
        return "expired", expiry
    return "active", active_since


def status_of(badge: Badge, at: dt.datetime) -> tuple[Status, dt.datetime]:
    return status(
        at,
        revoked_since=badge.revoked_since,
        suspended_since=badge.suspended_since,
        valid_until=badge.award.valid_until,
        active_since=badge.active_since,
    )


def status_when_reinstated(badge: Badge, at: dt.datetime) -> Status:
    """The status of a badge after its suspension has ended."""
    return status_of(replace(badge, suspended_since=None), at)[0]


def fold(events: Iterable[Event]) -> Badge:
    """The state after a whole stream, which has at least its first event."""
    state: Badge | None = None
    for event in events:
        state = evolve(state, event)
    if state is None:
        raise AssertionError("a stream has a first event")
    return state


def evolve(state: Badge | None, event: Event) -> Badge:
    """The state after `event`: assigns, and checks nothing."""
    at: dict[str, Any] = {"version": event.originator_version, "position": event.position}
    fact, time = badge_fact(event), event.recorded_at
    if isinstance(fact, BadgeAwarded):
        return Badge(event.originator_id, award_position=event.position, award=fact, active_since=time, **at)
    if state is None:
        raise MisplacedEventError(f"{event.originator_id} begins with {fact.TYPE}")
    match fact:
        case BadgeCorrected():
            return replace(state, **at)
        case BadgeSuspended():
            return replace(state, suspended_since=time, suspended_for=fact.reason, **at)
        case BadgeReinstated():
            return replace(state, suspended_since=None, suspended_for=None, active_since=time, **at)
        case BadgeRevoked():
            return replace(state, revoked_since=time, revoked_for=fact.reason, **at)
        case _:
            assert_never(fact)


class AwardTerms(msgspec.Struct, frozen=True, gc=False):
    """The terms of an award: everything that an institution states about it that is not private."""

    module_version: int | None
    awarded_on: dt.date
    valid_until: dt.date | None = None
    supersedes: str | None = None


def award(
    institution: Institution,
    module: Module,
    superseded: Badge | None,
    terms: AwardTerms,
    learner_id: str,
    commitments: Commitments,
    today: dt.date,
    origin: Origin,
    module_pointer: str = "/moduleId",
) -> BadgeAwarded:
    """Decides the award of a badge that does not exist yet.

    `module_pointer` is to the member that names the module.
    """
    if module.institution != institution.brin:
        raise ModuleOfAnother(module_pointer)
    institutions.check_may_award(institution, terms.awarded_on, today)
    modules.check_not_withdrawn(module, today, module_pointer)
    fact = awarded(institution, module, terms, learner_id, commitments, origin)
    if terms.supersedes is not None:
        _check_superseded(superseded, institution)
    return fact


def awarded(
    institution: Institution,
    module: Module,
    terms: AwardTerms,
    learner_id: str,
    commitments: Commitments,
    origin: Origin,
    findings: tuple[str, ...] = (),
) -> BadgeAwarded:
    """The award as it is recorded, with the short fields of its module version."""
    number, digest, content = module.content(terms.module_version)
    return BadgeAwarded(
        channel=origin.channel,
        client=origin.client,
        institution=institution.brin,
        institution_name=institution.particulars.name,
        sector=institution.particulars.kind,
        learner_id=learner_id,
        module_id=module.id,
        module_version=number,
        module_name=content.name,
        content_hash=digest,
        study_load=content.study_load,
        level=content.level,
        isced=content.isced,
        programme=content.programme,
        legal_ground=content.legal_ground,
        awarded_on=terms.awarded_on,
        valid_until=terms.valid_until,
        supersedes=terms.supersedes,
        commitments=commitments,
        badge_type=module.badge_type,
        findings=findings or None,
    )


def _check_superseded(superseded: Badge | None, institution: Institution) -> None:
    if superseded is None or superseded.award.institution != institution.brin:
        raise SupersededUnknown
    if superseded.revoked_since is None:
        raise SupersededNotRevoked


def suspend(
    state: Badge, reason: BadgeSuspensionReason, salt: str, note_commitment: str | None, origin: Origin
) -> BadgeSuspended | None:
    if state.revoked_since is not None:
        raise BadgeIsRevoked
    if state.suspended_for is None:
        _check_changes(state)
        return BadgeSuspended(
            reason=reason, salt=salt, note_commitment=note_commitment, **_repeated(state, origin)
        )
    if state.suspended_for != reason:
        raise AlreadySuspended(state.suspended_for)
    return None


def reinstate(state: Badge, salt: str, origin: Origin) -> BadgeReinstated | None:
    if state.revoked_since is not None:
        raise BadgeIsRevoked
    if state.suspended_since is None:
        return None
    return BadgeReinstated(salt=salt, **_repeated(state, origin))


def revoke(
    state: Badge,
    reason: RevocationReason,
    effective_on: dt.date | None,
    salt: str,
    note_commitment: str | None,
    today: dt.date,
    origin: Origin,
) -> BadgeRevoked | None:
    """Revokes permanently. `effective_on` is the institution's own statement and changes no status."""
    if effective_on is not None and not state.award.awarded_on <= effective_on <= today:
        raise InvalidInput(("/effectiveOn", "must be a day from awardedOn through today"))
    if state.revoked_for is not None:
        if state.revoked_for != reason:
            raise RevokedForAnotherReason(state.revoked_for)
        return None
    return BadgeRevoked(
        reason=reason,
        effective_on=effective_on,
        salt=salt,
        note_commitment=note_commitment,
        **_repeated(state, origin),
    )


def correct(state: Badge, commitments: Correction | None, salt: str, origin: Origin) -> BadgeCorrected | None:
    """Corrects a grade or a spelling; `commitments` is None where the correction changes nothing."""
    if commitments is None:
        return None
    if state.revoked_since is not None:
        raise BadgeIsRevoked
    _check_changes(state)
    return BadgeCorrected(commitments=commitments, salt=salt, **_repeated(state, origin))


def _check_changes(state: Badge) -> None:
    """A badge that is full can still be reinstated and revoked."""
    if state.version >= MAX_CHANGES:
        raise TooManyChanges("The badge has too many changes", MAX_CHANGES, "revoke it and award another")


def _repeated(state: Badge, origin: Origin) -> dict[str, Any]:
    """The members that every `badge.*` event repeats."""
    return {
        "channel": origin.channel,
        "client": origin.client,
        "institution": state.award.institution,
        "learner_id": state.award.learner_id,
        "module_id": state.award.module_id,
        "module_version": state.award.module_version,
        "awarded_on": state.award.awarded_on,
    }
