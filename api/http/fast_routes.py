"""Fast routes: the most called endpoints skip the framework's dependencies.

The framework's dependency and exit-stack handling took five times as long as an award itself
(docs/decisions/0005-layout.md). A fast route comes before the mounted API and calls the endpoint that
the API documents. A request with a query goes on to the API, which checks its parameters: without one, every
parameter of the query has its default, and nothing waits for a position.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match, Route
from starlette.types import Scope

from api.http.auth import Allow, authenticate
from api.http.parameters import only_known_parameters


class FastRoute(Route):
    """The documented `route` of the app mounted at `prefix`, without the framework's dependencies."""

    def __init__(self, route: APIRoute, prefix: str) -> None:
        methods = list(route.methods or ())
        super().__init__(f"{prefix}{route.path}", _without_query(route), methods=methods)
        self.methods = set(methods)
        self._documented = route

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if match is not Match.FULL or scope["query_string"]:
            return Match.NONE, {}  # the API answers another method: it knows all methods of the path
        # Metrics name a request by its route.
        return match, {**child_scope, "route": self._documented}


def _without_query(route: APIRoute) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, for texts in its path, and for a principal where it has one."""
    dependencies = [(dependency.name, dependency.call) for dependency in route.dependant.dependencies]
    guards = [(name, call) for name, call in dependencies if call is authenticate or isinstance(call, Allow)]
    absent = {name: None for name, call in dependencies if name and (name, call) not in guards}

    async def answer(request: Request) -> Response:
        await only_known_parameters(request)
        principals = {name: await guard(request) for name, guard in guards}
        arguments = {name: principal for name, principal in principals.items() if name is not None}
        for field in route.dependant.path_params:
            path, errors = field.validate(request.path_params[field.alias], loc=("path", field.alias))
            if errors:
                raise RequestValidationError(errors)
            arguments[field.name] = path
        if inspect.iscoroutinefunction(route.endpoint):
            found: Response = await route.endpoint(request, **arguments, **absent)
            return found
        return await run_in_threadpool(route.endpoint, request, **arguments, **absent)

    return answer
