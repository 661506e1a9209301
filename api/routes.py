"""How a route states itself: its body in the OpenAPI document, and the problems that it may answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from api.answers import Answer, Problem
from api.bodies import Body
from api.problems import MEDIA_TYPE

# Documented, not checked here: what cannot be an id is answered as unknown.
_UUID = {"format": "uuid"}
ModuleId = Annotated[str, Path(alias="moduleId", description="A module's id.", json_schema_extra=_UUID)]
BadgeId = Annotated[str, Path(alias="id", description="A badge's id.", json_schema_extra=_UUID)]
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


def takes_lines(model: type[Body]) -> dict[str, Any]:
    """The same of a route that takes NDJSON: each line is a `model`."""
    BODIES[model.__name__] = model
    return {"requestBody": {"required": True, "content": _lines(model, "1 to 100,000 lines")}}


def answers_lines(model: type[Answer], said: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers NDJSON: each line is a `model`."""
    BODIES[model.__name__] = model
    return {200: {"description": said, "content": _lines(model, "Lines")}}


def _lines(model: type[Answer | Body], said: str) -> dict[str, Any]:
    schema = {
        "type": "string",
        "description": f"{said}, each a JSON object as the schema {model.__name__}.",
        "contentMediaType": "application/x-ndjson",
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    return {"application/x-ndjson": {"schema": schema}}


BODIES: dict[str, type[Answer | Body]] = {"Problem": Problem}
"""The schemas that the document needs beside those that the framework finds."""
