"""Every text that a request may hold, from the OpenAPI document: huge, blank, or an id in capitals."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.asking import admitted, award_body, awarded, module_body, ok
from tests.api.hostile import MAX_COST, NDJSON, Request, Schema, World, is_text, problems, world_of
from tests.support import Service

# Each request is measured or sent by the hundred.
pytestmark = pytest.mark.no_cover

UNITS = ["\u0301\u0316", "\u0f73", "a\u0301", "(", "[{},", '"a":1,', "a.", "-aaaaa", "\u200b", "@"]
"""Of which a text of any size was, or might be, expensive to judge."""
BLANKS = [" ", "\u00a0", "\u2003", "\u200b", "\u00ad", "\u3164", "\u2800", "\ufeff", "\ufe0f", "  \u200b "]


@pytest.fixture(scope="module")
def world(shared_service: Service) -> World:
    return world_of(shared_service)


def is_bounded(schema: Schema) -> bool:
    """Whether a text or a list has a greatest length: a date has, and a form without repetition."""
    if schema.get("type") == "array":
        return "maxItems" in schema or schema.get("uniqueItems", False)
    if not is_text(schema):
        return True
    form = schema.get("pattern", "*")
    return bool({"maxLength", "enum", "const"} & schema.keys()) or (
        schema.get("format") == "date" or not any(sign in form for sign in ("*", "+", ",}"))
    )


def test_every_text_and_list_of_a_request_has_a_documented_bound(world: World) -> None:
    for place, schema in world.schemas():
        assert is_bounded(schema), place
    for _, path, operation in world.operations():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "header":
                continue  # all headers together have one bound: tests/end_to_end/test_bounds.py
            for _, schema in world.within(parameter["schema"], (parameter["name"],)):
                assert is_bounded(schema), (path, parameter["name"])


def test_a_huge_text_in_any_member_is_refused_in_little_time(world: World) -> None:
    places = world.texts()
    assert len(places) > 50
    for place in places:
        size = 60_000 if place.media_type == NDJSON else 1_000_000
        for unit in UNITS:
            body = place.body(unit * (size // len(json.dumps(unit, ensure_ascii=False)[1:-1].encode())))
            answered = world.measured(Request(*place[:3], body=body))
            assert answered.times <= MAX_COST, (place, unit)
            (problem,) = problems(place.media_type, answered.content)
            assert problem["status"] == 400, (place, unit)
            assert place.pointer in {error["pointer"] for error in problem["errors"]}


def test_a_huge_text_in_any_parameter_is_refused_in_little_time(world: World) -> None:
    parameters = world.parameters()
    assert len(parameters) > 40
    for method, path, name, in_query in parameters:
        for unit in UNITS[:4]:
            value = unit * (30_000 // len(quote(unit)))  # a request line has at most 32 KiB
            answered = world.measured(
                Request(method, path, query=f"{name}={quote(value)}")
                if in_query
                else Request(method, path, names={name: value})
            )
            assert answered.times <= MAX_COST, (path, name, unit)
            assert 400 <= answered.status < 500, (path, name, unit)


@pytest.mark.parametrize("path", ["/v1/modules", "/v1/institutions/{brin}/badges"])
def test_combining_marks_in_a_reference_are_refused_before_they_are_normalised(
    shared_service: Service, path: str
) -> None:
    brin, institution = admitted(shared_service)
    answer = institution("GET", path.format(brin=brin), params={"reference": "\u0301\u0316" * 660})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"pointer": "/reference", "detail": "must not have more than 30 combining marks in a row"}
    ]


def test_a_text_of_blanks_alone_is_refused_in_every_member(world: World) -> None:
    for place in world.texts():
        for blank in BLANKS:
            (problem,) = world.send(place, place.body(blank))
            assert problem["status"] == 400, (place, blank)
            assert place.pointer in {error["pointer"] for error in problem["errors"]}, (place, blank)


# Ids in capitals.

BODIES = {
    "/modules/{moduleId}/versions": module_body(name="Nieuw"),
    "/modules/{moduleId}/withdrawal": {"from": "2099-01-01"},
    "/badges/{id}/correction": {"grade": "9"},
}


def test_an_id_in_capitals_in_any_path_answers_the_same(world: World) -> None:
    count = 0
    for method, path, operation in world.operations():
        ids = [
            parameter["name"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path" and parameter["name"] not in ("brin", "version", "type")
        ]
        if not ids:
            continue
        badge = awarded(world.asking["institution"])
        world.service.settle()
        lower = {name: badge[name] for name in ids}
        capitals = {name: value.upper() for name, value in lower.items()}
        assert lower != capitals
        body = None if method == "GET" else BODIES.get(path, {"reason": "other"})
        answers = []
        # The first request may change something; the two after it do not.
        for names in (lower, lower, capitals):
            answers.append(world.ask(method, path, names, json=body if method != "DELETE" else None))
            world.service.settle()
        assert answers[0].status_code < 300, (path, answers[0].text)
        assert _lasting(answers[2]) == _lasting(answers[1]), path
        count += 1
    assert count >= 12


def _lasting(answer: Any) -> tuple[int, dict[str, Any]]:
    """Status and members without the moment of the answer."""
    members = answer.json()
    return answer.status_code, {name: value for name, value in members.items() if name != "asOf"}


def test_an_id_in_capitals_in_a_body_or_query_is_the_same_id(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    body = award_body()
    badge = ok(institution("POST", "/v1/badges", body), 201)
    by_id = {name: value for name, value in body.items() if name != "moduleReference"}
    by_id["moduleId"] = badge["moduleId"].upper()
    assert ok(institution("POST", "/v1/badges", by_id)) == badge
    line = json.dumps({"id": badge["id"].upper(), "reason": "other"})
    headers = {"Content-Type": NDJSON}
    answer = institution("POST", "/v1/badge-revocations", content=line, headers=headers)
    assert (answer.json()["outcome"], answer.json()["id"]) == ("revoked", badge["id"])
    later = awarded(institution, supersedes=badge["id"].upper())
    shared_service.settle()
    found = ok(institution("GET", f"/v1/badges/{later['id']}"))
    assert found["supersedes"] == badge["id"]
    auditor = shared_service.as_("auditor")
    events = [
        auditor("GET", "/v1/events", params={"subject": each}).text
        for each in (badge["id"], badge["id"].upper())
    ]
    assert events[0] == events[1] != ""


@pytest.mark.parametrize("change", [" {}", "{{{}}}", "urn:uuid:{}", "{}0", "{}\u212a"])
def test_what_is_no_uuid_stays_unknown(world: World, change: str) -> None:
    other = change.format(world.names["id"])
    assert world.service.client.get(f"/v1/badges/{other}/status").status_code == 404
