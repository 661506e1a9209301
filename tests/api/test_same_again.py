"""The same reference again: the same award, whatever has become of it; other content under it is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.http import exchange
from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    at_noon,
    award_body,
    awarded,
    changed,
    last_position,
    module_body,
    nothing_recorded,
    ok,
    refused,
)
from tests.postgres.log import holding_the_lock
from tests.support import Service

EDUID = "a1b2c3d4-0000-4000-8000-00000000000f"
LEARNER = {"eduId": EDUID, "name": "A. Jansen", "email": "a@example.org"}


def known(institution: Ask, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recorded award: its body and its answer."""
    body = award_body(learner=LEARNER, **changes)
    return body, ok(institution("POST", "/v1/badges", body), 201)


def test_the_same_award_again_answers_the_same_and_records_nothing(shared_service: Service, hbo: Ask) -> None:
    body, first = known(hbo)
    with nothing_recorded(shared_service):
        for _ in range(3):
            assert ok(hbo("POST", "/v1/badges", body)) == first


@pytest.mark.parametrize(
    "learner",
    [
        {"eduId": EDUID},
        {"eduId": EDUID, "name": "Anders Geheten"},
        {"eduId": EDUID, "name": "A. Jansen", "email": "ander@example.org"},
        {"eduId": EDUID.upper(), "name": "A. Jansen", "email": "a@example.org"},
    ],
)
def test_name_and_email_are_neither_compared_nor_changed(
    shared_service: Service, hbo: Ask, learner: dict[str, str]
) -> None:
    body, first = known(hbo)
    with nothing_recorded(shared_service):
        assert ok(hbo("POST", "/v1/badges", body | {"learner": learner})) == first
    path = f"/v1/badges/{first['id']}"
    assert ok(hbo("GET", path, params={"minPosition": first["position"]}))["learner"] == LEARNER


def test_module_id_and_module_reference_of_one_module_are_the_same(shared_service: Service, hbo: Ask) -> None:
    body, first = known(hbo)
    with nothing_recorded(shared_service):
        by_id = changed(body, moduleReference=..., moduleId=first["moduleId"])
        assert ok(hbo("POST", "/v1/badges", by_id)) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"grade": "9"},
        {"grade": ...},
        {"grade": None},
        {"evidence": ...},
        {"evidence": []},
        {"evidence": [{"url": "https://example.org/e2", "narrative": "Portfolio met reflectie"}]},
        {"evidence": [{"url": "https://example.org/e1"}]},
        {"awardedOn": "2023-04-20"},
        {"validUntil": "2033-04-19"},
        {"moduleVersion": 1},
        {"moduleReference": "ANDERE"},
        {"supersedes": UNKNOWN_ID},
        {"learner": {"eduId": "another"}},
        {"learner": {"eppn": f"{EDUID}@hhs.nl"}},
    ],
)
def test_other_content_under_a_known_reference_is_refused(
    shared_service: Service, changes: dict[str, Any]
) -> None:
    _, institution = admitted(shared_service)
    ok(institution("POST", "/v1/modules", module_body(reference="ANDERE")), 201)
    body, first = known(institution)
    with nothing_recorded(shared_service):
        refused(institution("POST", "/v1/badges", changed(body, **changes)), 409, "reference-taken")
        assert ok(institution("POST", "/v1/badges", body)) == first


@pytest.mark.parametrize("name", ["grade", "evidence", "validUntil", "moduleVersion"])
def test_what_was_left_out_is_other_content_when_it_is_sent(
    shared_service: Service, hbo: Ask, name: str
) -> None:
    sent = {"grade": "8", "evidence": [], "validUntil": "2033-04-19", "moduleVersion": 1}
    body, first = known(hbo, **{name: ...})
    with nothing_recorded(shared_service):
        answer = hbo("POST", "/v1/badges", body | {name: sent[name]})
        refused(answer, 409, "reference-taken")
        assert ok(hbo("POST", "/v1/badges", body)) == first


def test_a_refused_repetition_makes_no_learner(shared_service: Service, hbo: Ask) -> None:
    body, _ = known(hbo)
    other = {"eduId": "never-seen-before"}
    refused(hbo("POST", "/v1/badges", body | {"learner": other}), 409, "reference-taken")
    with nothing_recorded(shared_service):
        refused(hbo("POST", "/v1/badges", body | {"learner": other}), 409, "reference-taken")
    # The position tells: the learner is new only now.
    badge = awarded(hbo, learner=other)
    assert badge["learnerId"] != awarded(hbo, learner=LEARNER)["learnerId"]


def test_one_reference_of_two_institutions_is_two_awards(shared_service: Service) -> None:
    _, one = admitted(shared_service)
    _, other = admitted(shared_service)
    body = award_body()
    first, second = (ok(ask("POST", "/v1/badges", body), 201) for ask in (one, other))
    assert first["id"] != second["id"]
    assert first["learnerId"] == second["learnerId"]


def test_a_repetition_answers_todays_status_and_the_awards_position(service: Service) -> None:
    _, institution = admitted(service)
    body, first = known(institution, validUntil="2030-06-30")
    path = f"/v1/badges/{first['id']}"

    def again(status: str) -> None:
        with nothing_recorded(service):
            assert ok(institution("POST", "/v1/badges", body)) == first | {"status": status}

    ok(institution("POST", f"{path}/suspension", {"reason": "appeal"}))
    again("suspended")
    ok(institution("DELETE", f"{path}/suspension"))
    again("active")
    service.clock.moment = at_noon(2030, 7, 1)
    again("expired")
    service.clock.moment = None
    ok(institution("POST", f"{path}/revocation", {"reason": "learner-request"}))
    again("revoked")


def test_an_award_that_is_expired_already_says_so_when_it_is_made(hbo: Ask) -> None:
    body = award_body(validUntil="2024-04-19")
    first = ok(hbo("POST", "/v1/badges", body), 201)
    assert first["status"] == "expired"
    assert ok(hbo("POST", "/v1/badges", body)) == first


def test_a_new_version_does_not_change_what_a_repetition_means(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    body, first = known(institution)
    ok(institution("POST", f"/v1/modules/{first['moduleId']}/versions", module_body(name="Nieuw")), 201)
    with nothing_recorded(shared_service):
        assert ok(institution("POST", "/v1/badges", body)) == first


def test_one_award_sent_many_times_at_once_is_recorded_once(shared_service: Service, hbo: Ask) -> None:
    body = award_body(learner={"eduId": "sent-many-times"})
    before = last_position(shared_service)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: hbo("POST", "/v1/badges", body), range(36)))
    assert sorted(answer.status_code for answer in answers) == [200] * 35 + [201]
    assert len({answer.text for answer in answers}) == 1
    assert last_position(shared_service) == before + 1


def test_of_two_contents_sent_at_once_under_one_reference_one_is_recorded(
    shared_service: Service, hbo: Ask
) -> None:
    for _ in range(5):
        bodies = [award_body(grade=str(grade)) for grade in range(6)]
        bodies = [body | {"reference": bodies[0]["reference"]} for body in bodies]
        before = last_position(shared_service)
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda body: hbo("POST", "/v1/badges", body), bodies))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
        assert last_position(shared_service) == before + 1


def test_who_was_told_to_come_back_in_time_finds_the_award_recorded_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.2)
    institution = service.admitted()
    body = award_body()
    with holding_the_lock(service.url):
        refused(institution("POST", "/v1/badges", body), 503, "not-ready")
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 15.0)
    found = institution("POST", "/v1/badges", body)
    assert found.status_code in {200, 201}
    assert found.json()["position"] == service.settle() == 3
