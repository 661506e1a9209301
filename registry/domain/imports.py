"""What an import records of the past: it notes a finding where the API would refuse.

Policy, admission and the first award day are noted; that a module is its institution's and is not
withdrawn holds for an import too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec

from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import AwardTerms, Badge
from registry.domain.errors import (
    AdmissionEnded,
    InstitutionIsSuspended,
    ModuleOfAnother,
    OutsideAdmission,
    StudyLoadOutsidePolicy,
    SuspendedOnThatDay,
    TargetGroupOutsidePolicy,
)
from registry.domain.events import (
    BadgeAwarded,
    BadgeRevoked,
    BadgeType,
    Commitments,
    ModuleContent,
    ModuleRegistered,
    ModuleRevised,
    RevocationReason,
)
from registry.domain.institution import Institution, Origin
from registry.domain.module import Module
from registry.domain.values import FIRST_AWARD_DAY

_FINDINGS: dict[type[institutions.Objection | modules.Objection], str] = {
    StudyLoadOutsidePolicy: "study-load-outside-policy",
    TargetGroupOutsidePolicy: "target-group-outside-policy",
    InstitutionIsSuspended: "institution-suspended",
    AdmissionEnded: "admission-ended",
    OutsideAdmission: "outside-admission",
    SuspendedOnThatDay: "suspended-that-day",
}
# The members that every other module has, and that an import may not find.
_EXPECTED = {
    "description": "no-description",
    "study_load": "no-study-load",
    "level": "no-level",
    "learning_outcomes": "no-outcomes",
    "language": "no-language",
    "participation": "no-participation",
    "assessment": "no-assessment",
    "quality_assurance": "no-quality-assurance",
}
# The findings that the source states such a member, and the registry has no word for it.
_NOT_TAKEN = {
    "description": {"description-not-taken"},
    "study_load": {"study-load-not-taken", "time-investment-not-taken"},
    "level": {"level-not-taken"},
    "learning_outcomes": {"outcomes-not-taken"},
    "language": {"language-not-taken"},
    "participation": {"participation-not-taken"},
    "assessment": {"assessment-not-taken"},
    "quality_assurance": {"quality-assurance-not-taken"},
}


class ImportedModule(msgspec.Struct, frozen=True):
    """A module as the source describes it, with the findings of reading it."""

    reference: str
    content: ModuleContent
    badge_type: BadgeType | None = None
    findings: tuple[str, ...] = ()


def module(
    state: Module | None, institution: Institution, source: ImportedModule, today: dt.date, origin: Origin
) -> ModuleRegistered | ModuleRevised | None:
    """Registers a module that is new, and adds a version for each content that no version has yet.

    Nothing is added to what the institution stated itself: it may have corrected what the source says.
    """
    if state is not None and (
        state.institution != institution.brin
        or state.withdrawn_from is not None
        or state.own
        or state.version_of(source.content) is not None
    ):
        return None
    if state is not None:
        modules.check_versions(state)
    kind = ModuleRegistered if state is None else ModuleRevised
    return kind(
        channel=origin.channel,
        client=origin.client,
        institution=institution.brin,
        reference=source.reference,
        version=1 if state is None else state.latest + 1,
        content_hash=modules.content_hash(source.content),
        content=source.content,
        badge_type=source.badge_type,
        findings=_module_findings(institution, source, today) or None,
    )


def award(
    institution: Institution,
    of: Module,
    terms: AwardTerms,
    source: ImportedModule | None,
    noted: tuple[str, ...],
    learner_id: str,
    commitments: Commitments,
    today: dt.date,
    origin: Origin,
    module_pointer: str = "/moduleId",
) -> BadgeAwarded:
    """Decides an award of the past that is not recorded yet; `source` is its module where one is given."""
    if of.institution != institution.brin:
        raise ModuleOfAnother(module_pointer)
    modules.check_not_withdrawn(of, today, module_pointer)
    number, differs = _version_for(of, source)
    findings = (
        *_findings_of(of, number, source, institution, today),
        *noted,
        *differs,
        *(("before-2018",) if terms.awarded_on < FIRST_AWARD_DAY else ()),
        *_codes(institutions.objections(institution, terms.awarded_on, today)),
    )
    versioned = msgspec.structs.replace(terms, module_version=number)
    fact = badges.awarded(
        institution, of, versioned, learner_id, commitments, origin, tuple(dict.fromkeys(findings))
    )
    return msgspec.structs.replace(fact, badge_type=badge_type(of, source))


def badge_type(of: Module | None, source: ImportedModule | None) -> BadgeType | None:
    """The type that the source states; without a source, that of the module."""
    if source is not None:
        return source.badge_type
    return of.badge_type if of else None


def revocation(
    state: Badge, reason: RevocationReason, salt: str, note_commitment: str | None, origin: Origin
) -> BadgeRevoked | None:
    """Decides a revocation that was observed, its day unknown; a revoked badge stays as it is."""
    if state.revoked_for is not None:
        return None
    fact = badges.revoke(state, reason, None, salt, note_commitment, dt.date.max, origin)
    return None if fact is None else msgspec.structs.replace(fact, observed=True)


def _module_findings(institution: Institution, source: ImportedModule, today: dt.date) -> tuple[str, ...]:
    content = source.content
    missing = [
        code
        for name, code in _EXPECTED.items()
        if getattr(content, name) is None and _NOT_TAKEN.get(name, set()).isdisjoint(source.findings)
    ]
    policy = modules.objections(institution, source.reference, content, today)
    return tuple(dict.fromkeys((*missing, *source.findings, *_codes(policy))))


def _codes(objections: Iterable[institutions.Objection | modules.Objection]) -> list[str]:
    return [_FINDINGS[type(objection)] for objection in objections]


def _within(less: ModuleContent, more: ModuleContent) -> bool:
    """Whether `more` says all that `less` says."""
    pairs = zip(msgspec.structs.astuple(less), msgspec.structs.astuple(more), strict=True)
    return all(one is None or one == other for one, other in pairs)


def _version_for(of: Module, source: ImportedModule | None) -> tuple[int, tuple[str, ...]]:
    """The version that an award is for: the one with the source's content, or else the latest.

    Of what the source states, the latest then says all, or that it does not is noted.
    """
    if source is None:
        return of.latest, ()
    same = of.version_of(source.content)
    if same is not None:
        return same, ()
    return of.latest, () if _within(source.content, of.versions[-1][1]) else ("module-differs",)


def _findings_of(
    of: Module, number: int, source: ImportedModule | None, institution: Institution, today: dt.date
) -> tuple[str, ...]:
    """The findings about the version that an award names, as the award's own source gives rise to them."""
    if source is None:
        return of.findings[number - 1]
    if source.content == of.versions[number - 1][1]:
        return _module_findings(institution, source, today)
    return (*of.findings[number - 1], *source.findings)
