"""What the service says of itself: the OpenAPI document, its pages, and the table of problems."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import api.http.problems
from api.http.glossary import MEMBERS
from api.http.problems import PROBLEMS, Kind
from api.web.problem_pages import kinds
from registry import tokens
from registry.cli import demo
from registry.domain import errors
from registry.domain.errors import Refusal
from registry.domain.events import FACTS
from tests.api.asking import API_VERSION, UNKNOWN_ID
from tests.api.test_routes_and_roles import ROUTES
from tests.postgres.commands import registry_on
from tests.support import Databases, Service, service

UNDESCRIBED = ("/openapi.json", "/docs", "/static-offline-docs")


def described() -> dict[str, set[str]]:
    """The methods of each path of the contract (section 2), from the table of routes."""
    paths: dict[str, set[str]] = {}
    for method, _, path in (route.partition(" /v1") for route in ROUTES):
        if path and not path.startswith(UNDESCRIBED):
            paths.setdefault(path, set()).add(method.lower())
    return paths


PATHS = described()


@pytest.fixture(scope="module")
def document(shared_service: Service) -> dict[str, Any]:
    answer = shared_service.client.get("/v1/openapi.json", headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["API-Version"] == API_VERSION
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_document_names_its_version_and_v1_as_its_server(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    assert document["info"]["version"] == API_VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", API_VERSION)
    assert document["info"]["contact"].keys() >= {"name", "url", "email"}
    assert [server["url"] for server in document["servers"]] == ["/v1"]


def test_every_call_of_the_contract_is_described_and_no_other(document: dict[str, Any]) -> None:
    assert {path: set(item) for path, item in document["paths"].items()} == PATHS


def test_paths_and_members_are_spelt_as_the_design_rules_ask(document: dict[str, Any]) -> None:
    for path in document["paths"]:
        assert re.fullmatch(r"(/([a-z]+(-[a-z]+)*|\{[a-z]+([A-Z][a-z]+)*\}))+", path), path
    for name, schema in document["components"]["schemas"].items():
        for member in schema.get("properties", {}):
            assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", member), (name, member)
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            form = r"[A-Z][a-z]+(-[A-Z][a-z]+)*" if parameter["in"] == "header" else r"[a-z]+([A-Z][a-z]+)*"
            assert re.fullmatch(form, parameter["name"])


def test_every_operation_says_who_may_ask_what_it_takes_and_what_it_answers(document: dict[str, Any]) -> None:
    identifiers = []
    for path, method, operation in operations(document):
        identifiers.append(operation["operationId"])
        assert operation["summary"]
        assert operation["tags"]
        described = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert described == set(re.findall(r"\{(\w+)\}", path))
        assert ("requestBody" in operation) == (method in {"post", "put"}), path
        for status, answer in operation["responses"].items():
            assert answer["description"], (path, status)
            assert "API-Version" in answer["headers"], (path, status)
            media = set(answer.get("content", ()))
            assert bool(media) == (status != "304"), path  # 304 has no body
            if status == "304":
                continue
            in_lines = path in {"/events", "/badge-batches", "/badge-revocations"} and status == "200"
            schema = path.startswith("/schemas") and status == "200"
            wanted = "application/problem+json" if int(status) >= 400 else "application/json"
            figures = path.startswith("/statistics/") and path != "/statistics/codebook"
            also = {"text/csv"} if figures and status == "200" else set()
            wanted = "application/schema+json" if schema else wanted
            assert media == {"application/x-ndjson" if in_lines else wanted} | also
        statuses = set(operation["responses"])
        assert "422" not in statuses
        assert statuses & {"200", "201"}
        if operation["security"]:
            assert statuses >= {"401", "403", "503"}
            assert any(role in operation["description"] for role in tokens.ROLES)
        if "requestBody" in operation:
            assert statuses >= {"400", "401", "403", "413", "415"}
    assert len(identifiers) == len(set(identifiers))


def test_every_reference_in_the_document_leads_somewhere_and_no_schema_is_idle(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    found = {each.removeprefix("#/components/schemas/") for each in references(document)}
    assert found <= set(schemas)
    assert set(schemas) <= found


def test_the_problem_schema_has_the_members_of_rfc_9457(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["Problem"]
    assert set(schema["properties"]) == {"type", "title", "status", "detail", "instance", "errors"}
    assert set(document["components"]["schemas"]["ProblemError"]["properties"]) == {"pointer", "detail"}


def test_the_documented_bodies_take_no_other_member(document: dict[str, Any]) -> None:
    bodies = [name for name in document["components"]["schemas"] if name.endswith("Body")]
    assert len(bodies) >= 10
    for name in bodies:
        assert document["components"]["schemas"][name]["additionalProperties"] is False, name


def test_the_documentation_needs_nothing_from_elsewhere(shared_service: Service) -> None:
    page = shared_service.client.get("/v1/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)|url: *["']([^"']+)""", page.text)
    loaded = [one or other for one, other in addresses]
    assert len(loaded) >= 4
    assert re.findall(r"(?:https?:)?//[a-z]", page.text) == []
    for address in loaded:
        answer = shared_service.client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["API-Version"] == API_VERSION


def test_the_first_page_leads_to_all_that_there_is_for_anyone(shared_service: Service) -> None:
    page = shared_service.client.get("/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["API-Version"] == API_VERSION
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert {"/v1/docs", "/v1/openapi.json", "/health/ready"} <= set(links)
    for link in links:
        assert link.startswith("/"), "a link leads elsewhere"
        assert shared_service.client.get(link).status_code == 200, link


# The table of problems.


def refusals() -> set[type[Refusal]]:
    """Every refusal of the domain and of the HTTP border that can be raised."""
    found: set[type[Refusal]] = set()
    for module in (errors, api.http.problems):
        for _, each in inspect.getmembers(module, inspect.isclass):
            if issubclass(each, Refusal) and each is not Refusal:
                found.add(each)
    return found


def test_every_refusal_has_its_problem_and_every_problem_its_refusal() -> None:
    assert set(PROBLEMS) == refusals()
    assert len(PROBLEMS) > 20


def test_no_refusal_is_kept_in_another_module() -> None:
    def below(kind: type[Refusal]) -> set[type[Refusal]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    assert below(Refusal) - {Refusal} == refusals()


def test_each_problem_type_is_one_kind_of_problem() -> None:
    slugs = [kind.slug for kind in PROBLEMS.values()]
    titles = [kind.title for kind in PROBLEMS.values()]
    assert len(slugs) == len(set(slugs))
    assert len(titles) == len(set(titles))
    for slug in slugs:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug)


@pytest.mark.parametrize("kind", PROBLEMS.values(), ids=lambda kind: kind.slug)
def test_a_problems_status_is_one_that_the_contract_has(kind: Kind) -> None:
    assert kind.status in {400, 401, 403, 404, 409, 413, 415, 429, 503}
    assert kind.title[0].isupper()
    assert not kind.title.endswith(".")


def test_every_problem_is_reached_by_a_test_of_the_border() -> None:
    """A refusal that nothing can bring about is dead, or its way is not tested."""
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    unreached = {kind.slug for kind in PROBLEMS.values() if f'"{kind.slug}"' not in texts}
    assert unreached == set()


def test_every_event_type_is_one_of_the_contract() -> None:
    names = {fact.TYPE for fact in FACTS.values()}
    assert names == {
        *(f"institution.{each}" for each in ("admitted", "changed", "suspended", "reinstated", "exempted")),
        *(f"module.{each}" for each in ("registered", "revised", "withdrawn")),
        *(f"badge.{each}" for each in ("awarded", "corrected", "suspended", "reinstated", "revoked")),
        *(f"token.{each}" for each in ("created", "revoked")),
        *(f"registry.{each}" for each in ("skipped", "retried", "replaced", "repartitioned")),
    }


# What a program reads.


def test_every_member_and_parameter_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for member, described in schema.get("properties", {}).items():
            assert described.get("description"), (name, member)
            assert "title" not in described, (name, member)
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, method, parameter["name"])


def test_the_glossary_names_nothing_that_is_not_there(document: dict[str, Any]) -> None:
    there = {
        each["name"] for _, _, operation in operations(document) for each in operation.get("parameters", [])
    }
    for name, schema in document["components"]["schemas"].items():
        for member in schema.get("properties", {}):
            there |= {member, f"{name}.{member}"}
    assert set(MEMBERS) <= there


def test_no_member_has_null_as_its_default(document: dict[str, Any]) -> None:
    def nulls(value: Any, place: str) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("default", ...) is None:
                yield place
            for name, each in value.items():
                yield from nulls(each, f"{place}/{name}")
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield from nulls(each, f"{place}/{number}")

    assert list(nulls(document, "")) == []


def test_the_document_says_nothing_of_how_the_code_is_made(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for word in (
        "api.",
        "registry.domain",
        "pydantic",
        "fastapi",
        "FastAPI",
        "camelCase",
        "pointer, sentence",
    ):
        assert word not in text, word


def test_ids_kinds_and_lists_have_a_form(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    parameters = {
        each["name"]: each["schema"]
        for path, _, operation in operations(document)
        for each in operation.get("parameters", [])
        if not path.startswith("/statistics/") or path == "/statistics/awards"
    }
    assert re.fullmatch(parameters["brin"]["pattern"], "27UM")
    assert not re.fullmatch(parameters["brin"]["pattern"], "27um")
    assert re.fullmatch(parameters["learnerId"]["pattern"], UNKNOWN_ID)
    assert set(parameters["type"]["enum"]) == {fact.TYPE for fact in FACTS.values()}
    for name, right, mistaken in (
        ("groupBy", "institution,month", "institution;month"),
        ("measures", "awarded,learners", "awards"),
    ):
        assert re.search(parameters[name]["pattern"], right)
        assert not re.search(parameters[name]["pattern"], mistaken)
    types = set(schemas["Problem"]["properties"]["type"]["enum"])
    assert types == {f"/problems/{slug}" for slug in kinds()}
    for name, schema in schemas.items():
        for member in {"learnerId", "moduleId", "supersedes"} & set(schema.get("properties", {})):
            assert '"format": "uuid"' in json.dumps(schema["properties"][member]), (name, member)


@pytest.fixture(scope="module")
def pilot(databases: Databases) -> Iterator[Service]:
    """A service with the demo data, as `make run` starts it."""
    url = databases.fresh()
    with service(url) as running:
        with registry_on(url) as writing:
            demo.load(writing)
        running.settle()
        yield running
    databases.drop(url)


def test_a_chart_of_the_demo_data_has_several_bars(pilot: Service) -> None:
    statistician = pilot.as_("statistician")
    for call, bars in (
        ("awards?groupBy=sector", 3),
        ("awards?groupBy=institution", 4),
        ("awards?groupBy=year", 4),
        ("awards?groupBy=month", 7),
        ("awards?groupBy=iscedBroad", 3),
        ("awards?groupBy=nlqf", 3),
        ("revocations?groupBy=reason", 3),
        ("learners", 3),
    ):
        answer = statistician("GET", f"/v1/statistics/{call}")
        assert len(answer.json()["items"]) >= bars, call


def test_every_example_works_as_it_stands_on_the_pilots_data(
    pilot: Service, document: dict[str, Any]
) -> None:
    """In an order in which each finds what it needs: a badge before its revocation, and withdrawals last."""
    registrar, institution = pilot.as_("registrar"), pilot.institution(demo.HAAGSE)
    bodies = [
        (path, method, operation)
        for path, method, operation in operations(document)
        if "requestBody" in operation
    ]
    last = ("revocation", "badge-revocations", "withdrawal", "institutions/{brin}/suspension")
    names: dict[str, str] = {"brin": demo.HAAGSE}
    for path, method, operation in sorted(bodies, key=lambda each: (each[0].endswith(last), len(each[0]))):
        ((media, content),) = operation["requestBody"]["content"].items()
        ask = registrar if "For: registrar" in operation["description"] else institution
        example = content["example"]
        sent = example if isinstance(example, str) else json.dumps(example)
        pilot.settle()
        answer = ask(
            method.upper(),
            f"/v1{path.format(**names)}",
            content=sent.encode(),
            headers={"Content-Type": media},
        )
        assert answer.status_code in {200, 201}, (path, answer.text)
        if media == "application/x-ndjson":
            outcomes = [json.loads(line) for line in answer.text.splitlines()]
            assert {each["outcome"] for each in outcomes} <= {"awarded", "known", "revoked"}, path
        elif path == "/badges":
            names["id"] = answer.json()["id"]
        elif path == "/modules":
            names["moduleId"] = answer.json()["id"]
