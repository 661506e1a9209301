"""The commands of an institution about its badges."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request, Response

from api.commands.award_bodies import AwardBody, stated_award
from api.commands.common import Institution, recorded, registry_of, writing_of
from api.http.auth import brin, origin
from api.http.fields import Day, Grade, Name, Note
from api.http.openapi import accepts, answers
from api.http.parameters import BadgeId
from api.http.requests import Body, body, read_json
from api.http.responses import BadgeWritten, answered
from api.http.service import service_of
from registry.domain.events import BadgeSuspensionReason, RevocationReason
from registry.recording.commands import CorrectBadge, ReinstateBadge, RevokeBadge, SuspendBadge
from registry.recording.decisions import BadgeOutcome

router = APIRouter(tags=["badges"])


class RevocationBody(Body):
    """The reason of a permanent revocation. `effectiveOn` is informative and changes no status."""

    example: ClassVar[dict[str, Any]] = {
        "reason": "awarded-in-error",
        "note": "Awarded to another student of the same name.",
    }

    reason: RevocationReason
    effective_on: Day | None = None
    note: Note | None = None


class BadgeSuspensionBody(Body):
    """The reason of a suspension, which can be ended."""

    example: ClassVar[dict[str, Any]] = {
        "reason": "investigation",
        "note": "The examination board investigates.",
    }
    reason: BadgeSuspensionReason
    note: Note | None = None


class CorrectionBody(Body):
    """The right grade, or the right spelling of the learner's name."""

    example: ClassVar[dict[str, Any]] = {"grade": "9"}

    grade: Grade | None = None
    name: Name | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        if members.get("grade") is None and members.get("name") is None:
            return [("", "must have a grade or a name: the one to correct")]
        return []


def _answer(outcome: BadgeOutcome, status: int = 200) -> Response:
    written = BadgeWritten(
        id=outcome.id,
        learner_id=outcome.learner_id,
        module_id=outcome.module_id,
        module_version=outcome.module_version,
        status=outcome.status,
        position=outcome.position,
    )
    return answered(written, status)


@router.post(
    "/badges",
    operation_id="awardBadge",
    summary="Award a badge",
    responses=answers(400, 401, 403, 409, 413, 415, ok=BadgeWritten, created=BadgeWritten),
    openapi_extra=accepts(AwardBody),
)
async def award_badge(request: Request, principal: Institution) -> Response:
    # A fast route (`api.http.fast_routes`) has no dependencies but its guard: it reads its body itself.
    today = service_of(request).today()
    stated = await read_json(
        request, lambda raw: stated_award(raw, today, brin(principal), origin(principal))
    )
    writing = writing_of(request)
    outcome = await recorded(writing.registry, writing.preparation.prepare(stated))
    return _answer(outcome, 201 if outcome.created else 200)


@router.post(
    "/badges/{id}/revocation",
    operation_id="revokeBadge",
    summary="Revoke a badge, permanently",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=accepts(RevocationBody),
)
async def revoke_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[RevocationBody, Depends(body(RevocationBody))],
) -> Response:
    command = RevokeBadge(
        brin(principal), badge_id, stated.reason, stated.effective_on, stated.note, origin(principal)
    )
    return _answer(await recorded(registry_of(request), command))


@router.post(
    "/badges/{id}/suspension",
    operation_id="suspendBadge",
    summary="Suspend a badge",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=accepts(BadgeSuspensionBody),
)
async def suspend_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[BadgeSuspensionBody, Depends(body(BadgeSuspensionBody))],
) -> Response:
    command = SuspendBadge(brin(principal), badge_id, stated.reason, stated.note, origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.delete(
    "/badges/{id}/suspension",
    operation_id="reinstateBadge",
    summary="Reinstate a suspended badge",
    responses=answers(400, 401, 403, 404, 409, ok=BadgeWritten),
)
async def reinstate_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
) -> Response:
    command = ReinstateBadge(brin(principal), badge_id, origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.post(
    "/badges/{id}/correction",
    operation_id="correctBadge",
    summary="Correct a wrong grade or spelling",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=BadgeWritten),
    openapi_extra=accepts(CorrectionBody),
)
async def correct_badge(
    request: Request,
    badge_id: BadgeId,
    principal: Institution,
    stated: Annotated[CorrectionBody, Depends(body(CorrectionBody))],
) -> Response:
    command = CorrectBadge(brin(principal), badge_id, stated.grade, stated.name, origin(principal))
    return _answer(await recorded(registry_of(request), command))
