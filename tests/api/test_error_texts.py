"""Texts of errors are for people: none shows a class name, a regular expression or a library's text."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import Ask, admit, admitted, award_body, awarded, module_body, wrong
from tests.support import Service

ROOT = Path(__file__).parents[2]
NDJSON = "application/x-ndjson"
FORBIDDEN = re.compile(
    r"\^|\\|\[A-Z|\(\?:|pattern|Input should|Value error|instance of"
    r"|\b(has not|is no|stands|taken|for ever|mend)\b"
)


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def class_names() -> list[str]:
    """The class names that are not also a word, such as `Badge`, with which a sentence may begin."""
    trees = [tree for _, tree in sources("api", "registry", "projections", "consumers")]
    names = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return sorted(name for name in names if re.search("^_|[a-z][A-Z]", name))


CLASS_NAME = re.compile(rf"\b({'|'.join(class_names())})\b")


def for_programmers(texts: set[str]) -> list[str]:
    return sorted(text for text in texts if FORBIDDEN.search(text) or CLASS_NAME.search(text))


# The texts in the source.


def literals(tree: ast.Module) -> Iterator[str]:
    """The string literals of a module that are texts, other than docstrings and comments on an attribute."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            text = node.value
            if isinstance(text, str) and re.search(r"[a-z] [a-z]", text):
                yield inspect.cleandoc(text)


def test_the_source_contains_no_text_for_programmers() -> None:
    folders = ("registry", "api", "consumers", "projections")
    texts = {text for _, tree in sources(*folders) for text in literals(tree)}
    assert len(texts) > 300
    assert for_programmers(texts) == []


# The texts in answers: wrong values of every kind, in every member and parameter of the OpenAPI document.

VALUES: list[Any] = [
    None, True, -1, 0, 10**7, 10**19, 1.25, "", " ", "x", "X Y", "x" * 5_000, "a\u0000b", "\ud800", "nl_NL",
    "2023-02-30", "20230419", "0001-01-01", "9999-12-31", "123456789", "a@b", "https://", [], ["x"], [None],
    ["portfolio"] * 30, {}, {"x": 1},
]  # fmt: skip
BYTES = [
    b"", b" ", b"{", b'{"a":1,}', b"{} {}", b'"\xff"', b'{"a":"\n"}', b"nul", b'{"a":1,"a":2}', b'{"a":NaN}',
    b'{"a":-Infinity}', b'{"a":1e400}', b'{"a":%b}' % (b"9" * 30), b"[" * 100_000,
]  # fmt: skip
PARAMETERS = [
    "", "x", "-1", "0", "1", "1.5", "9" * 30, "x" * 5_000, "a\u0000b", "2023-02-30", "2023-4-1", "9999-12-31",
    "2023-04-19T10:00:00", "2023-13-19T10:00:00Z", "9998-12-31T10:00:00Z", "month,month", "a,b,c,d",
]  # fmt: skip


@dataclass
class World:
    """A service with a badge, a function to ask in each role, and the texts of all problems so far."""

    service: Service
    document: dict[str, Any]
    asking: dict[str, Ask]
    names: dict[str, str]
    spare: str
    texts: set[str]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def ask(self, method: str, path: str, operation: dict[str, Any], **more: Any) -> None:
        found = re.search(r"For: ([a-z, ]+)\.", operation.get("description", ""))
        roles = found[1].split(", ") if found else ["auditor"]
        role = "institution" if "institution" in roles else roles[0]
        names = self.names | ({"brin": self.spare} if role == "registrar" else {}) | more.pop("names", {})
        self.keep(self.asking[role](method, f"/v1{path.format(**names)}", **more))

    def keep(self, answer: Any) -> None:
        """Keeps the texts of an answer. A 500 may mean that `api.http.error_texts` lacks an error type."""
        assert answer.status_code < 500, (answer.request.url, answer.request.content[:500])
        if answer.headers["Content-Type"] == "application/problem+json":
            self.keep_problem(answer.json())
        elif answer.headers["Content-Type"] == NDJSON and answer.request.method == "POST":
            for line in answer.text.splitlines():
                self.keep_problem(json.loads(line).get("problem") or {})

    def keep_problem(self, problem: dict[str, Any]) -> None:
        self.texts |= {problem[name] for name in ("title", "detail") if name in problem}
        self.texts |= {error["detail"] for error in problem.get("errors", [])}

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema itself: behind a reference, and without the null that it may also be."""
        if "$ref" in schema:
            return self.resolved(self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self.resolved(schema["anyOf"][0])
        return schema

    def filled(self, schema: dict[str, Any], value: Any) -> Any:
        """A body with this value in every member, also in the innermost."""
        schema = self.resolved(schema)
        if schema.get("type") == "object":
            return {name: self.filled(member, value) for name, member in schema["properties"].items()}
        return [self.filled(schema["items"], value)] if schema.get("type") == "array" else value

    def bodies(self, schema: dict[str, Any]) -> Iterator[bytes]:
        """Wrong values as the body, in every member of it, and in the innermost members."""
        members = self.resolved(schema)["properties"]
        for value in VALUES:
            for body in (value, dict.fromkeys(members, value), self.filled(schema, value)):
                yield json.dumps(body).encode()


@pytest.fixture(scope="module")
def world(shared_service: Service) -> World:
    _, institution = admitted(shared_service)
    spare, _ = admit(shared_service)
    badge = awarded(institution)
    shared_service.settle()
    names = {"brin": spare, "version": "1", "type": "badge.awarded"} | {
        name: badge[name] for name in ("id", "moduleId", "learnerId")
    }
    asking = {role: shared_service.as_(role) for role in ("registrar", "auditor", "statistician")}
    asking["learner"] = shared_service.as_("learner", learner_id=badge["learnerId"])
    asking["institution"] = institution
    document = shared_service.client.get("/v1/openapi.json").json()
    return World(shared_service, document, asking, names, spare, set())


def test_errors_in_bodies_are_described_for_people(world: World) -> None:
    for method, path, operation in world.operations():
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            lines = media_type == NDJSON
            schema = content["schema"]["contentSchema"] if lines else content["schema"]
            bodies = [*world.bodies(schema), *BYTES]
            for body in [b"\n".join(bodies), *BYTES] if lines else bodies:
                world.ask(method, path, operation, content=body, headers={"Content-Type": media_type})
            world.ask(method, path, operation, content=b"x", headers={"Content-Type": "text/plain"})
    assert len(world.texts) > 50
    assert for_programmers(world.texts) == []


def test_errors_in_parameters_are_described_for_people(world: World) -> None:
    for method, path, operation in world.operations():
        if method != "GET":
            continue
        for parameter in operation.get("parameters", []):
            name = parameter["name"]
            for value in PARAMETERS:
                if parameter["in"] == "query":
                    world.ask(method, path, operation, params={name: value})
                elif value.isprintable() and value:
                    world.ask(method, path, operation, names={name: value})
            if parameter["in"] == "query":
                world.ask(method, path, operation, params=[(name, "1"), (name, "2")])
        world.ask(method, path, operation, params={"unknown": "1"})
    world.keep(world.service.client.get("/v1/nothing"))
    world.keep(world.service.client.patch("/v1/modules"))
    world.keep(world.service.client.get("/v1/events"))
    assert len(world.texts) > 20
    assert for_programmers(world.texts) == []


@pytest.mark.parametrize(
    ("changes", "pointer", "text"),
    [
        ({"language": "nl_NL"}, "/language", "must be a BCP 47 language tag, as nl-NL"),
        ({"isced": "0913.1"}, "/isced", "must be 2 to 4 digits (ISCED-F 2013)"),
        ({"name": None}, "/name", "must be a string"),
        ({"name": ...}, "/name", "is missing; give it"),
        ({"names": "x"}, "/names", "unknown field; leave it out"),
        ({"name": ""}, "/name", "must be 1 to 255 characters"),
        ({"name": "a\u202eb"}, "/name", "must not contain control, bidirectional or surrogate characters"),
        ({"name": "\ud800"}, "/name", "must not contain control, bidirectional or surrogate characters"),
        ({"studyLoad": 5}, "/studyLoad", "must be a JSON object"),
        ({"studyLoad": {"ects": "5"}}, "/studyLoad/ects", "must be a number of ECTS in halves, as 5 or 2.5"),
        ({"assessment": []}, "/assessment", "must have 1 or more items"),
        ({"targetGroup": "all"}, "/targetGroup", "must be 'professionals' or 'initial-students'"),
        ({"stackable": 1}, "/stackable", "must be true or false"),
    ],
)
def test_an_error_in_a_module_says_what_the_member_must_be(
    hbo: Ask, changes: dict[str, Any], pointer: str, text: str
) -> None:
    content = json.dumps(module_body(**changes))
    answer = hbo("POST", "/v1/modules", content=content, headers={"Content-Type": "application/json"})
    assert wrong(answer, pointer) == {pointer: text}


@pytest.mark.parametrize(
    ("changes", "pointer", "text"),
    [
        (
            {"moduleId": "X", "moduleReference": ...},
            "/moduleId",
            "must be a UUID, as 01234567-89ab-8def-8123-456789abcdef",
        ),
        ({"awardedOn": 20230419}, "/awardedOn", "must be a date as YYYY-MM-DD"),
        ({"awardedOn": "2023-02-30"}, "/awardedOn", "no such date exists"),
        ({"awardedOn": "2017-12-31"}, "/awardedOn", "must be a day from 2018-01-01 through today"),
        ({"validUntil": "2023-04-18"}, "/validUntil", "must not be before awardedOn"),
        ({"grade": ""}, "/grade", "must be 1 to 100 characters; leave it out if there is none"),
        ({"evidence": "x"}, "/evidence", "must be a JSON array"),
        ({"moduleVersion": 0}, "/moduleVersion", "must be 1 or more"),
        ({"learner": {}}, "/learner", "must have exactly one of eduId and eppn"),
        (
            {"learner": {"eduId": "x", "email": "geen"}},
            "/learner/email",
            "must be an e-mail address, as name@example.org",
        ),
    ],
)
def test_an_error_in_an_award_says_what_the_member_must_be(
    hbo: Ask, changes: dict[str, Any], pointer: str, text: str
) -> None:
    assert wrong(hbo("POST", "/v1/badges", award_body(**changes)), pointer) == {pointer: text}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "must be a JSON object"),
        (b'"\xff"', "is not valid UTF-8; send it as UTF-8"),
        ('{"a":1}'.encode("utf-16"), "is UTF-16; send it as UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "is UTF-16; send it as UTF-8"),
        ('{"a":1}'.encode("utf-16-be"), "is UTF-16; send it as UTF-8"),
        (b'{"a":1,}', "is not valid JSON (line 1, column 8)"),
        (b'{"a":NaN}', "is not valid JSON: NaN is not a number"),
        (b'{"a":1,"a":1}', "a field is given twice in one object; give it once"),
    ],
)
def test_an_error_in_the_json_says_what_the_body_must_be(hbo: Ask, body: bytes, text: str) -> None:
    answer = hbo("POST", "/v1/modules", content=body, headers={"Content-Type": "application/json"})
    assert wrong(answer, "") == {"": text}


@pytest.mark.parametrize(
    ("path", "parameters", "pointer", "text"),
    [
        ("/v1/modules", {"limit": "x"}, "/limit", "must be a whole number"),
        ("/v1/modules", {"limit": "501"}, "/limit", "must be 500 or less"),
        ("/v1/modules", {"withdrawn": "x"}, "/withdrawn", "must be true or false"),
        (
            "/v1/modules",
            {"cursor": "x"},
            "/cursor",
            "must be the `next` of this list, asked with the same filters",
        ),
        ("/v1/modules", {"page": "2"}, "/page", "unknown parameter; leave it out"),
        ("/v1/modules", {"limit": ["1", "2"]}, "/limit", "is given twice; give it once"),
        (
            "/v1/badges/{id}",
            {"asOf": "2026-11-26T15:15:10 01:00"},
            "/asOf",
            "must be a position, or a time as 2026-11-26T15:15:10Z; write + as %2B",
        ),
        ("/v1/badges/{id}", {"asOf": "2023-13-26T15:15:10Z"}, "/asOf", "no such time exists"),
        ("/v1/badges/{id}", {"asOf": "9" * 18}, "/asOf", "must not be beyond the end of the log"),
    ],
)
def test_an_error_in_a_parameter_says_what_it_must_be(
    world: World, path: str, parameters: dict[str, Any], pointer: str, text: str
) -> None:
    answer = world.asking["auditor"]("GET", path.format(**world.names), params=parameters)
    assert wrong(answer, pointer) == {pointer: text}
