"""The days of an award: in Amsterdam, from 2018 through today, within the admission, outside suspensions."""

from __future__ import annotations

import datetime as dt

import pytest

from registry.domain.values import day_in_amsterdam
from registry.postgres.connections import connect
from tests import support
from tests.api.asking import (
    Ask,
    admitted,
    at_noon,
    award_body,
    awarded,
    changed,
    nothing_recorded,
    ok,
    refused,
    status_of,
    wrong,
)
from tests.support import INSTITUTION, Service


def test_awarded_on_lies_from_2018_through_today(service: Service) -> None:
    service.clock.moment = at_noon(2026, 3, 10)
    _, institution = admitted(service, admittedFrom="2010-01-01")
    for day in ("2018-01-01", "2026-03-10"):
        awarded(institution, awardedOn=day)
    with nothing_recorded(service):
        for day in ("2017-12-31", "1900-01-01", "0001-01-01", "2026-03-11", "9999-12-31"):
            wrong(institution("POST", "/v1/badges", award_body(awardedOn=day)), "/awardedOn")


def test_today_is_the_day_in_amsterdam(service: Service) -> None:
    service.clock.moment = dt.datetime(2026, 7, 1, 21, 59, tzinfo=dt.UTC)
    _, institution = admitted(service)
    wrong(institution("POST", "/v1/badges", award_body(awardedOn="2026-07-02")), "/awardedOn")
    service.clock.moment = dt.datetime(2026, 7, 1, 22, 0, tzinfo=dt.UTC)
    awarded(institution, awardedOn="2026-07-02")


@pytest.mark.parametrize(
    "day",
    [
        "2023-4-19",
        "19-04-2023",
        "2023-04-31",
        "2023-02-29",
        "20230419",
        "2023-W16-3",
        "2023-109",
        "٢٠٢٣-٠٤-١٩",
        "2023-04-19T00:00:00",
        "2023-04-19T00:00:00Z",
        "2023-04-19 ",
        " 2023-04-19",
        "+2023-04-1",
        "",
        "today",
    ],
)
def test_a_day_has_one_form(shared_service: Service, hbo: Ask, day: str) -> None:
    with nothing_recorded(shared_service):
        wrong(hbo("POST", "/v1/badges", award_body(awardedOn=day)), "/awardedOn")
        wrong(hbo("POST", "/v1/badges", award_body(validUntil=day)), "/validUntil")


@pytest.mark.parametrize("day", [20230419, 1681855200, 2023.5, True, None, ["2023-04-19"], {"day": 1}])
def test_a_day_is_a_text(shared_service: Service, hbo: Ask, day: object) -> None:
    with nothing_recorded(shared_service):
        wrong(hbo("POST", "/v1/badges", award_body(awardedOn=day)), "/awardedOn")


def test_valid_until_does_not_lie_before_the_award(shared_service: Service, hbo: Ask) -> None:
    with nothing_recorded(shared_service):
        early = award_body(validUntil="2023-04-18")
        wrong(hbo("POST", "/v1/badges", early), "/validUntil")
        wrong(hbo("POST", "/v1/badges", early | {"grade": 1}), "/validUntil", "/grade")
    awarded(hbo, validUntil="2023-04-19")


@pytest.mark.parametrize("day", ["9999-12-30", "9999-12-31"])
def test_a_badge_can_be_valid_until_the_last_day_that_there_is(shared_service: Service, day: str) -> None:
    brin, institution = admitted(shared_service)
    badge = awarded(institution, validUntil=day)
    assert badge["status"] == "active"
    assert status_of(shared_service, badge["id"], badge["position"])["status"] == "active"
    after = {"minPosition": badge["position"]}
    (item,) = ok(institution("GET", f"/v1/institutions/{brin}/badges", params=after))["items"]
    assert (item["status"], item["validUntil"]) == ("active", day)


def test_an_award_lies_within_the_admission(service: Service) -> None:
    service.clock.moment = at_noon(2026, 3, 10)
    _, institution = admitted(service, admittedFrom="2022-02-01", admittedUntil="2026-03-12")
    awarded(institution, awardedOn="2022-02-01")
    with nothing_recorded(service):
        early = award_body(awardedOn="2022-01-31")
        refused(institution("POST", "/v1/badges", early), 409, "outside-admission")
    service.clock.moment = at_noon(2026, 3, 12)
    known = award_body(awardedOn="2026-03-12")
    badge = ok(institution("POST", "/v1/badges", known), 201)
    service.clock.moment = at_noon(2026, 3, 13)
    with nothing_recorded(service):
        late = award_body(awardedOn="2026-03-12")
        refused(institution("POST", "/v1/badges", late), 409, "admission-ended")
        assert ok(institution("POST", "/v1/badges", known)) == badge
    revoked = ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    assert revoked["status"] == "revoked"


def test_an_admission_that_begins_later_takes_no_award_yet(service: Service) -> None:
    service.clock.moment = at_noon(2026, 3, 10)
    brin, institution = admitted(service)
    body = changed(INSTITUTION, admittedFrom="2026-03-11")
    ok(service.as_("registrar")("PUT", f"/v1/institutions/{brin}", body))
    with nothing_recorded(service):
        today = award_body(awardedOn="2026-03-10")
        refused(institution("POST", "/v1/badges", today), 409, "outside-admission")


def test_a_suspended_institution_awards_nothing_but_may_still_revoke(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    known = award_body()
    badge = ok(institution("POST", "/v1/badges", known), 201)
    registrar, path = shared_service.as_("registrar"), f"/v1/institutions/{brin}/suspension"
    ok(registrar("POST", path, {"reason": "quality"}))
    with nothing_recorded(shared_service):
        # Of whatever day: it awards nothing while it is suspended.
        refused(institution("POST", "/v1/badges", award_body()), 409, "institution-suspended")
        assert ok(institution("POST", "/v1/badges", known)) == badge
    revoked = ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    assert revoked["status"] == "revoked"
    ok(registrar("DELETE", path))
    awarded(institution)


def test_the_day_of_reinstatement_takes_awards_again(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    registrar, path = shared_service.as_("registrar"), f"/v1/institutions/{brin}/suspension"
    ok(registrar("POST", path, {"reason": "quality"}))
    ok(registrar("DELETE", path))
    awarded(institution, awardedOn=day_in_amsterdam(dt.datetime.now(dt.UTC)).isoformat())


def test_no_award_falls_on_a_day_of_a_suspension_that_is_over(url: str) -> None:
    with support.service(url) as before:
        brin, _ = admitted(before)
        registrar, path = before.as_("registrar"), f"/v1/institutions/{brin}/suspension"
        ok(registrar("POST", path, {"reason": "quality"}))
        ok(registrar("DELETE", path))
    # In Amsterdam: from 10 March through 19 March; 20 March is the day of the reinstatement.
    _recorded_at(url, "institution.suspended", "2024-03-09T23:00:00Z")
    _recorded_at(url, "institution.reinstated", "2024-03-20T22:59:59Z")
    with support.service(url) as after:
        institution = after.institution(brin)
        for day in ("2024-03-09", "2024-03-20"):
            awarded(institution, awardedOn=day)
        with nothing_recorded(after):
            for day in ("2024-03-10", "2024-03-19"):
                answer = institution("POST", "/v1/badges", award_body(awardedOn=day))
                refused(answer, 409, "suspended-on-that-day")


def _recorded_at(url: str, kind: str, time: str) -> None:
    """Puts an event's time back, which the log takes from its owner alone, and unguarded."""
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
        cursor.execute("UPDATE event SET time = %s WHERE type = %s", (time, kind))
        assert cursor.rowcount == 1
        cursor.execute("ALTER TABLE event ENABLE TRIGGER event_is_append_only")
    connection.close()
