"""The look-up of a learner by the institution's own key: in a body, since an address is logged on its way."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request, Response

from api.http.auth import Allow, brin
from api.http.fields import EduId, Eppn
from api.http.openapi import accepts, answers
from api.http.problems import NotFound
from api.http.reading import held_by, reading_of
from api.http.requests import Body, body
from api.http.responses import LearnerFound, answered, extent_headers
from projections import read_model
from projections.badges.queries import find_learner
from projections.read_model import asking
from registry.keys import EDUID_SCOPE
from registry.tokens import Principal

router = APIRouter(tags=["badges"])
Institution = Annotated[Principal, Depends(Allow("institution"))]


class LearnerLookupBody(Body):
    """The learner: exactly one of eduId and eppn."""

    example: ClassVar[dict[str, Any]] = {"eduId": "a1b2c3d4-0000-4000-8000-000000000001"}
    edu_id: EduId | None = None
    eppn: Eppn | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        if (members.get("eduId") is None) == (members.get("eppn") is None):
            return [("", "must have exactly one of eduId and eppn")]
        return []


@router.post(
    "/learner-lookups",
    operation_id="lookUpLearner",
    summary="The learner with this eduId or eppn, if the institution has awarded badges to them",
    description="One of whom the institution has no badges is 404, as one who is unknown to the registry.",
    responses=answers(400, 401, 403, 404, 413, 415, ok=LearnerFound),
    openapi_extra=accepts(LearnerLookupBody),
    dependencies=[Depends(held_by("badges"))],
)
def look_up_learner(
    request: Request,
    principal: Institution,
    asked: Annotated[LearnerLookupBody, Depends(body(LearnerLookupBody))],
) -> Response:
    institution, keys = brin(principal), reading_of(request).keys
    if asked.edu_id is not None:
        key = keys.alias_key("eduId", EDUID_SCOPE, asked.edu_id)
    else:
        key = keys.alias_key("eppn", institution, asked.eppn or "")
    asker = read_model.institution(institution)
    with asking(reading_of(request).pool, asker, alias_key=key.hex()) as database:
        extent, learner_id = find_learner(database, institution, key)
    if learner_id is None:
        raise NotFound("learner", extent_headers(extent))
    return answered(LearnerFound(learner_id=learner_id), extent=extent)
