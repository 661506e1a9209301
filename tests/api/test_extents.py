"""Every look-up says through where it is complete, and is never behind what it says."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from projections.all import read_models
from registry.domain.values import iso_time
from tests.api.asking import UNKNOWN_ID, Ask, admitted, award_body, awarded, module_body, ok
from tests.postgres.log import fresh, query
from tests.postgres.projecting import projectors, settled
from tests.support import KEYS, Clock, Databases, Service

FROM_THE_LOG = {"/events", "/badges/{id}/history", "/badges/{id}/status"}


@pytest.fixture(scope="module")
def still(databases: Databases) -> Iterator[Service]:
    """A service whose read models stand still until a test projects."""
    with fresh(databases) as url, ExitStack() as stack:
        app = create_app(url, KEYS, projecting=False)
        client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
        yield Service(url, client, Clock())


def project(url: str) -> None:
    with projectors(url, read_models()):
        settled(url)


def look_ups(service: Service) -> list[str]:
    """The paths of every look-up: a GET that takes `minPosition`."""
    document = service.client.get("/v1/openapi.json").json()
    return [
        path
        for path, item in document["paths"].items()
        if any(parameter["name"] == "minPosition" for parameter in item.get("get", {}).get("parameters", ()))
    ]


def test_the_document_describes_both_headers_of_every_look_up(still: Service) -> None:
    document = still.client.get("/v1/openapi.json").json()
    assert len(look_ups(still)) >= 14
    for path in look_ups(still):
        headers = document["paths"][path]["get"]["responses"]["200"]["headers"]
        assert {"Registry-Position", "Registry-As-Of", "API-Version"} <= set(headers), path


def test_every_look_up_says_how_far_behind_it_is(still: Service) -> None:
    brin, institution = admitted(still)
    badge = awarded(institution)
    project(still.url)
    (held,) = query(still.url, "SELECT max(position), max(time) FROM event")
    ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    ok(institution("POST", "/v1/modules", module_body(reference="LATER")), 201)
    (end,) = query(still.url, "SELECT max(position), max(time) FROM event")
    names = {"brin": brin, "moduleId": badge["moduleId"], "version": "1", "id": badge["id"]}
    names |= {"learnerId": badge["learnerId"]}
    asks: list[Ask] = [institution, still.as_("auditor"), still.as_("statistician")]
    asks.append(still.as_("learner", learner_id=badge["learnerId"]))
    for path in look_ups(still):
        answers = [ask("GET", f"/v1{path.format(**names)}") for ask in asks]
        assert any(answer.status_code == 200 for answer in answers), path
        for answer in answers:
            if answer.status_code == 200:
                position, time = end if path in FROM_THE_LOG else held
                assert answer.headers["Registry-Position"] == str(position), path
                assert answer.headers["Registry-As-Of"] == iso_time(time), path


def test_what_is_not_known_is_not_known_as_of_then(still: Service) -> None:
    """Who is told that there is no such badge is told how far the answer goes."""
    _, institution = admitted(still)
    names = {
        "brin": "99ZZ",
        "moduleId": UNKNOWN_ID,
        "version": "1",
        "id": UNKNOWN_ID,
        "learnerId": UNKNOWN_ID,
    }
    asks: list[Ask] = [institution, still.as_("auditor"), still.as_("learner", learner_id=UNKNOWN_ID)]
    unknown = 0
    for path in look_ups(still):
        for ask in asks:
            answer = ask("GET", f"/v1{path.format(**names)}")
            if answer.status_code == 404:
                unknown += 1
                assert "Registry-Position" in answer.headers, path
    answer = institution("POST", "/v1/learner-lookups", {"eduId": "never-seen"})
    assert (answer.status_code, "Registry-Position" in answer.headers) == (404, True)
    assert unknown >= 10


def test_an_answer_within_one_append_is_complete_until_just_before_it(still: Service) -> None:
    _, institution = admitted(still)
    lines = "\n".join(json.dumps(award_body()) for _ in range(3))
    answer = institution(
        "POST", "/v1/badge-batches", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    first = json.loads(answer.text.splitlines()[0])["position"]
    auditor = still.as_("auditor")
    found = auditor("GET", "/v1/events", params={"after": first - 1, "limit": 1})
    assert found.headers["Registry-Position"] == str(first)
    time = dt.datetime.fromisoformat(json.loads(found.text)["time"])
    assert found.headers["Registry-As-Of"] == iso_time(time - dt.timedelta(microseconds=1))


def test_an_empty_registry_is_complete_from_the_beginning(service: Service) -> None:
    answer = service.client.get("/v1/modules")
    assert answer.headers["Registry-Position"] == "0"
    assert answer.headers["Registry-As-Of"] == "1970-01-01T00:00:00.000000Z"


def test_what_was_recorded_through_the_position_is_in_the_answer_while_others_write(service: Service) -> None:
    brin, institution = admitted(service)
    learner = awarded(institution)["learnerId"]
    service.settle()
    answers: list[Any] = []
    with ThreadPoolExecutor(3) as threads:
        writing = [threads.submit(lambda: [awarded(institution) for _ in range(40)]) for _ in range(2)]
        while not all(each.done() for each in writing) or not answers:
            answers.append(institution("GET", f"/v1/institutions/{brin}/badges?limit=500"))
            answers.append(institution("GET", f"/v1/learners/{learner}/badges?limit=500"))
    log = query(service.url, "SELECT position, time, type, subject FROM event ORDER BY position")
    for answer in answers:
        position, as_of = int(answer.headers["Registry-Position"]), answer.headers["Registry-As-Of"]
        recorded = {subject for at, _, kind, subject in log if at <= position and kind == "badge.awarded"}
        assert recorded <= {item["id"] for item in ok(answer)["items"]}
        assert all(at <= position for at, time, _, _ in log if iso_time(time) <= as_of)


def test_a_badge_is_shown_with_the_private_parts_of_its_own_position(still: Service) -> None:
    _, institution = admitted(still)
    badge = awarded(institution, grade="6")
    path = f"/v1/badges/{badge['id']}"
    suspension = {"reason": "appeal", "note": "eerst"}
    before = ok(institution("POST", f"{path}/suspension", suspension))["position"]
    project(still.url)
    ok(institution("DELETE", f"{path}/suspension"))
    ok(institution("POST", f"{path}/suspension", suspension | {"note": "later"}))
    ok(institution("POST", f"{path}/correction", {"grade": "9", "name": "B. Jansen"}))
    found = ok(institution("GET", path))
    assert (found["position"], found["grade"], found["learner"]["name"]) == (before, "6", "A. Jansen")
    assert found["suspension"]["note"] == "eerst"
    project(still.url)
    found = ok(institution("GET", path))
    assert (found["grade"], found["learner"]["name"], found["suspension"]["note"]) == (
        "9",
        "B. Jansen",
        "later",
    )


STEPS = ("active", "suspended", "revoked", "expired", "reinstated")


def test_a_page_as_of_a_position_is_full_unless_it_is_the_last(still: Service) -> None:
    brin, institution = admitted(still)
    badges = {step: [] for step in STEPS}  # type: dict[str, list[str]]
    for step, _ in itertools.product(STEPS, range(4)):
        more = {"validUntil": "2023-06-30"} if step == "expired" else {}
        badge = awarded(institution, **more)["id"]
        badges[step].append(badge)
        if step in ("suspended", "reinstated"):
            ok(institution("POST", f"/v1/badges/{badge}/suspension", {"reason": "other"}))
        if step == "reinstated":
            ok(institution("DELETE", f"/v1/badges/{badge}/suspension"))
        if step == "revoked":
            ok(institution("POST", f"/v1/badges/{badge}/revocation", {"reason": "other"}))
    then = int(query(still.url, "SELECT max(position) FROM event")[0][0])
    for badge in badges["suspended"]:
        ok(institution("DELETE", f"/v1/badges/{badge}/suspension"))
    for badge in badges["active"] + badges["reinstated"] + badges["expired"]:
        ok(institution("POST", f"/v1/badges/{badge}/revocation", {"reason": "other"}))
    for _ in range(9):
        awarded(institution)
    project(still.url)
    auditor = still.as_("auditor")
    wanted = {step: badges[step] for step in ("suspended", "revoked", "expired")}
    wanted["active"] = badges["active"] + badges["reinstated"]
    for status, expected in wanted.items():
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {"asOf": then, "status": status, "limit": 3}
        while True:
            answer = auditor("GET", f"/v1/institutions/{brin}/badges", params=params)
            page = ok(answer)
            assert answer.headers["Registry-Position"] == str(then)
            found += page["items"]
            if page["next"] is None:
                break
            assert len(page["items"]) == 3
            params["cursor"] = page["next"]
        assert [item["id"] for item in found] == expected[::-1], status
        assert {item["status"] for item in found} == {status}
