"""Direct routes: the few that are asked most go to their function past the framework's routing.

The framework's routing, dependencies and exit stacks took five times as long as an award itself
(docs/decisions/0005-layout.md). A direct route is a route like any other: the same function is
registered with the framework, which documents it, and answers whatever carries a query.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from api.http import problems
from registry.domain.errors import Refusal
from registry.postgres.connections import UnavailableError

Endpoint = Callable[[Request], Awaitable[Response]]


class Direct:
    """ASGI middleware: answers the direct routes of `version_1`, and passes on the rest."""

    def __init__(self, app: Any, version_1: FastAPI, routes: dict[tuple[str, str], Endpoint]) -> None:
        self._app, self._version_1 = app, version_1
        self._routes = {(method, f"/v1{path}"): (path, route) for (method, path), route in routes.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        found = self._routes.get((scope.get("method"), scope.get("path")))
        if found is None or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        path, endpoint = found
        scope["app"], scope["route"] = self._version_1, SimpleNamespace(path=path)
        request = Request(scope, receive)
        try:
            answer = await endpoint(request)
        except Refusal as refusal:
            answer = problems.refused(request, refusal)
        except UnavailableError as error:
            answer = problems.unavailable(request, error)
        except ClientDisconnect as error:
            answer = problems.gone(request, error)
        await answer(scope, receive, send)
