"""Answers to failed requests: RFC 9457 problem details, from one table.

A problem never contains personal data or the value of a member. An error that the table does not have is
a bare 500; the log then gets the class of the error and the place where it happened, but not its text,
which may contain a member's value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.http.error_texts import sentence
from registry.domain import errors
from registry.domain.errors import InvalidInput, Refusal
from registry.postgres.clock import ClockError
from registry.postgres.connections import BusyError, TooSlowError, UnavailableError
from registry.postgres.disk_space import NoRoomError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "2"
# Far more errors than an honest body has. The answer to a hostile body would be ten times its size.
MAX_ERRORS = 200
MAX_ERRORS_OF_A_LINE = 5
log = logging.getLogger("registry.api")


class Unauthenticated(Refusal):
    def __init__(self) -> None:
        super().__init__("Send a valid token: Authorization: Bearer mcr_...")


class Forbidden(Refusal):
    def __init__(
        self, detail: str = "The role of this token may not do this; use a token of another role."
    ) -> None:
        super().__init__(detail)


class NotFound(Refusal):
    """`extent` is what the look-up knew, where that may lag behind the log: the headers of an answer."""

    def __init__(self, what: str = "resource", extent: Mapping[str, str] | None = None) -> None:
        super().__init__(f"No such {what} is known.")
        self.extent = dict(extent or {})


class TooLarge(Refusal):
    def __init__(self, limit: int, unit: str = "bytes") -> None:
        super().__init__(f"The body must be at most {limit} {unit}.")


class WrongMediaType(Refusal):
    def __init__(self, expected: str) -> None:
        super().__init__(f"Content-Type must be {expected}.")


class WrongCoding(Refusal):
    def __init__(self) -> None:
        super().__init__(
            "The body must be plain UTF-8: leave out Content-Encoding, any Transfer-Encoding but chunked,"
            " and any charset but utf-8."
        )


class TooManyRequests(Refusal):
    pass


class NotReady(Refusal):
    pass


class Kind(NamedTuple):
    """Status, the last part of the problem's `type`, and its title."""

    status: int
    slug: str
    title: str


PROBLEMS: dict[type[Refusal], Kind] = {
    InvalidInput: Kind(400, "invalid-input", "The request is invalid"),
    Unauthenticated: Kind(401, "unauthenticated", "A valid token is needed"),
    Forbidden: Kind(403, "forbidden", "Not allowed for this token"),
    errors.ModuleOfAnother: Kind(403, "module-of-another", "The module belongs to another institution"),
    NotFound: Kind(404, "not-found", "Not found"),
    errors.InstitutionUnknown: Kind(404, "institution-unknown", "The institution is unknown"),
    errors.ModuleNotFound: Kind(404, "module-not-found", "The module is unknown"),
    errors.BadgeUnknown: Kind(404, "badge-unknown", "The badge is unknown"),
    errors.InstitutionNotAdmitted: Kind(409, "institution-not-admitted", "The institution is not admitted"),
    errors.OutsideAdmission: Kind(409, "outside-admission", "The day is outside the admission"),
    errors.AdmissionEnded: Kind(409, "admission-ended", "The admission has ended"),
    errors.InstitutionIsSuspended: Kind(409, "institution-suspended", "The institution is suspended"),
    errors.SuspendedOnThatDay: Kind(
        409, "suspended-on-that-day", "The institution was suspended on that day"
    ),
    errors.AlreadySuspended: Kind(409, "already-suspended", "Already suspended for another reason"),
    errors.TooManyChanges: Kind(409, "too-many-changes", "Too much was recorded of it already"),
    errors.ModuleUnknown: Kind(409, "module-unknown", "The module is not registered"),
    errors.ModuleVersionUnknown: Kind(409, "module-version-unknown", "The module has no such version"),
    errors.ModuleIsWithdrawn: Kind(409, "module-withdrawn", "The module is withdrawn"),
    errors.ModuleAlreadyWithdrawn: Kind(
        409, "module-already-withdrawn", "Already withdrawn from another day"
    ),
    errors.ReferenceTaken: Kind(
        409, "reference-taken", "This reference is already used for different content"
    ),
    errors.ReferenceFixed: Kind(409, "reference-fixed", "A version keeps its module's reference"),
    errors.StudyLoadOutsidePolicy: Kind(409, "study-load", "The study load is outside the policy"),
    errors.TargetGroupOutsidePolicy: Kind(409, "target-group", "The target group is outside the policy"),
    errors.EventTooLarge: Kind(413, "event-too-large", "Too large to record"),
    errors.BadgeIsRevoked: Kind(409, "badge-revoked", "The badge is revoked"),
    errors.PrivatePartsErased: Kind(409, "private-parts-erased", "The private parts were erased"),
    errors.RevokedForAnotherReason: Kind(
        409, "revoked-for-another-reason", "Already revoked for another reason"
    ),
    errors.SupersededUnknown: Kind(409, "superseded-unknown", "The superseded badge is unknown"),
    errors.SupersededNotRevoked: Kind(409, "superseded-not-revoked", "The superseded badge is not revoked"),
    TooLarge: Kind(413, "too-large", "The body is too large"),
    WrongMediaType: Kind(415, "media-type", "Wrong media type"),
    WrongCoding: Kind(415, "coding", "The body is encoded"),
    TooManyRequests: Kind(429, "too-many-requests", "Too many requests"),
    NotReady: Kind(503, "not-ready", "Not ready"),
}
INTERNAL = Kind(500, "internal", "Internal error")
BY_FRAMEWORK = {
    404: ("not-found", "Not found", "No such path exists; /v1/openapi.json lists the paths."),
    405: (
        "method-not-allowed",
        "Method not allowed",
        "The path does not have this method; the header Allow lists those it has.",
    ),
}

PROBLEM_TYPES = sorted(
    {f"/problems/{kind.slug}" for kind in (*PROBLEMS.values(), INTERNAL)}
    | {f"/problems/{slug}" for slug, _, _ in BY_FRAMEWORK.values()}
    | {"/problems/too-many-requests"}  # by the proxy
)


def problem(
    request: Request, kind: Kind, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """The answer; `instance` is the path of the request, without its query."""
    members = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": request.scope["path"],
        **more,
    }
    present = {name: value for name, value in members.items() if value is not None}
    return Response(msgspec.json.encode(present), kind.status, headers, MEDIA_TYPE)


def refused(request: Request, refusal: Exception) -> Response:
    """The answer to a refusal of the domain or of the HTTP layer."""
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for refusals only
    kind = PROBLEMS[type(refusal)]
    headers = refusal.extent if isinstance(refusal, NotFound) else {}
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if kind.status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    return problem(request, kind, str(refusal), headers, errors=_errors(refusal))


def described(refusal: Refusal) -> dict[str, Any]:
    """The problem inside an answer: a refused line of a batch.

    A refusal that names no member is short, because a line can be far shorter than its refusal.
    """
    kind = PROBLEMS[type(refusal)]
    if isinstance(refusal, InvalidInput) and len(refusal.errors) == 1 and not refusal.errors[0][0]:
        detail = f"This line: {refusal.errors[0][1]}."
        return {
            "type": f"/problems/{kind.slug}",
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
        }
    members = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(refusal),
    }
    listed = _errors(refusal, MAX_ERRORS_OF_A_LINE)
    return members if listed is None else {**members, "errors": listed}


def _errors(refusal: Refusal, maximum: int = MAX_ERRORS) -> list[dict[str, str]] | None:
    if not refusal.errors:
        return None
    listed = [{"pointer": pointer, "detail": detail} for pointer, detail in refusal.errors[:maximum]]
    if more := len(refusal.errors) - len(listed):
        listed.append({"pointer": "", "detail": "1 more error" if more == 1 else f"{more} more errors"})
    return listed


def unavailable(request: Request, error: Exception) -> Response:
    log.warning("%s %s", type(error).__name__, error)
    if isinstance(error, NoRoomError):
        detail = (
            "The registry has no room to record anything now; what is recorded can be read. Try again later."
        )
    elif isinstance(error, ClockError):
        detail = (
            "The registry's clocks disagree, so it records nothing now; what is recorded can be read."
            " Try again later."
        )
    elif isinstance(error, TooSlowError):
        detail = "The answer took too long; ask for less, or try again soon."
    elif isinstance(error, BusyError):
        detail = (
            "The registry cannot record this now; send it again soon. What was recorded after all is known."
        )
    else:
        detail = "The registry cannot reach its database now; try again soon."
    return refused(request, NotReady(detail))


def invalid_parameters(request: Request, error: Exception) -> Response:
    """The answer to FastAPI's own checks of path and query."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these only
    errors = [("/" + "/".join(map(str, detail["loc"][1:])), sentence(detail)) for detail in error.errors()]
    return refused(request, InvalidInput(*errors))


def http_error(request: Request, error: Exception) -> Response:
    """The framework's own answers: an unknown path, or a method that the path does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these only
    slug, title, detail = BY_FRAMEWORK.get(
        error.status_code, ("refused", "Refused", "The request was refused.")
    )
    headers = dict(error.headers or {})
    if error.status_code == 405:
        methods = _methods(request) or set(headers["Allow"].split(", "))
        also = {"HEAD"} if "GET" in methods else set()  # see `api.http.exchange`
        headers["Allow"] = ", ".join(sorted(methods | also))
    return problem(request, Kind(error.status_code, slug, title), detail, headers)


def _methods(request: Request) -> set[str]:
    """The methods of all routes of this path; the framework names those of one route only."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods
    return methods


def gone(_: Request, error: Exception) -> Response:
    """The client disconnected before its body had arrived: not a defect, and nobody reads this answer."""
    log.info("%s", type(error).__name__)
    return Response(status_code=400)


def internal(request: Request, _: Exception) -> Response:
    """The answer to a defect: a bare 500 (`api.http.exchange` logs its class and place)."""
    return problem(
        request, INTERNAL, "The registry failed to handle this request, and has logged the failure."
    )


CUT = "registry.cut"
"""The ASGI extension, and its message, that ends a connection: the end of an answer that is not whole."""


async def cut(scope: Any, send: Any) -> None:
    """Cuts an answer short, so that the client sees that it is."""
    if CUT in scope.get("extensions", {}):
        await send({"type": CUT})


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    Refusal: refused,
    UnavailableError: unavailable,
    RequestValidationError: invalid_parameters,
    HTTPException: http_error,
    ClientDisconnect: gone,
}


def answer_to(request: Request, error: Exception) -> Response:
    """The answer to an error of a request; raises a defect, which `api.http.exchange` answers."""
    for kind in type(error).__mro__:
        if (handler := _HANDLERS.get(kind)) is not None:
            return handler(request, error)
    raise error


def add_handlers(app: FastAPI) -> None:
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, internal)
