"""Schemathesis over the whole OpenAPI document, on a real server: what is answered is what is documented.

The requests follow from the document and from a fixed seed, so that a run can be repeated.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import support
from tests.api.asking import admit, admitted, award_body, awarded, module_body, new_reference, on_a_socket
from tests.api.test_documents import PATHS
from tests.support import INSTITUTION, Databases, Service

# Thousands of requests: measuring their coverage costs a minute and adds hardly a line.
pytestmark = pytest.mark.no_cover

OPERATIONS = [(method, path) for path, methods in PATHS.items() for method in sorted(methods)]
IDS = [f"{method.upper()} {path}" for method, path in OPERATIONS]
NDJSON = "application/x-ndjson"
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def generated(examples: int) -> Callable[[Any], Any]:
    """So many examples, always the same."""

    def decorate(test: Any) -> Any:
        bounded = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        return seed(20221101)(bounded(test))

    return decorate


@schemathesis.serializer(NDJSON)
def as_lines(_: Any, value: Any) -> bytes:
    lines = value if isinstance(value, list) else [value]
    return b"".join(as_line(line) + b"\n" for line in lines)


def as_line(value: Any) -> bytes:
    """JSON, or where the tool has made bytes that are none, those."""
    return value.replace(b"\n", b" ") if isinstance(value, bytes) else json.dumps(value).encode()


@dataclass
class World:
    """An institution with a badge, another one for the registrar to change, and a token for every role."""

    service: Service
    address: str
    session: requests.Session
    document: dict[str, Any]
    schema: Any
    names: dict[str, Any]
    spare: str
    tokens: dict[str, str]
    institution: Any

    def operation(self, method: str, path: str) -> Any:
        return self.schema[path][method.upper()]

    def role(self, method: str, path: str) -> str:
        """The one who asks: an institution wherever it may."""
        operation = self.document["paths"][path][method]
        said = re.search(r"For: ([a-z, ]+)\.", operation.get("description", ""))
        roles = said[1].split(", ") if said else ["anyone"]
        return "institution" if "institution" in roles else roles[0]

    def known(self, method: str, path: str) -> dict[str, Any]:
        """Path parameters that name something that is there."""
        names = self.names if self.role(method, path) != "registrar" else {"brin": self.spare}
        return {name: value for name, value in names.items() if f"{{{name}}}" in path}

    def ask(self, case: Any, who: str) -> Any:
        """Sends the request and checks the answer against the document."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who in self.tokens else {}
        answer = case.call(base_url=f"{self.address}/v1", session=self.session, headers=headers)
        # To the tool a body of lines is one text; what is wrong with a line stands in its outcome.
        in_lines = takes_lines(case.operation.definition.raw)
        case.validate_response(answer, checks=CHECKS if in_lines else [*CHECKS, negative_data_rejection])
        if answer.status_code < 300 and answer.headers["content-type"][0] == NDJSON:
            self.check_lines(case.operation.definition.raw, answer.text)
        return answer

    def check_lines(self, operation: dict[str, Any], text: str) -> None:
        """The document's schema of a line is beyond the tool's own checks."""
        described = operation["responses"]["200"]["content"][NDJSON]["schema"]["contentSchema"]
        whole = {**described, "components": self.document["components"]}
        validator = jsonschema_rs.Draft202012Validator(whole)
        for line in text.splitlines():
            validator.validate(json.loads(line))


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    url = databases.fresh()
    with (
        support.service(url) as service,
        on_a_socket(service) as (host, port),
        requests.Session() as session,
    ):
        yield _made(service, f"http://{host}:{port}", session)
    databases.drop(url)


def _made(service: Service, address: str, session: requests.Session) -> World:
    brin, institution = admitted(service)
    spare, _ = admit(service)
    badge = awarded(institution)
    service.settle()
    document = session.get(f"{address}/v1/openapi.json").json()
    names = {"brin": brin, "version": 1, "type": "badge.awarded"} | {
        name: badge[name] for name in ("id", "moduleId", "learnerId")
    }
    return World(
        service,
        address,
        session,
        document,
        schemathesis.openapi.from_dict(document),
        names,
        spare,
        {
            "registrar": service.token("registrar"),
            "auditor": service.token("auditor"),
            "statistician": service.token("statistician"),
            "institution": service.token("institution", institution=brin),
            "learner": service.token("learner", learner_id=badge["learnerId"]),
        },
        institution,
    )


# What is right is taken, and answered in the documented form: every operation, at least once.

BODIES: dict[str, Callable[[], Any]] = {
    "put /institutions/{brin}": lambda: INSTITUTION,
    "post /institutions/{brin}/suspension": lambda: {"reason": "other", "note": "Bezwaar"},
    "post /institutions/{brin}/exemptions": lambda: {
        "moduleReference": new_reference(),
        "rule": "study-load",
        "reason": "Proef",
    },
    "post /modules": lambda: module_body(reference=new_reference()),
    "post /modules/{moduleId}/versions": lambda: module_body(name="Klinisch redeneren 2"),
    "post /modules/{moduleId}/withdrawal": dict,
    "post /badges": award_body,
    "post /badges/{id}/revocation": lambda: {"reason": "other", "effectiveOn": "2024-01-01"},
    "post /badges/{id}/suspension": lambda: {"reason": "appeal"},
    "post /badges/{id}/correction": lambda: {"grade": "9", "name": "A. Janssen"},
    "post /learner-lookups": lambda: {"eduId": award_body()["learner"]["eduId"]},
    "post /badge-batches": lambda: [award_body(), award_body(awardedOn="morgen")],
    "post /badge-revocations": lambda: [{"reference": "onbekend", "reason": "other"}, {}],
}


def names_of_its_own(world: World, method: str, path: str) -> dict[str, Any]:
    """Path parameters of a request that must succeed: a new badge, and a new module to withdraw."""
    names = world.known(method, path)
    if "id" in names:
        names["id"] = awarded(world.institution)["id"]
    if path == "/modules/{moduleId}/withdrawal":
        made = world.institution("POST", "/v1/modules", module_body(reference=new_reference()))
        names["moduleId"] = made.json()["id"]
    world.service.settle()
    return names


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=IDS)
def test_what_is_right_is_taken_and_answered_as_documented(world: World, method: str, path: str) -> None:
    operation = world.operation(method, path)
    body = BODIES.get(f"{method} {path}")
    given_body = {} if body is None else {"body": body(), "media_type": next(iter(media(operation)))}
    case = operation.Case(path_parameters=names_of_its_own(world, method, path), **given_body)
    assert world.ask(case, world.role(method, path)).status_code in {200, 201}


def takes_lines(operation: dict[str, Any]) -> bool:
    return NDJSON in operation.get("requestBody", {}).get("content", {})


def media(operation: Any) -> dict[str, Any]:
    content: dict[str, Any] = operation.definition.raw["requestBody"]["content"]
    return content


# Whatever is sent is answered in a documented way.


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=IDS)
def test_whatever_is_sent_is_answered_as_documented(
    world: World, method: str, path: str, mode: GenerationMode
) -> None:
    operation, who = world.operation(method, path), world.role(method, path)
    answers: Counter[int] = Counter()
    described = operation.definition.raw
    # With all of its names fixed, such an operation leaves nothing to send wrongly; no entity tag is wrong.
    only_names = not described["security"] and all(
        each["in"] in {"path", "header"} for each in described.get("parameters", [])
    )
    fixed = "{" in path and not (mode is GenerationMode.NEGATIVE and only_names)
    for names in [None, world.known(method, path)] if fixed else [None]:

        @generated(12)
        @given(operation.as_strategy(generation_mode=mode, path_parameters=names))
        def holds(case: Any) -> None:
            answers[world.ask(case, who).status_code] += 1

        holds()
    print(f"{method.upper()} {path}, {mode.value}: {dict(sorted(answers.items()))}")
    assert answers.total() > 0


@pytest.mark.parametrize(
    ("path", "alone"),
    [("/badge-batches", "/badges"), ("/badge-revocations", "/badges/{id}/revocation")],
    ids=["awards", "revocations"],
)
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_whatever_stands_on_a_line_has_an_outcome_as_documented(
    world: World, path: str, alone: str, mode: GenerationMode
) -> None:
    operation = world.operation("post", path)
    single = world.operation("post", alone).as_strategy(generation_mode=mode)
    bodies = single.map(lambda case: case.body).filter(lambda body: body is not NOT_SET)

    @generated(20)
    @given(st.lists(bodies, min_size=1, max_size=20))
    def holds(lines: list[Any]) -> None:
        case = operation.Case(body=lines, media_type=NDJSON)
        answer = world.ask(case, "institution")
        assert len(answer.text.splitlines()) == len(lines)

    holds()
