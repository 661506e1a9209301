"""An institution's commands about its badges."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.answers import BadgeWritten, answered
from api.auth import Allow, brin, origin
from api.bodies import Body, body
from api.commands.awarding import Awarding
from api.commands.common import Institution, registry_of
from api.fields import (
    AwardDay,
    Day,
    Description,
    EduId,
    Email,
    Eppn,
    Grade,
    Name,
    Note,
    Reference,
    Url,
    Uuid,
    Version,
)
from api.routes import BadgeId, answers, takes
from registry.awards import AwardCommand
from registry.domain.badge import Award
from registry.domain.institution import Origin
from registry.events import BadgeSuspensionReason, RevocationReason
from registry.recording import BadgeOutcome
from registry.vault import Evidence, Recipient

router = APIRouter(tags=["badges"])


class LearnerBody(Body):
    """Who learnt: exactly one of eduId and eppn. Name and e-mail never identify."""

    edu_id: EduId | None = None
    eppn: Eppn | None = None
    name: Name | None = None
    email: Email | None = None


class EvidenceBody(Body):
    url: Url | None = None
    name: Name | None = None
    narrative: Description | None = None
    description: Description | None = None

    def part(self) -> Evidence:
        return Evidence(url=self.url, name=self.name, narrative=self.narrative, description=self.description)


class AwardBody(Body):
    """An award. Learner, reference, grade and evidence are private: they are kept in the vault."""

    reference: Reference
    module_id: Uuid | None = None
    module_reference: Reference | None = None
    module_version: Version | None = None
    learner: LearnerBody
    awarded_on: AwardDay
    valid_until: Day | None = None
    grade: Grade | None = None
    evidence: Annotated[list[EvidenceBody], Field(max_length=20)] | None = None
    supersedes: Uuid | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        wrong = []
        if (members.get("moduleId") is None) == (members.get("moduleReference") is None):
            wrong.append(("", "has exactly one of moduleId and moduleReference"))
        learner = members.get("learner")
        if isinstance(learner, dict) and (learner.get("eduId") is None) == (learner.get("eppn") is None):
            wrong.append(("/learner", "has exactly one of eduId and eppn"))
        first, last = members.get("awardedOn"), members.get("validUntil")
        if isinstance(first, str) and isinstance(last, str) and last < first:
            wrong.append(("/validUntil", "lies before awardedOn"))
        for number, item in enumerate(_list(members.get("evidence"))):
            if isinstance(item, dict) and all(value is None for value in item.values()):
                wrong.append((f"/evidence/{number}", "is empty; give a url or a narrative"))
        return wrong

    def command(self, brin: str, origin: Origin) -> AwardCommand:
        learner = self.learner
        return AwardCommand(
            brin=brin,
            reference=self.reference,
            module_id=self.module_id,
            module_reference=self.module_reference,
            recipient=Recipient(
                edu_id=learner.edu_id, eppn=learner.eppn, name=learner.name, email=learner.email
            ),
            award=Award(self.module_version, self.awarded_on, self.valid_until, self.supersedes),
            origin=origin,
            grade=self.grade,
            evidence=None if self.evidence is None else tuple(item.part() for item in self.evidence),
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


class RevocationBody(Body):
    """Why a badge is revoked: for ever. `effectiveOn` is stated, and moves no status."""

    reason: RevocationReason
    effective_on: Day | None = None
    note: Note | None = None


class BadgeSuspensionBody(Body):
    reason: BadgeSuspensionReason
    note: Note | None = None


class CorrectionBody(Body):
    """A wrong grade or a wrong spelling of the name, as it should be."""

    grade: Grade | None = None
    name: Name | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        if members.get("grade") is None and members.get("name") is None:
            return [("", "has neither grade nor name; give what is to be corrected")]
        return []


def _answer(outcome: BadgeOutcome) -> Response:
    written = BadgeWritten(
        id=outcome.id,
        learner_id=outcome.learner_id,
        module_id=outcome.module_id,
        module_version=outcome.module_version,
        status=outcome.status,
        position=outcome.position,
    )
    return answered(written, 201 if outcome.created else 200)


may_award = Allow("institution")
read_award = body(AwardBody)


@router.post(
    "/badges",
    operation_id="awardBadge",
    summary="Award a badge",
    responses=answers(400, 401, 403, 409, 413, 415, ok=BadgeWritten, created=BadgeWritten),
    openapi_extra=takes(AwardBody),
    dependencies=[Depends(may_award)],
)
async def award_badge(request: Request) -> Response:
    """A direct route (`api.direct`): it finds its principal and its body itself."""
    principal = await may_award(request)
    stated = await read_award(request)
    awarding: Awarding = request.app.state.awarding
    return _answer(await awarding.award(stated.command(brin(principal), origin(principal))))


@router.post(
    "/badges/{id}/revocation",
    operation_id="revokeBadge",
    summary="Revoke a badge, for ever",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=takes(RevocationBody),
)
def revoke_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[RevocationBody, Depends(body(RevocationBody))],
) -> Response:
    return _answer(
        registry_of(request).revoke_badge(
            brin(principal), badge_id, stated.reason, stated.effective_on, stated.note, origin(principal)
        )
    )


@router.post(
    "/badges/{id}/suspension",
    operation_id="suspendBadge",
    summary="Suspend a badge",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=takes(BadgeSuspensionBody),
)
def suspend_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[BadgeSuspensionBody, Depends(body(BadgeSuspensionBody))],
) -> Response:
    return _answer(
        registry_of(request).suspend_badge(
            brin(principal), badge_id, stated.reason, stated.note, origin(principal)
        )
    )


@router.delete(
    "/badges/{id}/suspension",
    operation_id="reinstateBadge",
    summary="Reinstate a suspended badge",
    responses=answers(400, 401, 403, 404, 409, ok=BadgeWritten),
)
def reinstate_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
) -> Response:
    return _answer(registry_of(request).reinstate_badge(brin(principal), badge_id, origin(principal)))


@router.post(
    "/badges/{id}/correction",
    operation_id="correctBadge",
    summary="Correct a wrong grade or spelling",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=takes(CorrectionBody),
)
def correct_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[CorrectionBody, Depends(body(CorrectionBody))],
) -> Response:
    registry = registry_of(request)
    return _answer(
        registry.correct_badge(brin(principal), badge_id, stated.grade, stated.name, origin(principal))
    )
