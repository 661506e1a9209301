"""Events can be understood without the code: each has a schema, and a page says the rest."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from registry.domain.event_schemas import EVENTS, MEMBERS, event_schema
from registry.domain.events import FACTS
from tests.api.asking import Ask, admitted, award_body, awarded, module_body, ok, refused
from tests.contracts.test_golden_files import golden
from tests.support import INSTITUTION, Service


def schema_of(service: Service, dataschema: str) -> Any:
    """The validator of the schema that an event names."""
    kind, version = dataschema.removeprefix("urn:microcredential-registry:event:").rsplit(":", 1)
    answer = service.client.get(f"/v1/schemas/events/{kind}/{version}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/schema+json"
    schema = answer.json()
    assert schema["$id"] == dataschema
    return jsonschema_rs.Draft202012Validator(schema)


def recorded(service: Service) -> list[dict[str, Any]]:
    answer = service.as_("auditor")("GET", "/v1/events", params={"limit": 10_000})
    return [json.loads(line) for line in answer.text.splitlines()]


def act(service: Service) -> None:
    """Records an event of each type."""
    brin, institution = admitted(service)
    registrar, reason = service.as_("registrar"), {"reason": "other", "note": "n"}
    changed = INSTITUTION | {"name": "Ändere Hochschule", "admittedUntil": "2099-12-31"}
    ok(registrar("PUT", f"/v1/institutions/{brin}", changed))
    ok(registrar("POST", f"/v1/institutions/{brin}/suspension", reason))
    ok(registrar("DELETE", f"/v1/institutions/{brin}/suspension"))
    exemption = {"moduleReference": "KLEIN", "rule": "study-load", "reason": "Proef"}
    ok(registrar("POST", f"/v1/institutions/{brin}/exemptions", exemption), 201)
    badge = awarded(institution, validUntil="2099-01-01")
    path = f"/v1/badges/{badge['id']}"
    ok(institution("POST", f"{path}/correction", {"grade": "9", "name": "A. Janssen"}))
    ok(institution("POST", f"{path}/suspension", reason))
    ok(institution("DELETE", f"{path}/suspension"))
    ok(institution("POST", f"{path}/revocation", reason | {"effectiveOn": "2024-01-01"}))
    ok(institution("POST", "/v1/badges", award_body(supersedes=badge["id"])), 201)
    ok(institution("POST", f"/v1/modules/{badge['moduleId']}/versions", module_body(name="2")), 201)
    ok(institution("POST", f"/v1/modules/{badge['moduleId']}/withdrawal"))


def test_every_recorded_event_is_valid_in_the_schema_that_it_names(shared_service: Service) -> None:
    act(shared_service)
    events = recorded(shared_service)
    assert {event["type"] for event in events} == {fact.TYPE for fact in FACTS.values()}
    for event in events:
        schema_of(shared_service, event["dataschema"]).validate(event["data"])


@pytest.mark.parametrize("topic", FACTS)
def test_a_golden_file_is_valid_and_with_another_member_it_is_not(topic: str) -> None:
    validator = jsonschema_rs.Draft202012Validator(event_schema(topic))
    data = json.loads(golden(topic)["data"])
    validator.validate(data)
    for place in objects(data):
        changed = copy.deepcopy(data)
        inner = changed
        for name in place:
            inner = inner[name]
        inner["unnamed"] = "x"
        assert not validator.is_valid(changed), place
    for name in data:
        other = {key: value for key, value in data.items() if key != name}
        if validator.is_valid(other):
            continue
        assert name in event_schema(topic)["required"]


def objects(data: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all objects in an event."""
    if isinstance(data, dict):
        yield place
        for name, value in data.items():
            yield from objects(value, (*place, name))


@pytest.mark.parametrize("topic", FACTS)
def test_every_member_of_an_event_is_described_and_bounded_in_its_form(topic: str) -> None:
    schema = event_schema(topic)
    assert schema["description"] == EVENTS[FACTS[topic].TYPE]
    for each in (schema, *schema["$defs"].values()):
        assert each["additionalProperties"] is False
        for name, member in each["properties"].items():
            assert member["description"] == MEMBERS[name]
            assert "default" not in member


def test_the_tables_of_events_and_members_name_nothing_that_is_not_there() -> None:
    assert set(EVENTS) == {fact.TYPE for fact in FACTS.values()}
    schemas = [event_schema(topic) for topic in FACTS]
    named = {
        name
        for schema in schemas
        for each in (schema, *schema["$defs"].values())
        for name in each["properties"]
    }
    assert named == set(MEMBERS)


@pytest.mark.parametrize("path", ["badge.awarded/2", "badge.erased/1", "Badge.awarded/1"])
def test_a_schema_that_does_not_exist_is_not_found(shared_service: Service, path: str) -> None:
    refused(shared_service.client.get(f"/v1/schemas/events/{path}"), 404, "not-found")


def test_what_is_no_version_is_refused(shared_service: Service, hbo: Ask) -> None:
    for version in ("0", "one", "1.0"):
        answer = shared_service.client.get(f"/v1/schemas/events/badge.awarded/{version}")
        assert answer.status_code == 400
        assert not re.search("[a-z_]+_error", answer.text)
