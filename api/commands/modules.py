"""The commands of an institution about its modules."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.commands.common import Institution, recorded, registry_of
from api.http.auth import brin, origin
from api.http.fields import (
    Assessment,
    Day,
    Description,
    Ects,
    Eqf,
    Isced,
    Language,
    LearningOutcome,
    Name,
    Nlqf,
    Participation,
    Reference,
    Sbu,
    Supervision,
    Url,
)
from api.http.openapi import accepts, answers
from api.http.parameters import ModuleId
from api.http.requests import Body, body
from api.http.responses import ModuleWritten, answered
from registry.domain.events import ModuleContent
from registry.recording.commands import RegisterModule, ReviseModule, WithdrawModule
from registry.recording.decisions import Outcome

router = APIRouter(tags=["modules"])


class StudyLoadBody(Body):
    """ECTS (hbo, wo) or SBU (mbo): exactly one."""

    ects: Ects | None = None
    sbu: Sbu | None = None


class LevelBody(Body):
    """The level of a module."""

    nlqf: Nlqf
    eqf: Eqf | None = None


class QualityAssuranceBody(Body):
    """The body that assures the quality of a module."""

    name: Name
    url: Url
    description: Description | None = None


class ModuleBody(Body):
    """A module version in full. All of it is public."""

    example: ClassVar[dict[str, Any]] = {
        "reference": "ZORG-1",
        "name": "Zorg op afstand",
        "description": "Zorg met beeld en geluid.",
        "studyLoad": {"ects": 5},
        "level": {"nlqf": "6", "eqf": "6"},
        "learningOutcomes": ["Kiest passende zorg op afstand"],
        "language": "nl-NL",
        "isced": "0913",
        "participation": "blended",
        "assessment": ["portfolio"],
        "supervision": "onsite-with-identity",
        "qualityAssurance": {"name": "NVAO", "url": "https://www.nvao.net"},
        "stackable": True,
    }

    reference: Reference
    name: Name
    description: Description
    study_load: StudyLoadBody
    level: LevelBody
    learning_outcomes: Annotated[list[LearningOutcome], Field(min_length=1, max_length=20)]
    language: Language
    isced: Isced | None = None
    participation: Participation
    assessment: Annotated[list[Assessment], Field(min_length=1, max_length=9)]
    supervision: Supervision | None = None
    quality_assurance: QualityAssuranceBody
    stackable: bool | None = None
    faculty: Name | None = None
    programme: Name | None = None
    target_group: Literal["professionals", "initial-students"] | None = None
    legal_ground: Name | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        load = members.get("studyLoad")
        if isinstance(load, dict) and (load.get("ects") is None) == (load.get("sbu") is None):
            return [("/studyLoad", "must have exactly one of ects and sbu")]
        return []

    def content(self) -> ModuleContent:
        members = self.model_dump(by_alias=True, exclude_none=True, exclude={"reference"})
        return msgspec.convert(members, ModuleContent)


class WithdrawalBody(Body):
    """The day from which the module accepts no awards; today if it is left out."""

    example: ClassVar[dict[str, Any]] = {}

    may_be_empty = True
    from_: Annotated[Day | None, Field(alias="from")] = None


def _answer(outcome: Outcome) -> Response:
    written = ModuleWritten(id=outcome.id, version=outcome.module_version, position=outcome.position)
    return answered(written, 201 if outcome.created else 200)


@router.post(
    "/modules",
    operation_id="registerModule",
    summary="Register a module",
    responses=answers(400, 401, 403, 409, 413, 415, ok=ModuleWritten, created=ModuleWritten),
    openapi_extra=accepts(ModuleBody),
)
async def register_module(
    request: Request, principal: Institution, stated: Annotated[ModuleBody, Depends(body(ModuleBody))]
) -> Response:
    registry, owner = registry_of(request), brin(principal)
    module_id = registry.module_id(owner, stated.reference)
    command = RegisterModule(owner, module_id, stated.reference, stated.content(), origin(principal))
    return _answer(await recorded(registry, command))


@router.post(
    "/modules/{moduleId}/versions",
    operation_id="reviseModule",
    summary="Add a version to a module",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=ModuleWritten, created=ModuleWritten),
    openapi_extra=accepts(ModuleBody),
)
async def revise_module(
    request: Request,
    module_id: ModuleId,
    principal: Institution,
    stated: Annotated[ModuleBody, Depends(body(ModuleBody))],
) -> Response:
    command = ReviseModule(brin(principal), module_id, stated.reference, stated.content(), origin(principal))
    return _answer(await recorded(registry_of(request), command))


@router.post(
    "/modules/{moduleId}/withdrawal",
    operation_id="withdrawModule",
    summary="Withdraw a module from a given day",
    responses=answers(400, 401, 403, 404, 409, 413, 415, ok=ModuleWritten),
    openapi_extra=accepts(WithdrawalBody),
)
async def withdraw_module(
    request: Request,
    module_id: ModuleId,
    principal: Institution,
    stated: Annotated[WithdrawalBody, Depends(body(WithdrawalBody))],
) -> Response:
    command = WithdrawModule(brin(principal), module_id, stated.from_, origin(principal))
    return _answer(await recorded(registry_of(request), command))
