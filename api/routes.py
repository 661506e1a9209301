"""How a route states itself: its body in the OpenAPI document, and the problems that it may answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from api.answers import Answer, Problem
from api.bodies import Body
from api.problems import MEDIA_TYPE

ModuleId = Annotated[str, Path(alias="moduleId", description="A module's id.")]
BadgeId = Annotated[str, Path(alias="id", description="A badge's id.")]
LearnerId = Annotated[str, Path(alias="learnerId", description="A learner's pseudonymous id.")]

_SAID = {
    400: "The request is not as the contract asks; `errors` says all that is wrong.",
    401: "A valid token is needed.",
    403: "Not allowed for this token.",
    404: "Not known here.",
    409: "Against a rule of the registry, or in conflict with what is recorded.",
    413: "The body is too large.",
    415: "The body has another media type.",
    503: "Not ready now; try again after the seconds in Retry-After.",
}


def answers(*statuses: int, **models: type[Answer]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: problems by status, and answers as `ok=`, `created=`."""
    found: dict[int | str, dict[str, Any]] = {}
    if ok := models.get("ok"):
        found[200] = {"model": ok, "description": (ok.__doc__ or "").strip().partition("\n")[0]}
    if created := models.get("created"):
        found[201] = {"model": created, "description": "Recorded."}
    for status in (*statuses, 503):
        found[status] = {"description": _SAID[status], "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
    return found


_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def takes(model: type[Body]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself (`api.bodies.body`)."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    BODIES[model.__name__] = model
    return {"requestBody": {"required": not model.may_be_empty, "content": content}}


BODIES: dict[str, type[Body | Problem]] = {"Problem": Problem}
"""The schemas that the document needs beside those that the framework finds."""
