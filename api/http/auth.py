"""Authentication, and authorisation by role: a dependency of every route that is not public."""

from __future__ import annotations

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.http.problems import Forbidden, Unauthenticated
from api.http.service import service_of
from registry.domain.institution import Origin
from registry.tokens import Principal, Role

EXPIRY_HEADER = "Registry-Token-Expires"
"""The header of an answer to a token that expires soon (`registry.tokens.EXPIRY_WARNING`): when it does."""


async def authenticate(request: Request) -> Principal:
    """The principal of the request's bearer token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    reader = service_of(request).tokens
    principal = reader.kept(token.strip()) or await run_in_threadpool(reader.read, token.strip())
    if principal is None:
        raise Unauthenticated
    request.state.principal = principal  # for the headers and the log (`api.http.exchange`)
    return principal


class Allow:
    """A dependency: the principal, if it has one of these roles."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Principal:
        principal = await authenticate(request)
        if principal.role not in self.roles:
            raise Forbidden
        return principal


def brin(principal: Principal) -> str:
    """The BRIN of the institution to which the token belongs."""
    if principal.institution is None:
        raise Forbidden
    return principal.institution


def origin(principal: Principal) -> Origin:
    return Origin("api", principal.token_id)
