"""Fast routes: the most called endpoints skip the framework's routing and dependencies.

The framework's dependency and exit-stack handling took five times as long as an award itself
(docs/decisions/0005-layout.md). A fast route comes before the framework and calls the endpoint that
the API documents. A request with a query goes on to the API, which checks its parameters: without one, every
parameter of the query has its default, and nothing waits for a position.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.auth import Allow, authenticate
from api.http.parameters import only_known_parameters
from api.http.problems import answer_to


class FastRoutes:
    """ASGI middleware: answers the requests for these routes, each with the prefix of its app."""

    def __init__(self, app: ASGIApp, routes: Sequence[tuple[str, APIRoute]]) -> None:
        self._app = app
        self._routes = [_FastRoute(prefix, route) for prefix, route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["query_string"]:
            for route in self._routes:
                if route.takes(scope):
                    await route.answer(scope, receive, send)
                    return
        # The framework answers another method too: it knows all methods of the path.
        await self._app(scope, receive, send)


class _FastRoute:
    """A documented route, without the framework's dependencies."""

    def __init__(self, prefix: str, route: APIRoute) -> None:
        self._path, self._methods = compile_path(prefix + route.path)[0], set(route.methods or ())
        self._route, self._endpoint = route, route.endpoint
        self._is_async = inspect.iscoroutinefunction(route.endpoint)
        self._in_path = route.dependant.path_params
        dependencies = [(dependency.name, dependency.call) for dependency in route.dependant.dependencies]
        self._guards = [
            (name, call) for name, call in dependencies if call is authenticate or isinstance(call, Allow)
        ]
        guarding = {name for name, _ in self._guards}
        self._absent = {name: None for name, _ in dependencies if name and name not in guarding}

    def takes(self, scope: Scope) -> bool:
        """Whether the request is for this route, which the scope then names."""
        found = self._path.fullmatch(scope["path"])
        if found is None or scope["method"] not in self._methods:
            return False
        # Metrics name a request by its route.
        scope["route"], scope["path_params"] = self._route, found.groupdict()
        return True

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except Exception as error:
            response = answer_to(request, error)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        await only_known_parameters(request)
        arguments: dict[str, Any] = dict(self._absent)
        for name, guard in self._guards:
            principal = await guard(request)
            if name is not None:
                arguments[name] = principal
        for field in self._in_path:
            value, errors = field.validate(request.path_params[field.alias], loc=("path", field.alias))
            if errors:
                raise RequestValidationError(errors)
            arguments[field.name] = value
        if self._is_async:
            response: Response = await self._endpoint(request, **arguments)
            return response
        return await run_in_threadpool(self._endpoint, request, **arguments)
