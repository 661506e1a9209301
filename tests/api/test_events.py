"""The log over HTTP, for auditors: every event as it was stored, in order, without a gap."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import rfc8785

from registry.postgres.connections import connect
from tests import support
from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    award_body,
    awarded,
    last_position,
    module_body,
    ok,
    wrong,
)
from tests.support import PATIENCE_SECONDS, Databases, Service

MEMBERS = ["position", "id", "source", "type", "subject", "time", "dataschema", "data"]


@dataclass
class Logged:
    service: Service
    auditor: Ask
    brin: str
    badge: dict[str, Any]


@pytest.fixture(scope="module")
def logged(databases: Databases) -> Iterator[Logged]:
    """A log with an event of each type that there is now."""
    url = databases.fresh()
    with support.service(url) as service:
        brin, institution = admitted(service)
        badge = ok(institution("POST", "/v1/badges", award_body(validUntil="2030-01-01")), 201)
        path, reason = f"/v1/badges/{badge['id']}", {"reason": "other", "note": "n"}
        registrar = service.as_("registrar")
        ok(registrar("PUT", f"/v1/institutions/{brin}", support.INSTITUTION | {"name": "Ändere Hochschule"}))
        ok(registrar("POST", f"/v1/institutions/{brin}/suspension", reason))
        ok(registrar("DELETE", f"/v1/institutions/{brin}/suspension"))
        ok(institution("POST", f"/v1/modules/{badge['moduleId']}/versions", module_body(name="2")), 201)
        ok(institution("POST", f"/v1/modules/{badge['moduleId']}/withdrawal"))
        ok(institution("POST", f"{path}/suspension", reason))
        ok(institution("DELETE", f"{path}/suspension"))
        ok(institution("POST", f"{path}/revocation", reason | {"effectiveOn": "2024-01-01"}))
        yield Logged(service, service.as_("auditor"), brin, badge)
    databases.drop(url)


TYPES = [
    "institution.admitted",
    "module.registered",
    "badge.awarded",
    "institution.changed",
    "institution.suspended",
    "institution.reinstated",
    "module.revised",
    "module.withdrawn",
    "badge.suspended",
    "badge.reinstated",
    "badge.revoked",
]


def read(auditor: Ask, **parameters: Any) -> tuple[list[dict[str, Any]], int]:
    """The events of an answer, and its `Registry-Position`."""
    answer = auditor("GET", "/v1/events", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == "application/x-ndjson"
    assert answer.headers["API-Version"]
    assert answer.text.endswith("\n") or not answer.text
    events = [json.loads(line) for line in answer.text.splitlines()]
    return events, int(answer.headers["Registry-Position"])


def test_the_log_is_in_order_and_without_a_gap(logged: Logged) -> None:
    events, complete = read(logged.auditor)
    assert [event["position"] for event in events] == list(range(1, len(TYPES) + 1))
    assert complete == len(TYPES) == last_position(logged.service)
    assert [event["type"] for event in events] == TYPES
    times = [event["time"] for event in events]
    assert times == sorted(times)
    for moment in times:
        assert dt.datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ")
        assert len(moment) == len("2026-01-01T00:00:00.000000Z")


def test_each_event_has_its_envelope_and_its_place_in_its_stream(logged: Logged) -> None:
    events, _ = read(logged.auditor)
    places: dict[str, int] = {}
    for event in events:
        assert list(event) == MEMBERS
        places[event["subject"]] = places.get(event["subject"], 0) + 1
        assert event["id"] == f"{event['subject']}/{places[event['subject']]}"
        assert event["source"] == "/v1/events"
        assert event["dataschema"] == f"urn:microcredential-registry:event:{event['type']}:1"
        assert event["data"]["channel"] == "api"
        assert len(event["data"]["client"]) == 16
    assert set(places) == {logged.brin, logged.badge["id"], logged.badge["moduleId"]}


def test_the_client_of_an_event_is_the_tokens_id_and_never_its_secret(logged: Logged) -> None:
    token = logged.service.token("institution", institution=logged.brin, name="Jan de token")
    _, token_id, secret = token.split("_", 2)
    headers = {"Authorization": f"Bearer {token}"}
    body = module_body(reference="client")
    ok(logged.service.client.post("/v1/modules", json=body, headers=headers), 201)
    text = logged.auditor("GET", "/v1/events").text
    assert json.loads(text.splitlines()[-1])["data"]["client"] == token_id
    assert secret not in text
    assert "Jan" not in text


def test_the_bytes_of_data_are_as_stored_and_canonical(logged: Logged) -> None:
    connection = connect(logged.service.url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM event ORDER BY position")
        stored = [bytes(data) for (data,) in cursor.fetchall()]
    connection.close()
    lines = logged.auditor("GET", "/v1/events").content.splitlines()
    assert len(lines) == len(stored)
    for line, data in zip(lines, stored, strict=True):
        assert line.endswith(b',"data":' + data + b"}")
        assert rfc8785.dumps(json.loads(data)) == data


@pytest.mark.parametrize("limit", [1, 2, 3, 10_000])
def test_a_reader_goes_on_from_registry_position(logged: Logged, limit: int) -> None:
    whole, end = read(logged.auditor)
    found: list[dict[str, Any]] = []
    after = 0
    while after < end:
        page, complete = read(logged.auditor, after=after, limit=limit)
        assert len(page) <= limit
        assert complete == page[-1]["position"] > after
        found, after = found + page, complete
    assert found == whole
    assert read(logged.auditor, after=end) == ([], end)


def test_events_are_filtered_by_type_and_by_subject(logged: Logged) -> None:
    whole, end = read(logged.auditor)
    for kind in TYPES:
        assert read(logged.auditor, type=kind) == ([e for e in whole if e["type"] == kind], end)
    for subject in (logged.brin, logged.badge["id"], logged.badge["moduleId"]):
        mine = [event for event in whole if event["subject"] == subject]
        assert read(logged.auditor, subject=subject) == (mine, end)
        found, complete = read(logged.auditor, subject=subject, limit=1)
        assert (found, complete) == (mine[:1], mine[0]["position"])
        assert read(logged.auditor, subject=subject, after=mine[0]["position"])[0] == mine[1:]
    both = read(logged.auditor, subject=logged.badge["id"], type="badge.revoked")[0]
    assert [event["type"] for event in both] == ["badge.revoked"]
    for unknown in (UNKNOWN_ID, "27um", "%"):
        assert read(logged.auditor, subject=unknown) == ([], end)
    assert read(logged.auditor, type="badge.corrected") == ([], end)


@pytest.mark.parametrize(
    ("parameters", "pointers"),
    [
        ({"limit": 0}, ["/limit"]),
        ({"limit": 10_001}, ["/limit"]),
        ({"limit": "all"}, ["/limit"]),
        ({"after": -1}, ["/after"]),
        ({"after": "x"}, ["/after"]),
        ({"after": 10**9}, ["/after"]),
        ({"after": 2**63}, ["/after"]),
        ({"type": "badge.erased"}, ["/type"]),
        ({"type": ""}, ["/type"]),
        ({"after": -1, "limit": 0}, ["/after", "/limit"]),
        ({"subjects": "27UM"}, ["/subjects"]),
    ],
)
def test_what_is_asked_wrongly_of_the_log_is_refused(
    logged: Logged, parameters: dict[str, Any], pointers: list[str]
) -> None:
    wrong(logged.auditor("GET", "/v1/events", params=parameters), *pointers)


def test_an_empty_log_is_empty(service: Service) -> None:
    assert read(service.as_("auditor")) == ([], 0)


def test_a_thousand_events_are_read_where_no_limit_is_given(service: Service) -> None:
    _, institution = admitted(service)
    with ThreadPoolExecutor(24) as threads:
        badges = list(threads.map(lambda _: awarded(institution), range(1_020)))
    events, complete = read(service.as_("auditor"), limit=10_000)
    assert [event["position"] for event in events] == list(range(1, 1_023))
    assert complete == 1_022
    assert {badge["position"]: badge["id"] for badge in badges} == {
        event["position"]: event["subject"] for event in events[2:]
    }
    default, complete = read(service.as_("auditor"))
    assert (default, complete) == (events[:1_000], 1_000)


def test_no_event_appears_below_a_position_that_a_reader_has_passed(shared_service: Service) -> None:
    """Two readers follow the log while four writers add to it; both see the same, gapless."""
    _, institution = admitted(shared_service)
    auditor, leaving = shared_service.as_("auditor"), threading.Event()
    start = last_position(shared_service)
    logs: list[list[str]] = [[], []]

    def follow(log: list[str]) -> None:
        after = start
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (leaving.is_set() and after == last_position(shared_service)):
            assert time.monotonic() < deadline, "the reader came to no end"
            answer = auditor("GET", "/v1/events", params={"after": after, "limit": 7})
            log += answer.text.splitlines()
            after = int(answer.headers["Registry-Position"])

    def write() -> None:
        for _ in range(15):
            awarded(institution)

    readers = [threading.Thread(target=follow, args=(log,)) for log in logs]
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    leaving.set()
    for thread in readers:
        thread.join()
    assert logs[0] == logs[1]
    positions = [json.loads(line)["position"] for line in logs[0]]
    assert positions == list(range(start + 1, start + 61))
