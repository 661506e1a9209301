"""The commands of the registrar."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request, Response

from api.commands.common import Registrar, recorded, registry_of
from api.http.auth import origin
from api.http.fields import Day, Name, Note, PublicReason, Reference, SchacHome
from api.http.openapi import accepts, answers
from api.http.requests import Body, body
from api.http.responses import InstitutionWritten, answered
from registry.domain.errors import InvalidInput
from registry.domain.events import ExemptionRule, Sector, SuspensionReason
from registry.domain.institution import Particulars
from registry.domain.values import BRIN
from registry.recording.commands import (
    AdmitInstitution,
    ExemptModule,
    ReinstateInstitution,
    SuspendInstitution,
)
from registry.recording.decisions import Outcome

router = APIRouter(tags=["institutions"])


class InstitutionBody(Body):
    """An institution in full."""

    example: ClassVar[dict[str, Any]] = {
        "name": "De Haagse Hogeschool",
        "nameEn": "The Hague University of Applied Sciences",
        "kind": "hbo",
        "schacHome": "hhs.nl",
        "admittedFrom": "2022-02-01",
    }

    name: Name
    name_en: Name | None = None
    kind: Sector
    schac_home: SchacHome | None = None
    admitted_from: Day
    admitted_until: Day | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        first, last = members.get("admittedFrom"), members.get("admittedUntil")
        if isinstance(first, str) and isinstance(last, str) and last < first:
            return [("/admittedUntil", "must not be before admittedFrom")]
        return []


class SuspensionBody(Body):
    """The reason of a suspension. The note is kept in the vault."""

    example: ClassVar[dict[str, Any]] = {"reason": "quality", "note": "Until the audit of next spring."}

    reason: SuspensionReason
    note: Note | None = None


class ExemptionBody(Body):
    """The rule that is lifted for a module reference, and the reason, which is public."""

    example: ClassVar[dict[str, Any]] = {
        "moduleReference": "PILOT-2026",
        "rule": "study-load",
        "reason": "A pilot of 40 ECTS.",
    }

    module_reference: Reference
    rule: ExemptionRule
    reason: PublicReason


def _answer(outcome: Outcome) -> Response:
    written = InstitutionWritten(brin=outcome.id, position=outcome.position)
    return answered(written, 201 if outcome.created else 200)


@router.put(
    "/institutions/{brin}",
    operation_id="putInstitution",
    summary="Admit an institution, or change its particulars",
    responses=answers(400, 401, 403, 404, 413, 415, ok=InstitutionWritten, created=InstitutionWritten),
    openapi_extra=accepts(InstitutionBody),
)
async def put_institution(
    request: Request,
    brin: str,
    principal: Registrar,
    stated: Annotated[InstitutionBody, Depends(body(InstitutionBody))],
) -> Response:
    if not BRIN.fullmatch(brin):
        raise InvalidInput(("/brin", "must be a BRIN: two digits, then two capitals or digits"))
    particulars = Particulars(
        name=stated.name,
        kind=stated.kind,
        admitted_from=stated.admitted_from,
        name_en=stated.name_en,
        schac_home=stated.schac_home,
        admitted_until=stated.admitted_until,
    )
    command = AdmitInstitution(brin, particulars, origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.post(
    "/institutions/{brin}/suspension",
    operation_id="suspendInstitution",
    summary="Suspend an institution: from today it may not award badges",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=InstitutionWritten),
    openapi_extra=accepts(SuspensionBody),
)
async def suspend_institution(
    request: Request,
    brin: str,
    principal: Registrar,
    stated: Annotated[SuspensionBody, Depends(body(SuspensionBody))],
) -> Response:
    command = SuspendInstitution(brin, stated.reason, stated.note, origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.delete(
    "/institutions/{brin}/suspension",
    operation_id="reinstateInstitution",
    summary="Reinstate a suspended institution",
    responses=answers(400, 401, 403, 404, ok=InstitutionWritten),
)
async def reinstate_institution(request: Request, brin: str, principal: Registrar) -> Response:
    command = ReinstateInstitution(brin, origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.post(
    "/institutions/{brin}/exemptions",
    operation_id="exemptModule",
    summary="Exempt a module reference from a rule of the policy",
    responses=answers(400, 401, 403, 404, 413, 415, ok=InstitutionWritten, created=InstitutionWritten),
    openapi_extra=accepts(ExemptionBody),
)
async def exempt_module(
    request: Request,
    brin: str,
    principal: Registrar,
    stated: Annotated[ExemptionBody, Depends(body(ExemptionBody))],
) -> Response:
    command = ExemptModule(brin, stated.module_reference, stated.rule, stated.reason, origin(principal))
    return _answer(await recorded(registry_of(request), command))
