"""Headers by the kind of route: who may keep an answer, which pages may read it, and what a page may do."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.routing import compile_path
from starlette.types import Message, Scope

from api.http.auth import EXPIRY_HEADER
from api.http.openapi import roles_of
from registry.domain.values import iso_time
from registry.release import RELEASE
from registry.tokens import EXPIRY_WARNING, Principal

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
_PREFLIGHT_ASKS = {b"origin", b"access-control-request-method"}
_VERSION: Header = (b"api-version", RELEASE.encode())
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
        return [NO_CACHE if kept else NO_STORE, _VERSION]
    public = is_public(route)
    cache = NO_STORE
    if public and kept:
        cache = A_DAY if route.operation_id in _KEPT_FOR_A_DAY else NO_CACHE
    return [cache, _VERSION, *_ANY_ORIGIN] if public and anonymous_get else [cache, _VERSION]


class AnswerHeaders:
    """The headers that an answer gets beside its own, and the answers to the preflights of browsers.

    `public` are the paths that anyone may GET.
    """

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._public = [compile_path(path)[0] for path in public]
        # By the identity of the route, which lives as long as the app, and the kind of answer.
        self._made: dict[tuple[int, bool, bool], list[Header]] = {}

    def preflight(self, scope: Scope) -> Response | None:
        """The answer, where the request asks for a browser whether it may GET a public path."""
        if scope["method"] != "OPTIONS" or not {name for name, _ in scope["headers"]} >= _PREFLIGHT_ASKS:
            return None
        is_public_path = any(pattern.fullmatch(scope["path"]) for pattern in self._public)
        return Response(None, 204, _PREFLIGHT) if is_public_path else None

    def of(self, scope: Scope, start: Message, principal: Principal | None) -> list[Header]:
        """The headers for the start of an answer, by the route that the scope names."""
        anonymous_get = scope["method"] == "GET" and not any(
            name == b"authorization" for name, _ in scope["headers"]
        )
        kept = anonymous_get and start["status"] < 400
        route = scope.get("route")
        kind = (id(route), kept, anonymous_get)
        if (added := self._made.get(kind)) is None:
            added = self._made[kind] = _headers_of(route, kept=kept, anonymous_get=anonymous_get)
        if principal is not None:
            added = [*added, *_expiry(principal)]
        given = dict(start["headers"])
        if given.get(b"content-type", b"").startswith(b"text/html"):
            return [*added, *_OF_A_PAGE] if _POLICY[0] in given else [*added, *_OF_A_PAGE, _POLICY]
        return added


def _expiry(principal: Principal) -> list[Header]:
    """The header that tells a bearer of the token's end, if that is near."""
    if principal.expires_at - dt.datetime.now(dt.UTC) >= EXPIRY_WARNING:
        return []
    return [_expiry_header(principal.expires_at)]


@functools.lru_cache(maxsize=1_000)
def _expiry_header(end: dt.datetime) -> Header:
    return EXPIRY_HEADER.lower().encode(), iso_time(end).encode()
