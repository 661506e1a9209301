"""What the tests of the HTTP border share: bodies, refusals in full, and the service on a real socket."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from registry.cli.protocol import MAX_CONNECTIONS, BoundedProtocol
from registry.postgres.connections import connect
from tests.support import INSTITUTION, MODULE, PATIENCE_SECONDS, Service, award

Ask = Callable[..., Any]
API_VERSION = "1.0.0"
UNKNOWN_ID = "00000000-0000-8000-8000-000000000000"
_numbers = itertools.count()


def new_brin() -> str:
    """A BRIN that no other test uses."""
    number = next(_numbers)
    return f"{number // 26 % 100:02d}{chr(ord('A') + number % 26)}{chr(ord('A') + number // 2600)}"


def new_reference(prefix: str = "ref") -> str:
    return f"{prefix}-{next(_numbers)}"


def changed(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of a body with other members; a member set to `...` is left out."""
    made = copy.deepcopy(body) | changes
    return {name: value for name, value in made.items() if value is not ...}


def module_body(**changes: Any) -> dict[str, Any]:
    return changed(MODULE, **changes)


def award_body(**changes: Any) -> dict[str, Any]:
    """The body of an award under a reference of its own."""
    return changed(award(new_reference()), **changes)


def admitted(service: Service, **changes: Any) -> tuple[str, Ask]:
    """A new institution with its module `KLINRED`: its BRIN and its asking function."""
    brin = new_brin()
    return brin, service.admitted(brin, **changes)


def admit(service: Service, **changes: Any) -> tuple[str, Ask]:
    """A new institution without modules."""
    brin = new_brin()
    ok(service.as_("registrar")("PUT", f"/v1/institutions/{brin}", changed(INSTITUTION, **changes)), 201)
    return brin, service.institution(brin)


def ok(answer: Any, status: int = 200) -> dict[str, Any]:
    """The members of an answer that has this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["API-Version"] == API_VERSION
    assert answer.headers["Content-Type"] == "application/json"
    members: dict[str, Any] = answer.json()
    return members


def awarded(institution: Ask, **changes: Any) -> dict[str, Any]:
    """A new badge, as the award answers it."""
    return ok(institution("POST", "/v1/badges", award_body(**changes)), 201)


def refused(answer: Any, status: int, slug: str) -> dict[str, Any]:
    """The members of a refusal, of which the whole form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["API-Version"] == API_VERSION
    assert answer.headers["Content-Type"] == "application/problem+json"
    members: dict[str, Any] = answer.json()
    assert set(members) - {"errors"} == {"type", "title", "status", "detail", "instance"}
    assert "errors" in members or status != 400
    for each in members.get("errors", []):
        assert set(each) == {"pointer", "detail"}
        assert each["detail"]
    assert members["type"] == f"/problems/{slug}"
    assert members["status"] == status
    assert members["title"]
    assert members["detail"]
    assert members["instance"] == answer.request.url.path
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return members


def wrong(answer: Any, *pointers: str) -> dict[str, Any]:
    """A 400 that names exactly these pointers, each with a sentence; answers the sentences."""
    members = refused(answer, 400, "invalid-input")
    found = [each["pointer"] for each in members["errors"]]
    assert sorted(set(found)) == sorted(pointers), members["errors"]
    return {each["pointer"]: each["detail"] for each in members["errors"]}


def last_position(service: Service) -> int:
    """The position of the last event."""
    return int(service.client.get("/health/ready").json()["position"])


@contextmanager
def nothing_recorded(service: Service) -> Iterator[None]:
    before = last_position(service)
    yield
    assert last_position(service) == before


def status_of(service: Service, badge: str, after: int = 0) -> dict[str, Any]:
    """What anyone sees of a badge once the read model holds position `after`."""
    return ok(service.client.get(f"/v1/badges/{badge}/status", params={"minPosition": after}))


def at_noon(year: int, month: int, day: int) -> dt.datetime:
    return dt.datetime(year, month, day, 12, tzinfo=dt.UTC)


@contextmanager
def held_up(url: str, *tables: str) -> Iterator[None]:
    """Keeps projectors from writing into these tables; reading them goes on."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
            yield
    finally:
        connection.close()


@contextmanager
def on_a_socket(service: Service, app: ASGIApp | None = None) -> Iterator[tuple[str, int]]:
    """The running service, or what `app` makes of it, behind the server that `registry serve` runs."""
    config = uvicorn.Config(
        app or service.client.app,
        host="127.0.0.1",
        port=0,
        http=cast(Any, functools.partial(BoundedProtocol, max_connections=MAX_CONNECTIONS)),
        log_config=None,
        lifespan="off",
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        (listening,) = server.servers[0].sockets
        yield listening.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join(30)
