"""What becomes of a badge: suspended and reinstated, expired, revoked for ever."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    at_noon,
    awarded,
    changed,
    last_position,
    nothing_recorded,
    ok,
    refused,
    status_of,
    wrong,
)
from tests.support import Service

REASONS = ["awarded-in-error", "fraud", "identity-error", "learner-request", "other"]
PUBLIC = {"id", "status", "since", "institution", "position", "asOf"}


@pytest.mark.parametrize("reason", REASONS)
def test_a_revoked_badge_says_so_to_anyone_and_why_to_whom_it_concerns(
    shared_service: Service, hbo: Ask, reason: str
) -> None:
    badge = awarded(hbo)
    path = f"/v1/badges/{badge['id']}"
    body = {"reason": reason, "effectiveOn": "2023-05-01", "note": "Zie dossier\n\t12"}
    revoked = ok(hbo("POST", f"{path}/revocation", body))
    assert revoked == badge | {"status": "revoked", "position": revoked["position"]}
    public = status_of(shared_service, badge["id"], revoked["position"])
    assert set(public) == PUBLIC
    assert (public["status"], public["position"]) == ("revoked", revoked["position"])
    assert reason not in public.values()
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    told = {"reason": reason, "since": public["since"], "effectiveOn": "2023-05-01"}
    for ask, note in (
        (hbo, {"note": body["note"]}),
        (learner, {"note": body["note"]}),
        (shared_service.as_("auditor"), {}),
    ):
        found = ok(ask("GET", path, params={"minPosition": revoked["position"]}))
        assert bool(found["revocation"].pop("noteSalt", None)) == bool(note)
        assert found["revocation"] == told | note
        assert (found["status"], found["since"]) == ("revoked", public["since"])


def test_revoking_again_changes_nothing_and_another_reason_is_refused(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    path = f"/v1/badges/{awarded(institution)['id']}"
    first = ok(institution("POST", f"{path}/revocation", {"reason": "fraud", "note": "eerste"}))
    with nothing_recorded(shared_service):
        for body in ({}, {"note": "tweede"}, {"effectiveOn": "2023-06-01"}):
            assert ok(institution("POST", f"{path}/revocation", {"reason": "fraud"} | body)) == first
        for reason in set(REASONS) - {"fraud"}:
            refused(
                institution("POST", f"{path}/revocation", {"reason": reason}),
                409,
                "revoked-for-another-reason",
            )
    found = ok(institution("GET", path, params={"minPosition": first["position"]}))
    assert found["revocation"]["note"] == "eerste"
    assert "effectiveOn" not in found["revocation"]


def test_a_revoked_badge_cannot_be_suspended_or_reinstated(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    path = f"/v1/badges/{awarded(institution)['id']}"
    ok(institution("POST", f"{path}/suspension", {"reason": "investigation"}))
    ok(institution("POST", f"{path}/revocation", {"reason": "fraud"}))
    with nothing_recorded(shared_service):
        suspending = institution("POST", f"{path}/suspension", {"reason": "investigation"})
        refused(suspending, 409, "badge-revoked")
        refused(institution("DELETE", f"{path}/suspension"), 409, "badge-revoked")


@pytest.mark.parametrize("reason", ["investigation", "appeal", "other"])
def test_a_badge_is_suspended_and_reinstated(shared_service: Service, hbo: Ask, reason: str) -> None:
    badge = awarded(hbo)
    path = f"/v1/badges/{badge['id']}"
    first = status_of(shared_service, badge["id"], badge["position"])
    suspended = ok(hbo("POST", f"{path}/suspension", {"reason": reason, "note": "Bezwaar"}))
    assert suspended == badge | {"status": "suspended", "position": suspended["position"]}
    public = status_of(shared_service, badge["id"], suspended["position"])
    assert set(public) == PUBLIC
    assert (public["status"], public["position"]) == ("suspended", suspended["position"])
    assert public["since"] > first["since"]
    told = {"reason": reason, "since": public["since"]}
    after = {"minPosition": suspended["position"]}
    suspension = ok(hbo("GET", path, params=after))["suspension"]
    assert suspension.pop("noteSalt")
    assert suspension == told | {"note": "Bezwaar"}
    assert ok(shared_service.as_("auditor")("GET", path))["suspension"] == told
    reinstated = ok(hbo("DELETE", f"{path}/suspension"))
    assert reinstated == badge | {"position": reinstated["position"]}
    public = status_of(shared_service, badge["id"], reinstated["position"])
    assert (public["status"], public["position"]) == ("active", reinstated["position"])
    assert public["since"] > told["since"]
    assert "suspension" not in ok(hbo("GET", path, params={"minPosition": reinstated["position"]}))


def test_suspending_again_changes_nothing_and_another_reason_is_refused(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    path = f"/v1/badges/{awarded(institution)['id']}/suspension"
    first = ok(institution("POST", path, {"reason": "appeal"}))
    with nothing_recorded(shared_service):
        assert ok(institution("POST", path, {"reason": "appeal", "note": "nog eens"})) == first
        refused(institution("POST", path, {"reason": "other"}), 409, "already-suspended")


def test_reinstating_what_is_not_suspended_changes_nothing(shared_service: Service, hbo: Ask) -> None:
    badge = awarded(hbo)
    with nothing_recorded(shared_service):
        assert ok(hbo("DELETE", f"/v1/badges/{badge['id']}/suspension")) == badge


def test_revoking_an_unknown_badge_and_anothers_are_told_apart_by_nothing(shared_service: Service) -> None:
    _, owner = admitted(shared_service)
    _, stranger = admitted(shared_service)
    badge = awarded(owner)
    answers = []
    with nothing_recorded(shared_service):
        for each in (badge["id"], UNKNOWN_ID):
            path = f"/v1/badges/{each}"
            told = [
                refused(stranger("POST", f"{path}/revocation", {"reason": "fraud"}), 404, "badge-unknown"),
                refused(stranger("POST", f"{path}/suspension", {"reason": "other"}), 404, "badge-unknown"),
                refused(stranger("DELETE", f"{path}/suspension"), 404, "badge-unknown"),
            ]
            answers.append([changed(members, instance=...) for members in told])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("badge", ["27UM", "nothing", UNKNOWN_ID.upper().replace("8", "A")])
def test_what_is_no_badge_is_an_unknown_badge(shared_service: Service, hbo: Ask, badge: str) -> None:
    with nothing_recorded(shared_service):
        answer = hbo("POST", f"/v1/badges/{badge}/revocation", {"reason": "fraud"})
        refused(answer, 404, "badge-unknown")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/reason"]),
        ({"reason": "appeal"}, ["/reason"]),
        ({"reason": "Fraud"}, ["/reason"]),
        ({"reason": "fraud", "note": ""}, ["/note"]),
        ({"reason": "fraud", "note": "a\x00b"}, ["/note"]),
        ({"reason": "fraud", "effectiveOn": "2023-04-31"}, ["/effectiveOn"]),
        (
            {"reason": 1, "note": 2, "effectiveOn": 3, "badge": 4},
            ["/reason", "/note", "/effectiveOn", "/badge"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_revocation_is_said_at_once(
    shared_service: Service, hbo: Ask, body: dict[str, Any], pointers: list[str]
) -> None:
    path = f"/v1/badges/{awarded(hbo)['id']}"
    with nothing_recorded(shared_service):
        wrong(hbo("POST", f"{path}/revocation", body), *pointers)


def test_effective_on_lies_from_the_award_through_today_and_moves_no_status(service: Service) -> None:
    service.clock.moment = at_noon(2026, 7, 1)
    _, institution = admitted(service)
    ids = [awarded(institution, awardedOn="2024-02-29")["id"] for _ in range(2)]
    with nothing_recorded(service):
        for day in ("2024-02-28", "2026-07-02", "2023-01-01"):
            body = {"reason": "other", "effectiveOn": day}
            wrong(institution("POST", f"/v1/badges/{ids[0]}/revocation", body), "/effectiveOn")
    service.settle()
    for badge, day in zip(ids, ("2024-02-29", "2026-07-01"), strict=True):
        path = f"/v1/badges/{badge}"
        body = {"reason": "other", "effectiveOn": day}
        begun = ok(institution("GET", path))["since"]
        position = ok(institution("POST", f"{path}/revocation", body))["position"]
        found = ok(institution("GET", path, params={"minPosition": position}))
        assert found["revocation"]["effectiveOn"] == day
        assert found["since"] == found["revocation"]["since"] > begun


@pytest.mark.parametrize(
    ("last_day", "midnight"),
    [("2027-06-30", "2027-06-30T22:00:00.000000Z"), ("2027-12-31", "2027-12-31T23:00:00.000000Z")],
)
def test_a_badge_expires_at_the_midnight_after_its_last_day_in_amsterdam(
    service: Service, last_day: str, midnight: str
) -> None:
    _, institution = admitted(service)
    badge = awarded(institution, validUntil=last_day)
    begun = status_of(service, badge["id"], badge["position"])["since"]
    expiry = dt.datetime.fromisoformat(midnight)
    service.clock.moment = expiry - dt.timedelta(microseconds=1)
    before = status_of(service, badge["id"])
    assert (before["status"], before["since"]) == ("active", begun)
    service.clock.moment = expiry
    with nothing_recorded(service):
        after = status_of(service, badge["id"])
    assert (after["status"], after["since"], after["asOf"]) == ("expired", midnight, midnight)
    assert after["position"] == badge["position"]
    # A suspension and a revocation come before an expiry.
    path = f"/v1/badges/{badge['id']}"
    suspended = ok(institution("POST", f"{path}/suspension", {"reason": "other"}))
    assert status_of(service, badge["id"], suspended["position"])["status"] == "suspended"
    reinstated = ok(institution("DELETE", f"{path}/suspension"))
    assert reinstated["status"] == "expired"
    again = status_of(service, badge["id"], reinstated["position"])
    assert (again["status"], again["since"]) == ("expired", midnight)
    revoked = ok(institution("POST", f"{path}/revocation", {"reason": "other"}))
    assert status_of(service, badge["id"], revoked["position"])["status"] == "revoked"


def test_of_two_reasons_given_at_once_one_stands(shared_service: Service, hbo: Ask) -> None:
    for _ in range(5):
        path = f"/v1/badges/{awarded(hbo)['id']}/revocation"
        before = last_position(shared_service)
        with ThreadPoolExecutor(len(REASONS)) as threads:
            revoking = [threads.submit(hbo, "POST", path, {"reason": reason}) for reason in REASONS]
        answers = [each.result() for each in revoking]
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        assert last_position(shared_service) == before + 1
