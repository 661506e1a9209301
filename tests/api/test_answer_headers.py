"""HEAD, caches, pages of other origins and of this one: each answer has the headers of its kind of route."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.asking import UNKNOWN_ID, Ask, award_body, ok
from tests.api.test_routes_and_roles import ANYONE, GUARDED, PUBLIC, ROUTES, World, _made
from tests.support import Databases, service

ORIGIN = {"Origin": "https://elsewhere.example"}
GETS = [route for route in ROUTES if route.startswith("GET ")]
PUBLIC_GETS = [route for route in PUBLIC if route.startswith("GET ")]
OTHERS = [route for route in ROUTES if route not in PUBLIC_GETS and not route.startswith("MOUNT")]
CHANGING = {"Date", "Content-Length"}


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    url = databases.fresh()
    with service(url) as running:
        yield _made(running)
    databases.drop(url)


def path_of(world: World, route: str) -> str:
    path = route.partition(" ")[2]
    for name, value in world.names.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def who_may(world: World, route: str) -> Ask:
    who = ROUTES[route].who
    return world.nobody if who == ANYONE else world.asks[who.split()[0]]


@pytest.mark.parametrize("route", GETS)
def test_head_is_get_without_the_body(world: World, route: str) -> None:
    for ask in (who_may(world, route), world.nobody):
        given, path = {"Accept-Encoding": "identity"}, path_of(world, route)
        whole = ask("GET", path, headers=given)
        head = ask("HEAD", path, headers=given)
        assert head.status_code == whole.status_code
        assert head.content == b""
        assert set(head.headers) == set(whole.headers)
        same = set(head.headers) - {"content-length"}
        assert {name: head.headers[name] for name in same} == {name: whole.headers[name] for name in same}


def test_head_reads_as_far_as_get_and_writes_nothing(world: World) -> None:
    for path in ("/v1/nothing", f"/v1/badges/{UNKNOWN_ID}/status"):
        head = world.nobody("HEAD", path)
        assert (head.status_code, head.content) == (404, b"")
    assert world.nobody("HEAD", "/v1/badge-batches").status_code == 405


@pytest.mark.parametrize("route", PUBLIC_GETS)
def test_a_public_answer_may_be_read_by_any_page_and_kept_as_its_kind_says(world: World, route: str) -> None:
    path = path_of(world, route)
    answer = world.nobody("GET", path, headers=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    kept = "public, max-age=86400" if "version}" in route else "no-cache"
    assert answer.headers["Cache-Control"] == kept
    asked = ORIGIN | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "api-version"}
    preflight = world.nobody("OPTIONS", path, headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "authorization" not in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert preflight.headers["API-Version"]


@pytest.mark.parametrize("route", OTHERS)
def test_what_needs_a_token_is_for_no_other_page_and_never_kept(world: World, route: str) -> None:
    path = path_of(world, route)
    for ask in (who_may(world, route), world.nobody):
        answer = world.ask(ask, route, headers=ORIGIN)
        assert "Access-Control-Allow-Origin" not in answer.headers, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
    if path not in {path_of(world, public) for public in PUBLIC_GETS}:
        asked = ORIGIN | {"Access-Control-Request-Method": "GET"}
        preflight = world.nobody("OPTIONS", path, headers=asked)
        assert preflight.status_code == 405
        assert "Access-Control-Allow-Origin" not in preflight.headers


@pytest.mark.parametrize("route", PUBLIC_GETS)
def test_a_public_answer_to_a_token_is_not_kept(world: World, route: str) -> None:
    answer = world.asks["auditor"]("GET", path_of(world, route), headers=ORIGIN)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_failure_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody, institution = world.nobody, world.asks["institution"]

    def defect(*_: Any) -> None:
        raise KeyError

    failures = {
        400: nobody("GET", "/v1/institutions?x=1"),
        401: nobody("GET", "/v1/events"),
        403: institution("GET", "/v1/events"),
        404: nobody("GET", f"/v1/badges/{UNKNOWN_ID}/status"),
        405: nobody("DELETE", "/v1/institutions"),
        409: institution("POST", "/v1/badges", award_body(moduleReference="nope")),
        413: institution("POST", "/v1/modules", content=b" " * 1_100_000),
        415: institution("POST", "/v1/modules", content=b"{}"),
    }
    monkeypatch.setattr("api.lookups.catalogue.queries.list_institutions", defect)
    failures[500] = nobody("GET", "/v1/institutions")
    for status, answer in failures.items():
        assert answer.status_code == status, answer.text
        assert answer.headers["Cache-Control"] == "no-store", status


def test_a_page_elsewhere_can_read_that_a_badge_is_unknown(world: World) -> None:
    answer = world.nobody("GET", f"/v1/badges/{UNKNOWN_ID}/status", headers=ORIGIN)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, "*")


def test_an_award_is_never_kept(world: World) -> None:
    answer = world.strangers["institution"]("POST", "/v1/badges", award_body())
    assert ok(answer, 201)["status"] == "active"
    assert answer.headers["Cache-Control"] == "no-store"


def test_every_page_says_what_it_may_load_and_is_in_no_frame(world: World) -> None:
    pages = 0
    for route in PUBLIC_GETS:
        answer = world.nobody("GET", path_of(world, route))
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        pages += 1
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"script-src[^;]*'unsafe-inline'", policy)
        assert "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert pages >= 4


def test_the_log_is_compressed_for_those_who_ask(world: World) -> None:
    auditor = world.asks["auditor"]
    for parameters in ({}, {"type": "badge.awarded"}, {"after": 3, "limit": 2}):
        answers = {
            coding: auditor("GET", "/v1/events", params=parameters, headers={"Accept-Encoding": coding})
            for coding in ("identity", "gzip", "gzip;q=0", "br, gzip;q=0.5", "*", "")
        }
        for coding, answer in answers.items():
            packed = answer.headers.get("Content-Encoding") == "gzip"
            assert packed == (coding in {"gzip", "br, gzip;q=0.5", "*"}), coding
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert answer.text == answers["identity"].text
            assert answer.headers["Registry-Position"] == answers["identity"].headers["Registry-Position"]


def test_compression_makes_the_log_a_fraction(world: World) -> None:
    with world.service.client.stream(
        "GET",
        "/v1/events",
        headers={
            "Authorization": f"Bearer {world.service.token('auditor')}",
            "Accept-Encoding": "gzip",
        },
    ) as answer:
        packed = b"".join(answer.iter_raw())
    whole = gzip.decompress(packed)
    assert all(json.loads(line)["position"] for line in whole.splitlines())
    assert len(packed) < len(whole) / 2


def test_the_routes_of_this_file_are_all_routes() -> None:
    assert set(PUBLIC_GETS) | set(OTHERS) == {route for route in ROUTES if not route.startswith("MOUNT")}
    assert GUARDED
