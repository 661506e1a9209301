"""Fast routes: the most called endpoint skips the framework's dependencies.

The framework's dependency and exit-stack handling took five times as long as an award itself
(docs/decisions/0005-layout.md). A fast route comes before the mounted API and calls the endpoint that
the API documents. A request with a query goes on to the API, which refuses unknown parameters.
"""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.routing import Match, Route
from starlette.types import Scope


class FastRoute(Route):
    """The documented `route` of the API mounted at `/v1`, without the framework's dependencies."""

    def __init__(self, route: APIRoute) -> None:
        super().__init__(f"/v1{route.path}", route.endpoint, methods=list(route.methods or ()))
        self._documented = route

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if match is not Match.FULL or scope["query_string"]:
            return Match.NONE, {}  # the API answers another method: it knows all methods of the path
        # Metrics name a request by its route.
        return match, {**child_scope, "route": self._documented}
