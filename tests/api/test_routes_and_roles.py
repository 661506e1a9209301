"""Every route that there is, asked by every role, by two institutions and two learners, and by nobody."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount
from starlette.testclient import TestClient

from registry import tokens
from registry.cli import database
from registry.tokens import ROLES
from tests.api.asking import Ask, admitted, award_body, awarded, changed, module_body, ok, refused
from tests.support import INSTITUTION, MODULE, Databases, Service, award, service

ANYONE = "anyone"


class Expected(NamedTuple):
    """Who may ask, what they get of their own, and what an institution gets of another's things.

    `answer` is what the route answers in the `World` of this file, where that never changes.
    """

    who: str
    mine: int = 200
    anothers: int | None = None
    body: str | None = None
    another_learner: int | None = None
    answer: dict[str, Any] | None = None


INSTITUTION_OR_AUDITOR = "institution auditor"
CONCERNED = "institution learner auditor"
# The one place where it is written who may do what.
ROUTES = {
    "PUT /v1/institutions/{brin}": Expected("registrar", body="institution"),
    "POST /v1/institutions/{brin}/suspension": Expected("registrar", body="suspension"),
    "DELETE /v1/institutions/{brin}/suspension": Expected("registrar"),
    "POST /v1/institutions/{brin}/exemptions": Expected("registrar", body="exemption"),
    "GET /v1/institutions": Expected(ANYONE),
    "GET /v1/institutions/{brin}": Expected(ANYONE),
    "GET /v1/modules": Expected(ANYONE),
    "GET /v1/modules/{moduleId}": Expected(ANYONE),
    "GET /v1/modules/{moduleId}/versions/{version}": Expected(ANYONE),
    "POST /v1/modules": Expected("institution", anothers=200, body="module"),
    "POST /v1/modules/{moduleId}/versions": Expected("institution", anothers=403, body="module"),
    "POST /v1/modules/{moduleId}/withdrawal": Expected("institution", anothers=403, body="withdrawal"),
    "POST /v1/badges": Expected("institution", anothers=403, body="award"),
    "POST /v1/badges/{id}/revocation": Expected("institution", anothers=404, body="revocation"),
    "POST /v1/badges/{id}/suspension": Expected("institution", mine=409, anothers=404, body="suspension"),
    "DELETE /v1/badges/{id}/suspension": Expected("institution", mine=409, anothers=404),
    "POST /v1/badges/{id}/correction": Expected("institution", mine=409, anothers=404, body="correction"),
    "POST /v1/badge-batches": Expected("institution", anothers=200, body="lines"),
    "POST /v1/badge-revocations": Expected("institution", anothers=200, body="lines"),
    "GET /v1/badges/{id}/status": Expected(ANYONE),
    "GET /v1/badges/{id}/history": Expected(INSTITUTION_OR_AUDITOR, anothers=404),
    "GET /v1/badges/{id}": Expected(CONCERNED, anothers=404, another_learner=404),
    "GET /v1/learners/{learnerId}/badges": Expected(CONCERNED, anothers=200, another_learner=403),
    "POST /v1/learner-lookups": Expected("institution", anothers=404, body="lookup"),
    "GET /v1/learners/me": Expected("learner", another_learner=200),
    "GET /v1/institutions/{brin}/badges": Expected(INSTITUTION_OR_AUDITOR, anothers=403),
    "GET /v1/modules/{moduleId}/badges": Expected(INSTITUTION_OR_AUDITOR, anothers=403),
    "GET /v1/events": Expected("auditor"),
    "GET /v1/schemas/events/{type}/{version}": Expected(ANYONE),
    "GET /v1/tokens": Expected("auditor"),
    "GET /v1/statistics/awards": Expected("institution statistician", anothers=200),
    "GET /v1/statistics/revocations": Expected("institution statistician", anothers=200),
    "GET /v1/statistics/learners": Expected("institution statistician", anothers=200),
    "GET /v1/statistics/codebook": Expected("institution statistician", anothers=200),
    "GET /metrics": Expected("operator"),
    "GET /health/live": Expected(ANYONE),
    "GET /health/ready": Expected(ANYONE),
    "GET /": Expected(ANYONE),
    "GET /problems/": Expected(ANYONE),
    "GET /problems/{slug}": Expected(ANYONE),
    "GET /v1/openapi.json": Expected(ANYONE),
    "GET /v1/docs": Expected(ANYONE),
    "MOUNT /v1/static-offline-docs": Expected(ANYONE, mine=404),
}
GUARDED = [route for route, expected in ROUTES.items() if expected.who != ANYONE]
PUBLIC = [route for route, expected in ROUTES.items() if expected.who == ANYONE]


@dataclass
class World:
    """Two institutions and two learners; what is asked about is the first one's."""

    service: Service
    asks: dict[str, Ask]
    names: dict[str, str]
    bodies: dict[str, dict[str, Any]]
    strangers: dict[str, Ask] = field(default_factory=dict)

    def ask(self, who: Ask, route: str, **more: Any) -> Any:
        method, _, path = route.partition(" ")
        if method == "MOUNT":
            method, path = "GET", f"{path}/nothing"
        for name, value in self.names.items():
            path = path.replace(f"{{{name}}}", value)
        body = ROUTES[route].body
        if body == "lines":
            headers = {"Content-Type": "application/x-ndjson"} | more.pop("headers", {})
            return who(method, path, content=b"{}", headers=headers, **more)
        return who(method, path, json=self.bodies[body] if body else None, **more)

    def nobody(self, method: str, path: str, **more: Any) -> Any:
        return self.service.client.request(method, path, **more)


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    url = databases.fresh()
    with service(url) as running:
        yield _made(running)
    databases.drop(url)


def _made(running: Service) -> World:
    registrar = running.as_("registrar")
    brin, institution = admitted(running)
    _, other = admitted(running)
    body = award_body(moduleReference=..., moduleId=ok(institution("POST", "/v1/modules", MODULE))["id"])
    badge = ok(institution("POST", "/v1/badges", body), 201)
    strange = awarded(other, learner={"eduId": "another"})
    ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    ok(institution("POST", f"/v1/modules/{badge['moduleId']}/withdrawal"))
    spare = module_body(reference="VRIJ")
    ok(institution("POST", "/v1/modules", spare), 201)
    exemption = {"moduleReference": "KLEIN", "rule": "study-load", "reason": "Afgesproken"}
    ok(registrar("POST", f"/v1/institutions/{brin}/exemptions", exemption), 201)
    running.settle()
    own: dict[str, dict[str, Any]] = {
        "institution": {"institution": brin},
        "learner": {"learner_id": badge["learnerId"]},
    }
    return World(
        running,
        {role: running.as_(role, **own.get(role, {})) for role in ROLES if role != "registrar"}
        | {"registrar": registrar},
        {
            "brin": brin,
            "moduleId": badge["moduleId"],
            "version": "1",
            "slug": "not-found",
            "type": "badge.awarded",
        }
        | {"id": badge["id"], "learnerId": badge["learnerId"]},
        {
            "institution": INSTITUTION,
            "module": MODULE,
            "award": body,
            "withdrawal": {},
            "lookup": {"eduId": body["learner"]["eduId"]},
            "revocation": {"reason": "other"},
            "suspension": {"reason": "other"},
            "correction": {"grade": "9"},
            "exemption": {"moduleReference": "KLEIN", "rule": "study-load", "reason": "Afgesproken"},
        },
        {"institution": other, "learner": running.as_("learner", learner_id=strange["learnerId"])},
    )


def routes_of(app: FastAPI) -> set[str]:
    """Every route of an app and of what is mounted in it: method and path."""
    return set(_walk(app.routes, ""))


def _walk(routes: Sequence[BaseRoute], prefix: str) -> Iterator[str]:
    for context in iter_route_contexts(routes):
        path = f"{prefix}{context.path}"
        if isinstance(context.original_route, Mount):
            inner = context.original_route.app
            if isinstance(inner, FastAPI):
                yield from _walk(inner.routes, path)
            else:
                yield f"MOUNT {path}"
        for method in context.methods or ():
            yield f"{method} {path}"


def test_every_route_stands_in_the_table_and_no_other(world: World) -> None:
    app = world.service.client.app
    assert isinstance(app, FastAPI)
    assert routes_of(app) == set(ROUTES)


@pytest.mark.parametrize("route", GUARDED)
def test_a_guarded_route_is_for_its_roles_only(world: World, route: str) -> None:
    expected = ROUTES[route]
    for role, ask in world.asks.items():
        answer = world.ask(ask, route)
        if role in expected.who.split():
            assert answer.status_code == expected.mine, (role, answer.text)
        else:
            assert answer.status_code == 403, (role, answer.text)
            refused(answer, 403, "forbidden")


@pytest.mark.parametrize("route", PUBLIC)
def test_a_public_route_answers_anyone_the_same(world: World, route: str) -> None:
    world.service.clock.moment = dt.datetime.now(dt.UTC)
    world.service.settle()
    answer = world.ask(world.nobody, route)
    expected = ROUTES[route]
    assert answer.status_code == expected.mine
    if expected.answer is not None:
        assert answer.json() == expected.answer
    assert "API-Version" in answer.headers
    for role, ask in world.asks.items():
        assert world.ask(ask, route).text == answer.text, role
    # A token that does not hold is no hindrance where none is needed.
    headers = {"Authorization": "Bearer nonsense"}
    assert world.ask(world.nobody, route, headers=headers).text == answer.text


@pytest.mark.parametrize("route", [route for route in GUARDED if "institution" in ROUTES[route].who.split()])
def test_an_institution_gets_nothing_of_anothers(world: World, route: str) -> None:
    answer = world.ask(world.strangers["institution"], route)
    assert answer.status_code == ROUTES[route].anothers, answer.text
    if route == "GET /v1/learners/{learnerId}/badges":
        assert answer.json() == {"items": [], "next": None}
    elif answer.status_code >= 400:
        assert "learnerId" not in answer.json()


@pytest.mark.parametrize("route", [route for route in GUARDED if "learner" in ROUTES[route].who.split()])
def test_a_learner_gets_nothing_of_anothers(world: World, route: str) -> None:
    answer = world.ask(world.strangers["learner"], route)
    assert answer.status_code == ROUTES[route].another_learner, answer.text
    assert world.names["learnerId"] not in answer.text.replace(f"learners/{world.names['learnerId']}", "")


def _credentials(url: str) -> dict[str, str | None]:
    """What is no valid token, by what is wrong with it."""
    with database.owner(url) as connection:

        def made(lifetime: int) -> str:
            return tokens.insert_token(connection, "auditor", dt.timedelta(seconds=lifetime))

        good, revoked, expired = made(3600), made(3600), made(-1)
        assert tokens.mark_revoked(connection, revoked)
    prefix, token_id, secret = good.split("_", 2)
    return {
        "none": None,
        "empty": "",
        "scheme alone": "Bearer",
        "no token": "Bearer ",
        "another scheme": f"Basic {good}",
        "no scheme": good,
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "another secret": f"Bearer {prefix}_{token_id}_{'A' * len(secret)}",
        "another id": f"Bearer {prefix}_{'0' * 16}_{secret}",
        "cut off": f"Bearer {good[:-1]}",
        "too long": f"Bearer {good}A",
        "twice": f"Bearer {good} {good}",
        "upper case": f"Bearer {good.upper()}",
        "very long": f"Bearer {'A' * 5_000}",
        "not ASCII": "Bearer mcr_é",
        "SQL": "Bearer ' OR 1=1 --",
    }


@pytest.mark.parametrize("route", GUARDED)
def test_a_guarded_route_is_for_nobody_without_a_valid_token(world: World, route: str) -> None:
    for what, credential in _credentials(world.service.url).items():
        headers = {} if credential is None else {"Authorization": credential.encode("latin-1")}
        answer = world.ask(world.nobody, route, headers=headers)
        assert answer.status_code == 401, (what, answer.text)
        refused(answer, 401, "unauthenticated")


def test_the_scheme_of_a_token_is_taken_in_any_case(world: World) -> None:
    token = world.service.token("auditor")
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert world.service.client.get("/v1/events", headers=headers).status_code == 200


def test_a_token_that_was_used_stops_to_hold_soon_after_it_is_revoked(world: World) -> None:
    token = world.service.token("auditor")
    headers = {"Authorization": f"Bearer {token}"}
    assert world.service.client.get("/v1/events", headers=headers).status_code == 200
    with database.owner(world.service.url) as connection:
        assert tokens.mark_revoked(connection, token)
    time.sleep(tokens.KEPT_SECONDS)
    refused(world.service.client.get("/v1/events", headers=headers), 401, "unauthenticated")


def test_the_institution_comes_from_the_token_and_never_from_the_body(world: World) -> None:
    body = changed(award("from-the-body"), institution=world.names["brin"])
    answer = world.strangers["institution"]("POST", "/v1/badges", body)
    assert [each["pointer"] for each in refused(answer, 400, "invalid-input")["errors"]] == ["/institution"]


def test_a_method_that_a_path_does_not_have_is_refused(world: World) -> None:
    paths: dict[str, set[str]] = {}
    for route in ROUTES:
        method, _, path = route.partition(" ")
        paths.setdefault(path, set()).add(method)
    for path, methods in paths.items():
        if "MOUNT" in methods:
            continue
        answer = world.ask(lambda _, at, **more: world.nobody("PATCH", at), f"{next(iter(methods))} {path}")
        refused(answer, 405, "method-not-allowed")
        allowed = methods | ({"HEAD"} if "GET" in methods else set())
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_the_client_of_these_tests_is_not_on_the_loopback(world: World) -> None:
    """Else `/metrics` would be open to it, and the table would not tell."""
    assert isinstance(world.service.client, TestClient)
    refused(world.service.client.get("/metrics"), 401, "unauthenticated")
