"""Every text that a request may hold, from the OpenAPI document: huge, blank, or an id in capitals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.asking import Ask, admit, admitted, award_body, awarded, module_body, ok
from tests.support import Service

# Each request is measured or sent by the hundred.
pytestmark = pytest.mark.no_cover

NDJSON = "application/x-ndjson"
UNITS = ["\u0301\u0316", "\u0f73", "a\u0301", "(", "[{},", '"a":1,', "a.", "-aaaaa", "\u200b", "@"]
"""Of which a text of any size was, or might be, expensive to judge."""
CPU_SECONDS = 5.0
"""A generous end: what took quadratic time took minutes."""
BLANKS = [" ", "\u00a0", "\u2003", "\u200b", "\u00ad", "\u3164", "\u2800", "\ufeff", "\ufe0f", "  \u200b "]


@dataclass(frozen=True)
class Place:
    """A text member of a body, or a text parameter."""

    method: str
    path: str
    media_type: str
    members: tuple[str, ...]

    def body(self, value: str) -> bytes:
        """A body with this value in this place, and with nothing else."""
        made: Any = value
        for name in reversed(self.members):
            made = [made] if name == "0" else {name: made}
        return json.dumps(made, ensure_ascii=False).encode()

    @property
    def pointer(self) -> str:
        return "/" + "/".join(self.members)


@dataclass
class World:
    """A service with a badge, and a function to ask in each role."""

    service: Service
    document: dict[str, Any]
    asking: dict[str, Ask]
    names: dict[str, str]
    spare: str

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def ask(self, method: str, path: str, names: dict[str, str] | None = None, **more: Any) -> Any:
        operation = self.document["paths"][path][method.lower()]
        _, _, roles = operation.get("description", "").partition("For: ")
        named = roles.partition(".")[0].split(", ")
        role = next(
            (role for role in ("institution", "registrar", "statistician") if role in named), "auditor"
        )
        role = "learner" if named == ["learner"] else role
        places = self.names | ({"brin": self.spare} if role == "registrar" else {}) | (names or {})
        return self.asking[role](method, f"/v1{path.format(**places)}", **more)

    def send(self, place: Place, body: bytes) -> list[dict[str, Any]]:
        """The problems of a body, or of the lines of a batch."""
        headers = {"Content-Type": place.media_type}
        answer = self.ask(place.method, place.path, content=body, headers=headers)
        if place.media_type != NDJSON:
            return [answer.json()]
        return [json.loads(line)["problem"] for line in answer.text.splitlines()]

    def texts(self) -> list[Place]:
        """Every text member of every body."""
        return [
            Place(method, path, media_type, members)
            for method, path, operation in self.operations()
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
            for members in self._texts(content["schema"].get("contentSchema") or content["schema"])
        ]

    def _texts(self, schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for choice in schema.get("anyOf", ()):
            yield from self._texts(choice, at)
        for name, member in schema.get("properties", {}).items():
            yield from self._texts(member, (*at, name))
        if "items" in schema:
            yield from self._texts(schema["items"], (*at, "0"))
        if schema.get("type") == "string" or "enum" in schema or "const" in schema:
            yield at


@pytest.fixture(scope="module")
def world(shared_service: Service) -> World:
    _, institution = admitted(shared_service)
    spare, _ = admit(shared_service)
    badge = awarded(institution)
    shared_service.settle()
    names = {"brin": spare, "version": "1"} | {name: badge[name] for name in ("id", "moduleId", "learnerId")}
    asking = {role: shared_service.as_(role) for role in ("registrar", "auditor", "statistician")}
    asking["learner"] = shared_service.as_("learner", learner_id=badge["learnerId"])
    asking["institution"] = institution
    document = shared_service.client.get("/v1/openapi.json").json()
    return World(shared_service, document, asking, names, spare)


def test_a_huge_text_in_any_member_is_refused_in_little_time(world: World) -> None:
    places = world.texts()
    assert len(places) > 50
    for place in places:
        size = 60_000 if place.media_type == NDJSON else 1_000_000
        for unit in UNITS:
            body = place.body(unit * (size // len(json.dumps(unit, ensure_ascii=False)[1:-1].encode())))
            began = time.process_time()
            (problem,) = world.send(place, body)
            assert time.process_time() - began < CPU_SECONDS, (place, unit)
            assert problem["status"] == 400, (place, unit)
            assert place.pointer in {error["pointer"] for error in problem["errors"]}


def test_a_huge_text_in_any_parameter_is_refused_in_little_time(world: World) -> None:
    count = 0
    for method, path, operation in world.operations():
        for parameter in operation.get("parameters", []):
            name, count = parameter["name"], count + 1
            for unit in UNITS[:4]:
                value = unit * (60_000 // len(quote(unit)))  # an address has at most 64 KiB
                expected = range(400, 500)
                began = time.process_time()
                if parameter["in"] == "header":
                    names = {"type": "badge.awarded", "version": "1"}
                    answer = world.ask(method, path, names, headers={name: value.encode()})
                    expected = range(200, 500)  # an entity tag that nobody gave is no error
                elif parameter["in"] == "query":
                    answer = world.ask(method, path, params={name: value})
                else:
                    answer = world.ask(method, path, names={"type": "badge.awarded", name: value})
                assert time.process_time() - began < CPU_SECONDS, (path, name, unit)
                assert answer.status_code in expected or path == "/learners/{learnerId}/badges"
    assert count > 40


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
