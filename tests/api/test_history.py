"""What auditors see: a badge's history, and what stood at a time or a position."""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import Any

import pytest

from registry.event_store.append import STAGING
from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    awarded,
    last_position,
    ok,
    refused,
    wrong,
)
from tests.postgres.log import connection, execute
from tests.support import Service


def lived(institution: Ask) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """A badge that was suspended, reinstated and revoked: its position and status after each."""
    badge = awarded(institution)
    path = f"/v1/badges/{badge['id']}"
    steps = [(badge["position"], "active")]
    for method, what, body in (
        ("POST", "suspension", {"reason": "appeal"}),
        ("DELETE", "suspension", None),
        ("POST", "correction", {"grade": "9"}),
        ("POST", "revocation", {"reason": "fraud", "effectiveOn": "2023-05-01"}),
    ):
        answer = ok(institution(method, f"{path}/{what}", body))
        steps.append((answer["position"], answer["status"]))
    return badge, steps


def events_of(service: Service, subject: str) -> list[dict[str, Any]]:
    text = service.as_("auditor")("GET", "/v1/events", params={"subject": subject, "limit": 10_000}).text
    return [json.loads(line) for line in text.splitlines()]


def test_the_history_is_the_badges_events_as_the_log_shows_them(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge, steps = lived(institution)
    found = ok(shared_service.as_("auditor")("GET", f"/v1/badges/{badge['id']}/history"))
    assert found == {"items": events_of(shared_service, badge["id"])}
    assert [each["position"] for each in found["items"]] == [position for position, _ in steps]
    assert found["items"][-1]["data"]["reason"] == "fraud"
    assert "A. Jansen" not in json.dumps(found)


def test_an_institution_reads_the_history_of_its_own_badges_without_others_clients(
    shared_service: Service,
) -> None:
    brin, institution = admitted(shared_service)
    badge, _ = lived(institution)
    path = f"/v1/badges/{badge['id']}/history"
    whole = ok(shared_service.as_("auditor")("GET", path))
    assert ok(institution("GET", path)) == whole
    another_token = shared_service.as_("institution", institution=brin)
    assert ok(another_token("GET", path)) == whole
    # As if an operator had recorded the correction.
    corrected = next(each for each in whole["items"] if each["type"] == "badge.corrected")
    own = corrected["data"].pop("client")
    _set_client(shared_service, corrected["position"], own, "cli")
    assert ok(institution("GET", path)) == whole
    _, stranger = admitted(shared_service)
    refused(stranger("GET", path), 404, "not-found")
    refused(institution("GET", f"/v1/badges/{UNKNOWN_ID}/history"), 404, "not-found")


def _set_client(service: Service, position: int, before: str, after: str) -> None:
    execute(service.url, "ALTER TABLE event DISABLE TRIGGER event_is_append_only")
    execute(
        service.url,
        "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'), %s, %s), 'UTF8')"
        " WHERE position = %s",
        (before, after, position),
    )
    execute(service.url, "ALTER TABLE event ENABLE TRIGGER event_is_append_only")


def test_a_time_between_an_append_and_its_commit_waits_for_the_commit(service: Service) -> None:
    """Else the same question would be answered otherwise a moment later."""
    institution = service.admitted()
    badge = awarded(institution)
    end = service.settle()
    found: list[Any] = []
    with connection(service.url, "registry_write") as writing, writing.cursor() as cursor:
        cursor.execute(STAGING)
        cursor.execute("BEGIN")
        row = f"(0, '{UNKNOWN_ID}', 1, 'x', 1, '{{}}', null, null, null, null)::append_row"
        cursor.execute(f"SELECT append(ARRAY[{row}], '{{}}', '{{}}', clock_timestamp())")
        params = {"asOf": dt.datetime.now(dt.UTC).isoformat()}
        auditor = service.as_("auditor")
        path = f"/v1/badges/{badge['id']}/status"
        asking = threading.Thread(target=lambda: found.append(auditor("GET", path, params=params)))
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
        cursor.execute("ROLLBACK")
        asking.join(10)
    assert ok(found[0])["position"] == badge["position"] == end


def test_only_a_badge_has_a_history(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    auditor = shared_service.as_("auditor")
    for unknown in (UNKNOWN_ID, badge["moduleId"], badge["learnerId"], "nonsense"):
        refused(auditor("GET", f"/v1/badges/{unknown}/history"), 404, "not-found")


@pytest.mark.parametrize("by", ["position", "time"])
def test_status_badge_and_lists_are_as_they_were(shared_service: Service, by: str) -> None:
    brin, institution = admitted(shared_service)
    badge, steps = lived(institution)
    auditor = shared_service.as_("auditor")
    times = {event["position"]: event["time"] for event in events_of(shared_service, badge["id"])}
    for position, status in steps:
        params = {"asOf": position if by == "position" else times[position]}
        found = ok(auditor("GET", f"/v1/badges/{badge['id']}/status", params=params))
        assert (found["status"], found["position"]) == (status, position)
        assert found["asOf"] == times[position]
        shown = ok(auditor("GET", f"/v1/badges/{badge['id']}", params=params))
        assert shown["status"] == status
        assert ("revocation" in shown) == (status == "revoked")
        assert ("suspension" in shown) == (status == "suspended")
        for path in (
            f"/v1/learners/{badge['learnerId']}/badges",
            f"/v1/institutions/{brin}/badges",
            f"/v1/modules/{badge['moduleId']}/badges",
        ):
            items = ok(auditor("GET", path, params=params))["items"]
            assert [(each["id"], each["status"]) for each in items if each["id"] == badge["id"]] == [
                (badge["id"], status)
            ]


def test_before_its_award_there_was_no_badge(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    badge = awarded(institution)
    auditor = shared_service.as_("auditor")
    for then in (badge["position"] - 1, 0, "2020-01-01T00:00:00Z"):
        params = {"asOf": then}
        refused(auditor("GET", f"/v1/badges/{badge['id']}/status", params=params), 404, "not-found")
        refused(auditor("GET", f"/v1/badges/{badge['id']}", params=params), 404, "not-found")
        assert ok(auditor("GET", f"/v1/institutions/{brin}/badges", params=params))["items"] == []


def test_a_module_was_never_a_badge(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    auditor = shared_service.as_("auditor")
    module_id = events_of(shared_service, badge["id"])[0]["data"]["moduleId"]
    for path in (f"/v1/badges/{module_id}/status", f"/v1/badges/{module_id}"):
        refused(auditor("GET", path, params={"asOf": badge["position"]}), 404, "not-found")


def test_the_offset_of_a_time_counts(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    auditor = shared_service.as_("auditor")
    path = f"/v1/badges/{badge['id']}/status"
    (event,) = events_of(shared_service, badge["id"])
    time = dt.datetime.fromisoformat(event["time"])
    elsewhere = time.astimezone(dt.timezone(dt.timedelta(hours=2)))
    assert ok(auditor("GET", path, params={"asOf": elsewhere.isoformat()}))["asOf"] == event["time"]
    before = (elsewhere - dt.timedelta(microseconds=1)).isoformat()
    refused(auditor("GET", path, params={"asOf": before}), 404, "not-found")


def test_expiry_is_judged_at_that_time(service: Service) -> None:
    institution = service.admitted()
    badge = awarded(institution, validUntil="2023-06-30")
    auditor = service.as_("auditor")
    found = ok(auditor("GET", f"/v1/badges/{badge['id']}/status", params={"asOf": badge["position"]}))
    assert found["status"] == "expired"
    assert found["since"] == "2023-06-30T22:00:00.000000Z"


def test_a_list_as_of_then_is_filtered_by_what_the_status_was(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    badges = [awarded(institution) for _ in range(5)]
    before = last_position(shared_service)
    for badge in badges[:3]:
        ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    auditor, path = shared_service.as_("auditor"), f"/v1/institutions/{brin}/badges"

    def found(**params: Any) -> list[str]:
        items: list[str] = []
        cursor = None
        while True:
            page = ok(auditor("GET", path, params=params | ({"cursor": cursor} if cursor else {})))
            items += [each["id"] for each in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return items

    assert found(asOf=before, status="revoked", limit=2) == []
    assert len(found(asOf=before, status="active", limit=2)) == 5
    now = last_position(shared_service)
    assert set(found(asOf=now, status="revoked", limit=2)) == {badge["id"] for badge in badges[:3]}
    assert set(found(asOf=now, status="active", limit=2)) == {badge["id"] for badge in badges[3:]}


def test_as_of_is_for_auditors(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    params = {"asOf": badge["position"]}
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    for path in (f"/v1/badges/{badge['id']}/status", f"/v1/badges/{badge['id']}"):
        refused(shared_service.client.get(path, params=params), 401, "unauthenticated")
        for ask in (institution, learner):
            refused(ask("GET", path, params=params), 403, "forbidden")


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "now",
        "-1",
        "1.0",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+99:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "٣",
        "9" * 19,
        "999999999",
    ],
)
def test_what_is_neither_a_time_nor_a_position_that_there_is_is_refused(
    shared_service: Service, asked: str
) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    answer = shared_service.as_("auditor")("GET", f"/v1/badges/{badge['id']}", params={"asOf": asked})
    wrong(answer, "/asOf")
