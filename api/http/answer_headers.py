"""Headers by the kind of route: who may keep an answer, which pages may read it, and what a page may do."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.openapi import roles_of

Header = tuple[bytes, bytes]

NO_STORE = (b"cache-control", b"no-store")
NO_CACHE = (b"cache-control", b"no-cache")
A_DAY = (b"cache-control", b"public, max-age=86400")
# What these routes answer is fixed, but for `latestVersion` and `withdrawnFrom` of a module's version.
_KEPT_FOR_A_DAY = frozenset({"getModuleVersion", "getEventSchema"})
# Open to the loopback: a page that runs in a browser on the same host must not read it.
_NOT_PUBLIC = frozenset({"/metrics"})
_ANY_ORIGIN: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"API-Version, ETag, Registry-Position, Registry-As-Of, Registry-Request-Id, Retry-After",
    ),
]
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "*",  # this does not include Authorization
    "Access-Control-Max-Age": "86400",
}
_POLICY: Header = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_OF_A_PAGE: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]


def is_public(route: APIRoute) -> bool:
    """Whether anyone may GET the route."""
    return "GET" in (route.methods or ()) and not roles_of(route) and route.path not in _NOT_PUBLIC


def _headers_of(route: object, *, kept: bool, anonymous_get: bool) -> list[Header]:
    """The headers of a route's answers; those that may be `kept` are successful, and to an anonymous GET."""
    if not isinstance(route, APIRoute):  # a file of the documentation, or nothing
        return [NO_CACHE if kept else NO_STORE]
    public = is_public(route)
    cache = NO_STORE
    if public and kept:
        cache = A_DAY if route.operation_id in _KEPT_FOR_A_DAY else NO_CACHE
    return [cache, *_ANY_ORIGIN] if public and anonymous_get else [cache]


class AnswerHeaders:
    """ASGI middleware: adds the headers of the route's kind, and answers the preflights of browsers.

    `public` are the paths that anyone may GET.
    """

    def __init__(self, app: ASGIApp, public: Iterable[str]) -> None:
        self._app = app
        self._public = [compile_path(path)[0] for path in public]
        # By the identity of the route, which lives as long as the app, and the kind of answer.
        self._made: dict[tuple[int, bool, bool], list[Header]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = {name for name, _ in scope["headers"]}
        if scope["method"] == "OPTIONS" and self._is_preflight(names, scope["path"]):
            await Response(None, 204, _PREFLIGHT)(scope, receive, send)
            return
        anonymous = b"authorization" not in names

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *self._headers(scope, message, anonymous=anonymous),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _is_preflight(self, names: set[bytes], path: str) -> bool:
        asked = {b"origin", b"access-control-request-method"} <= names
        return asked and any(pattern.fullmatch(path) for pattern in self._public)

    def _headers(self, scope: Scope, message: Message, *, anonymous: bool) -> list[Header]:
        route = scope.get("route")
        anonymous_get = anonymous and scope["method"] == "GET"
        kept = anonymous_get and message["status"] < 400
        kind = (id(route), kept, anonymous_get)
        if (added := self._made.get(kind)) is None:
            added = self._made[kind] = _headers_of(route, kept=kept, anonymous_get=anonymous_get)
        given = dict(message["headers"])
        if given.get(b"content-type", b"").startswith(b"text/html"):
            return [*added, *_OF_A_PAGE] if _POLICY[0] in given else [*added, *_OF_A_PAGE, _POLICY]
        return added


class Head:
    """ASGI middleware: answers HEAD as GET, without the body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                if message.get("more_body", False):
                    return
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)
