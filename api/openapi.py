"""The OpenAPI document: what FastAPI finds, and what our routes say of themselves beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.auth import Allow
from api.routes import BODIES

_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> Callable[[], dict[str, Any]]:
    """The app's `openapi()`: made once, when it is first asked for."""

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
        "token": {"type": "http", "scheme": "bearer", "description": "A token of `registry token create`."}
    }
    for route in described:
        for method in route.methods or ():
            _mend(document["paths"][route.path_format][method.lower()], route)
    return document


def routes(routers: Sequence[APIRouter]) -> list[APIRoute]:
    """The routes of the API."""
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def _mend(operation: dict[str, Any], route: APIRoute) -> None:
    operation["responses"].pop("422", None)
    roles = sorted(roles_of(route))
    if roles:
        operation["security"] = [{"token": []}]
        operation["description"] = "\n\n".join(
            filter(None, [operation.get("description"), f"For: {', '.join(roles)}."])
        )
    else:
        operation.setdefault("security", [])
    for answer in operation["responses"].values():
        answer.setdefault("headers", {})["API-Version"] = {
            "description": "The version of this API.",
            "schema": {"type": "string"},
        }


def roles_of(route: APIRoute) -> frozenset[str]:
    """The roles for which a route is: none for a public one."""
    found: set[str] = set()
    waiting = list(route.dependant.dependencies)
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant.call, Allow):
            found.update(dependant.call.roles)
        waiting += dependant.dependencies
    return frozenset(found)
