"""The OpenAPI document: FastAPI's own description, completed from the routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http.auth import EXPIRY_HEADER, Allow
from api.http.glossary import describe as describe_member
from api.http.problems import MEDIA_TYPE, PROBLEM_TYPES
from api.http.requests import Body
from api.http.responses import EXTENT_HEADERS, Answer, Problem
from registry.domain.events import FACTS
from registry.domain.values import BRIN

NDJSON = "application/x-ndjson"
EVENT_TYPES = sorted({fact.TYPE for fact in FACTS.values()})
_DESCRIPTIONS = {
    400: "The request is invalid; `errors` lists everything that must be changed.",
    401: "A valid token is needed.",
    403: "Not allowed for this token.",
    404: "Unknown.",
    409: "Against a rule of the registry, or in conflict with its records.",
    413: "The body is too large.",
    415: "Wrong media type.",
    429: "Too many requests of this token at once; try again after the number of seconds in Retry-After.",
    503: "Not ready; try again after the number of seconds in Retry-After.",
}


def answers(*statuses: int, **models: type[Answer]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: problems by status, and answers as `ok=`, `created=`.

    304 is for a route that answers with an entity tag (`api.http.entity_tags`).
    """
    responses: dict[int | str, dict[str, Any]] = {}
    if ok := models.get("ok"):
        responses[200] = {"model": ok, "description": (ok.__doc__ or "").strip().partition("\n")[0]}
    if created := models.get("created"):
        responses[201] = {"model": created, "description": "Recorded."}
    if 304 in statuses:
        responses[304] = {"description": "Unchanged since the answer with the entity tag that was sent."}
    for status in sorted({*statuses, 503} - {304}):
        content = {MEDIA_TYPE: {"schema": _PROBLEM}}
        responses[status] = {"description": _DESCRIPTIONS[status], "content": content}
    return responses


_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def accepts(model: type[Body]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself (`api.http.requests.body`)."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"application/json": {"schema": schema, "example": model.example}}
    BODIES[model.__name__] = model
    return {"requestBody": {"required": not model.may_be_empty, "content": content}}


def accepts_lines(model: type[Body]) -> dict[str, Any]:
    """The same for a route that accepts NDJSON: each line is a `model`."""
    BODIES[model.__name__] = model
    content = _lines(model, "1 to 100,000 lines")
    content[NDJSON]["example"] = json.dumps(model.example) + "\n"
    return {"requestBody": {"required": True, "content": content}}


def answers_lines(model: type[Answer], description: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers NDJSON: each line is a `model`."""
    BODIES[model.__name__] = model
    return {200: {"description": description, "content": _lines(model, "Lines")}}


def _lines(model: type[Answer | Body], what: str) -> dict[str, Any]:
    schema = {
        "type": "string",
        "format": "binary",  # generators of clients then send and keep the bytes as they are
        "description": f"{what}, each a JSON object as in the schema {model.__name__}.",
        "contentMediaType": NDJSON,
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    return {NDJSON: {"schema": schema}}


BODIES: dict[str, type[Answer | Body]] = {"Problem": Problem}
"""The schemas that the document needs besides those that the framework finds."""

_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> Callable[[], dict[str, Any]]:
    """The app's `openapi()`: the document is made once, at the first request for it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, routes(routers))
        return app.openapi_schema

    return openapi


def _document(app: FastAPI, described: Sequence[APIRoute]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        servers=app.servers,
        contact=app.contact,
        license_info=app.license_info,
        tags=app.openapi_tags,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name, model in BODIES.items():
        schema = model.model_json_schema(by_alias=True, ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token from `registry token create`."}
    }
    for route in described:
        for method in route.methods or ():
            _complete(document["paths"][route.path_format][method.lower()], route)
    for name, schema in schemas.items():
        _describe(name, schema)
    return document


def routes(routers: Sequence[APIRouter]) -> list[APIRoute]:
    """The routes of the API."""
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


_BRIN = {"pattern": f"^{BRIN.pattern}$"}
_UUID = {"format": "uuid"}
_PROBLEM_TYPE = {"enum": PROBLEM_TYPES}
# The forms of texts, by the name of the member or parameter, or by schema and name.
_FORMS: dict[str, dict[str, Any]] = {
    "brin": _BRIN,
    "contentHash": {"pattern": "^[0-9a-f]{64}$"},
    "id": _UUID,
    "institution": _BRIN,
    "learnerId": _UUID,
    "moduleId": _UUID,
    "supersedes": _UUID,
    "LineProblem.type": _PROBLEM_TYPE,
    "Problem.type": _PROBLEM_TYPE,
    "RecordedEvent.id": {},
    "TokenAnswer.id": {"pattern": "^[0-9a-f]{16}$"},
    "RecordedEvent.type": {"enum": EVENT_TYPES},
}


def _describe(name: str, schema: dict[str, Any]) -> None:
    """Completes a schema: each member with its meaning, and without what only the framework needs."""
    schema.pop("title", None)
    for member, described in schema.get("properties", {}).items():
        described.pop("title", None)
        if described.get("default", ...) is None:
            # Generators take a member with a default for one that is always there.
            del described["default"]
            if not name.endswith("Body"):
                _without_null(described)  # an answer leaves it out
        if meaning := describe_member(member, name):
            described["description"] = meaning
        if (form := _FORMS.get(f"{name}.{member}", _FORMS.get(member))) is not None:
            for alternative in described.get("anyOf", [described]):
                if alternative.get("type") == "string":
                    alternative.update(form)


def _without_null(schema: dict[str, Any]) -> None:
    alternatives = [option for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    if len(alternatives) == 1:
        (present,) = alternatives
        schema |= {key: value for key, value in present.items() if key not in schema}
    elif alternatives:
        schema["anyOf"] = alternatives


def _complete_parameter(parameter: dict[str, Any]) -> None:
    """A query has no null: what may be absent is not required."""
    name, schema = parameter["name"], parameter["schema"]
    if "description" not in parameter and (meaning := describe_member(name)):
        parameter["description"] = meaning
    for key in ("title", "description"):
        schema.pop(key, None)
    _without_null(schema)
    schema |= _FORMS.get(name, {}) if schema.get("type") == "string" else {}


def _complete(operation: dict[str, Any], route: APIRoute) -> None:
    operation["responses"].pop("422", None)
    for parameter in operation.get("parameters", []):
        _complete_parameter(parameter)
    roles = sorted(roles_of(route))
    if roles:
        operation["security"] = [{"token": []}]
        operation["description"] = "\n\n".join(
            filter(None, [operation.get("description"), f"For: {', '.join(roles)}."])
        )
    else:
        operation.setdefault("security", [])
    if any(parameter["name"] == "minPosition" for parameter in operation.get("parameters", ())):
        for status in {"200", "404"} & operation["responses"].keys():
            operation["responses"][status]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in EXTENT_HEADERS.items()
            }
    if "304" in operation["responses"]:
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        for status in ("200", "304"):
            operation["responses"][status].setdefault("headers", {})["ETag"] = _ETAG
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["API-Version"] = {
            "description": "The version of this API.",
            "schema": {"type": "string"},
        }
        answer["headers"]["Registry-Request-Id"] = {
            "description": "The id of this request in the registry's log; name it when you report a problem.",
            "schema": {"type": "string"},
        }
        if roles:
            answer["headers"][EXPIRY_HEADER] = {
                "description": "When the token expires, if it has less than 14 days left.",
                "schema": {"type": "string", "format": "date-time"},
            }


_ETAG = {"description": "The entity tag of this answer.", "schema": {"type": "string"}}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The entity tag of an answer that the client holds: where it is still the answer, the"
    " registry answers 304 without a body.",
    "schema": {"type": "string"},
}


def roles_of(route: APIRoute) -> frozenset[str]:
    """The roles that may use a route: none for a public route."""
    roles: set[str] = set()
    waiting = list(route.dependant.dependencies)
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant.call, Allow):
            roles.update(dependant.call.roles)
        waiting += dependant.dependencies
    return frozenset(roles)
