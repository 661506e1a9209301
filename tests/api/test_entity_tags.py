"""Entity tags: what does not depend on the moment has one, and a client that holds it gets 304."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.asking import UNKNOWN_ID, admitted, module_body, ok
from tests.api.test_routes_and_roles import World, _made
from tests.support import Databases, Service, service

OF_THE_MOMENT = {"/badges/{id}/status"}
"""Public look-ups whose answer is judged at each request: they must never be taken for unchanged."""


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    url = databases.fresh()
    with service(url) as running:
        yield _made(running)
    databases.drop(url)


def public_gets(world: World) -> dict[str, dict[str, Any]]:
    """The operations of the OpenAPI document that need no token and are not of the moment, by path."""
    paths = world.nobody("GET", "/v1/openapi.json").json()["paths"]
    found = {path: item["get"] for path, item in paths.items() if "get" in item}
    return {
        path: operation
        for path, operation in found.items()
        if path not in OF_THE_MOMENT and (not operation["security"] or {} in operation["security"])
    }


def tagged(world: World) -> list[str]:
    """The paths, filled in, of all look-ups that have an entity tag."""
    found = [f"/v1{path}".format(**world.names) for path in public_gets(world)]
    assert len(found) >= 6
    return [*found, "/v1/openapi.json", "/v1/modules?limit=1", "/v1/institutions?limit=1"]


def test_the_document_describes_the_tag_of_every_look_up_that_needs_no_token(world: World) -> None:
    paths = world.nobody("GET", "/v1/openapi.json").json()["paths"]
    described = {path for path, item in paths.items() if "304" in item.get("get", {}).get("responses", ())}
    assert described == set(public_gets(world))
    assert not described & OF_THE_MOMENT
    for path in described:
        operation = paths[path]["get"]
        assert "content" not in operation["responses"]["304"], path
        for status in ("200", "304"):
            assert "ETag" in operation["responses"][status]["headers"], path
        assert {"If-None-Match"} <= {parameter["name"] for parameter in operation["parameters"]}, path


def test_a_client_that_holds_an_answer_gets_304_without_a_body(world: World) -> None:
    for path in tagged(world):
        whole = world.nobody("GET", path)
        tag = whole.headers["ETag"]
        assert world.nobody("GET", path).headers["ETag"] == tag, path
        for held in (tag, f"W/{tag}", f'"another", {tag}', f'W/"another" ,W/{tag}', "*"):
            for method in ("GET", "HEAD"):
                answer = world.nobody(method, path, headers={"If-None-Match": held})
                assert (answer.status_code, answer.content) == (304, b""), (path, held)
                kept = {"etag", "cache-control", "access-control-allow-origin", "registry-position"}
                for name in kept & set(whole.headers):
                    assert answer.headers[name] == whole.headers[name], (path, name)
                assert "content-length" not in answer.headers


def test_another_tag_gets_the_whole_answer(world: World) -> None:
    for path in tagged(world):
        whole = world.nobody("GET", path)
        bare = whole.headers["ETag"].strip('"')
        for held in ('"another"', bare, f'"{bare[:-1]}"', "", ",", f'"{bare}', "W/"):
            answer = world.nobody("GET", path, headers={"If-None-Match": held})
            assert (answer.status_code, answer.content) == (200, whole.content), (path, held)


def test_a_tag_is_of_one_answer_only(world: World) -> None:
    answers = [world.nobody("GET", path) for path in tagged(world)]
    assert len({answer.headers["ETag"] for answer in answers}) == len({answer.content for answer in answers})


def test_a_status_is_never_unchanged(world: World) -> None:
    path = f"/v1/badges/{world.names['id']}/status"
    answer = world.nobody("GET", path, headers={"If-None-Match": "*"})
    assert ok(answer)["status"] == "revoked"
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-cache"


def test_what_is_unknown_or_refused_has_no_tag(world: World) -> None:
    for path in (f"/v1/modules/{UNKNOWN_ID}", "/v1/institutions/99ZZ", "/v1/modules?limit=0"):
        answer = world.nobody("GET", path, headers={"If-None-Match": "*"})
        assert answer.status_code in (400, 404)
        assert "ETag" not in answer.headers


def test_a_held_answer_is_out_of_date_as_soon_as_the_catalogue_changes(service: Service) -> None:
    brin, institution = admitted(service)
    service.settle()
    held = {
        path: service.client.get(path).headers["ETag"]
        for path in ("/v1/modules", "/v1/institutions", f"/v1/institutions/{brin}")
    }

    def unchanged() -> set[str]:
        return {
            path
            for path, tag in held.items()
            if service.client.get(path, headers={"If-None-Match": tag}).status_code == 304
        }

    assert unchanged() == set(held)
    ok(institution("POST", "/v1/modules", module_body(reference="ANOTHER")), 201)
    service.settle()
    assert unchanged() == set(held) - {"/v1/modules"}
    ok(service.as_("registrar")("POST", f"/v1/institutions/{brin}/suspension", {"reason": "other"}))
    service.settle()
    assert unchanged() == set()
