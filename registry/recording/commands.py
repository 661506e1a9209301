"""The registry's commands, except awards: each command is data, and decides by itself.

Salts are drawn when a command is made, so that a decision depends on nothing but the command and what is
known. Awards are in `registry.recording.awards`.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from registry.domain import badge as badges
from registry.domain import imports
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import Badge, Status
from registry.domain.errors import InstitutionUnknown, PrivatePartsErased
from registry.domain.events import (
    BadgeSuspensionReason,
    ExemptionRule,
    Fact,
    ModuleContent,
    RevocationReason,
    SuspensionReason,
)
from registry.domain.imports import ImportedModule
from registry.domain.institution import Institution, Origin, Particulars
from registry.domain.module import Module
from registry.domain.private_parts import PrivateParts, commit_correction, commit_note
from registry.keys import new_salt
from registry.recording.decisions import BadgeOutcome, Decision, Known, Outcome, existing


class _Command(msgspec.Struct, frozen=True):
    """Defaults for most commands: no learner is looked up, and no private parts are read."""

    @property
    def alias_key(self) -> bytes | None:
        return None

    @property
    def reads_private_parts(self) -> bool:
        return False


# Institutions: the registrar's commands.


class _OfInstitution(_Command, frozen=True):
    brin: str

    @property
    def subjects(self) -> tuple[str, ...]:
        return (self.brin,)

    def _known(self, known: Known) -> Institution:
        return existing(known.institution(self.brin), InstitutionUnknown)


class AdmitInstitution(_OfInstitution, frozen=True):
    """Admits, or changes what was stated at the admission."""

    stated: Particulars
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        state = known.institution(self.brin)
        fact = institutions.admit(state, self.stated, self.origin)
        return _decision(self.brin, state, fact, created=state is None)


class SuspendInstitution(_OfInstitution, frozen=True):
    reason: SuspensionReason
    note: str | None
    origin: Origin
    note_salt: str = msgspec.field(default_factory=new_salt)

    def decide(self, known: Known) -> Decision[Outcome]:
        state = self._known(known)
        committed, private = commit_note(self.note, self.note_salt)
        fact = institutions.suspend(state, self.reason, committed, self.origin)
        return _decision(self.brin, state, fact, private=private)


class ReinstateInstitution(_OfInstitution, frozen=True):
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        state = self._known(known)
        return _decision(self.brin, state, institutions.reinstate(state, self.origin))


class ExemptModule(_OfInstitution, frozen=True):
    """Exempts a module's reference from a rule of the policy; `reason` is public."""

    module_reference: str
    rule: ExemptionRule
    reason: str
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        state = self._known(known)
        fact = institutions.exempt(state, self.module_reference, self.rule, self.reason, self.origin)
        return _decision(self.brin, state, fact, created=fact is not None)


# Modules: an institution's commands.


class _OfModule(_Command, frozen=True):
    brin: str
    module_id: str

    @property
    def subjects(self) -> tuple[str, ...]:
        return (self.module_id, self.brin)


class RegisterModule(_OfModule, frozen=True):
    """`module_id` is the one made of BRIN and reference (`Registry.module_id`)."""

    reference: str
    content: ModuleContent
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        institution, state = known.admitted(self.brin), known.module(self.module_id)
        fact = modules.register(state, institution, self.reference, self.content, known.today, self.origin)
        number = (state.version_of(self.content) if state else None) or 1
        return _decision(self.module_id, state, fact, created=state is None, number=number)


class ReviseModule(_OfModule, frozen=True):
    reference: str
    content: ModuleContent
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        institution, state = known.admitted(self.brin), known.own_module(self.brin, self.module_id)
        fact = modules.revise(state, institution, self.reference, self.content, known.today, self.origin)
        number = state.latest + 1 if fact else state.latest
        return _decision(self.module_id, state, fact, created=fact is not None, number=number)


class ImportModule(_OfModule, frozen=True):
    """Registers a module of the past, or adds a version where the source states what none has yet."""

    stated: ImportedModule
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        institution, state = known.admitted(self.brin), known.module(self.module_id)
        fact = imports.module(state, institution, self.stated, known.today, self.origin)
        return _decision(self.module_id, state, fact, created=fact is not None)


class WithdrawModule(_OfModule, frozen=True):
    """Withdraws from a day, today where none is named."""

    from_: dt.date | None
    origin: Origin

    def decide(self, known: Known) -> Decision[Outcome]:
        state = known.own_module(self.brin, self.module_id)
        fact = modules.withdraw(state, self.from_, known.today, self.origin)
        return _decision(self.module_id, state, fact, number=state.latest)


# Badges: an institution's commands about what it has awarded.


class _OfBadge(_Command, frozen=True):
    brin: str
    badge_id: str

    @property
    def subjects(self) -> tuple[str, ...]:
        return (self.badge_id,)


class RevokeBadge(_OfBadge, frozen=True):
    """Revokes permanently. A badge that is revoked for the same reason stays as it is.

    `observed`: seen in an import; the badge was revoked elsewhere, on a day that is not known.
    """

    reason: RevocationReason
    effective_on: dt.date | None
    note: str | None
    origin: Origin
    observed: bool = False
    salt: str = msgspec.field(default_factory=new_salt)
    note_salt: str = msgspec.field(default_factory=new_salt)

    def decide(self, known: Known) -> Decision[BadgeOutcome]:
        state = known.own_badge(self.brin, self.badge_id)
        committed, private = commit_note(self.note, self.note_salt)
        if self.observed:
            fact = imports.revocation(state, self.reason, self.salt, committed, self.origin)
        else:
            fact = badges.revoke(
                state, self.reason, self.effective_on, self.salt, committed, known.today, self.origin
            )
        return _badge_decision(state, fact, "revoked", private)


class SuspendBadge(_OfBadge, frozen=True):
    reason: BadgeSuspensionReason
    note: str | None
    origin: Origin
    salt: str = msgspec.field(default_factory=new_salt)
    note_salt: str = msgspec.field(default_factory=new_salt)

    def decide(self, known: Known) -> Decision[BadgeOutcome]:
        state = known.own_badge(self.brin, self.badge_id)
        committed, private = commit_note(self.note, self.note_salt)
        fact = badges.suspend(state, self.reason, self.salt, committed, self.origin)
        return _badge_decision(state, fact, "suspended", private)


class ReinstateBadge(_OfBadge, frozen=True):
    origin: Origin
    salt: str = msgspec.field(default_factory=new_salt)

    def decide(self, known: Known) -> Decision[BadgeOutcome]:
        state = known.own_badge(self.brin, self.badge_id)
        fact = badges.reinstate(state, self.salt, self.origin)
        status = badges.status_when_reinstated(state, known.now)
        return _badge_decision(state, fact, status)


class CorrectBadge(_OfBadge, frozen=True):
    """Corrects a wrong grade or the spelling of a name; anything else needs a new award."""

    grade: str | None
    name: str | None
    origin: Origin
    salt: str = msgspec.field(default_factory=new_salt)
    grade_salt: str = msgspec.field(default_factory=new_salt)
    recipient_salt: str = msgspec.field(default_factory=new_salt)

    @property
    def reads_private_parts(self) -> bool:
        return True

    def decide(self, known: Known) -> Decision[BadgeOutcome]:
        state = known.own_badge(self.brin, self.badge_id)
        current = existing(known.private_parts.get(self.badge_id), PrivatePartsErased)
        commitments, private = commit_correction(
            current, self.grade, self.grade_salt, self.name, self.recipient_salt
        )
        fact = badges.correct(state, commitments, self.salt, self.origin)
        status, _ = badges.status_of(state, known.now)
        return _badge_decision(state, fact, status, private)


def _decision(
    subject: str,
    state: Institution | Module | None,
    fact: Fact | None,
    *,
    created: bool = False,
    number: int = 1,
    private: PrivateParts | None = None,
) -> Decision[Outcome]:
    """Records the fact in its stream; where there is none, the outcome is the stream's last position."""
    position = state.position if state else 0
    outcome = Outcome(id=subject, position=position, created=created, module_version=number)
    return Decision(outcome, fact, state.version + 1 if state else 1, private, institution=subject)


def _badge_decision(
    state: Badge, fact: Fact | None, status: Status, private: PrivateParts | None = None
) -> Decision[BadgeOutcome]:
    award = state.award
    outcome = BadgeOutcome(
        id=state.id,
        learner_id=award.learner_id,
        module_id=award.module_id,
        module_version=award.module_version,
        status=status,
        position=state.position,
        created=fact is not None,
    )
    return Decision(outcome, fact, state.version + 1, private, award.institution, award.learner_id)
