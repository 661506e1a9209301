"""Who is one learner: an eduID everywhere, an eppn within its institution; a name or an address never."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    award_body,
    awarded,
    new_reference,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import Service


def test_an_eduid_is_one_learner_at_every_institution_and_in_any_case(shared_service: Service) -> None:
    _, one = admitted(shared_service)
    _, other = admitted(shared_service)
    edu_id = new_reference("EduId")
    badges = [
        awarded(one, learner={"eduId": edu_id}),
        awarded(one, learner={"eduId": edu_id.upper(), "name": "Anders"}),
        awarded(other, learner={"eduId": edu_id.lower(), "email": "x@example.org"}),
    ]
    assert len({badge["learnerId"] for badge in badges}) == 1


def test_an_eppn_is_one_learner_within_its_institution_only(shared_service: Service) -> None:
    _, one = admitted(shared_service)
    _, other = admitted(shared_service)
    eppn = f"{new_reference('s')}@hhs.nl"
    mine = awarded(one, learner={"eppn": eppn})
    again = awarded(one, learner={"eppn": eppn.upper()})
    anothers = awarded(other, learner={"eppn": eppn})
    assert mine["learnerId"] == again["learnerId"]
    assert mine["learnerId"] != anothers["learnerId"]


def test_an_eduid_and_an_eppn_of_one_spelling_are_two_learners(hbo: Ask) -> None:
    text = f"{new_reference('same')}@hhs.nl"
    one, other = (awarded(hbo, learner={kind: text}) for kind in ("eduId", "eppn"))
    assert one["learnerId"] != other["learnerId"]


def test_neither_name_nor_address_identifies(hbo: Ask) -> None:
    beside = {"name": "J. de Vries", "email": "j@example.org"}
    badges = [awarded(hbo, learner={"eduId": new_reference("e"), **beside}) for _ in range(2)]
    assert badges[0]["learnerId"] != badges[1]["learnerId"]


def test_a_learner_id_tells_nothing_of_the_identifier(shared_service: Service, hbo: Ask) -> None:
    identifier = "0f0e0d0c-0000-4000-8000-000000000001"
    badge = awarded(hbo, learner={"eduId": identifier})
    assert badge["learnerId"] != identifier
    refused(shared_service.client.get(f"/v1/badges/{identifier}/status"), 404, "not-found")


@pytest.mark.parametrize(
    ("learner", "pointer"),
    [
        ({"eduId": "123456782"}, "/learner/eduId"),
        ({"eduId": "000000000"}, "/learner/eduId"),
        ({"eduId": "123456782@eduid.nl"}, "/learner/eduId"),
        ({"eppn": "BSN-123.456.782@hhs.nl"}, "/learner/eppn"),
        ({"eppn": "123456782@hhs.nl"}, "/learner/eppn"),
        ({"eppn": "987654321@student.example.org"}, "/learner/eppn"),
    ],
)
def test_nine_digits_are_never_taken_as_an_identifier(
    shared_service: Service, hbo: Ask, learner: dict[str, str], pointer: str
) -> None:
    with nothing_recorded(shared_service):
        answer = hbo("POST", "/v1/badges", award_body(learner=learner))
        wrong(answer, pointer)
        assert next(iter(learner.values())) not in answer.text


@pytest.mark.parametrize(
    "learner",
    [
        {"eduId": "12345678"},
        {"eduId": "1234567890"},
        {"eduId": "12345678x"},
        {"eduId": "1234567890@eduid.nl"},
        {"eppn": "s123456782@hhs.nl"},
        {"eppn": "1234567890@hhs.nl"},
        {"eppn": "a@123456782"},
    ],
)
def test_other_numbers_are_taken_as_identifiers(hbo: Ask, learner: dict[str, str]) -> None:
    awarded(hbo, learner=learner)


def test_references_and_grades_of_nine_digits_are_taken(hbo: Ask) -> None:
    ok(hbo("POST", "/v1/badges", award_body(reference="123456782", grade="123456782")), 201)


def test_a_new_learner_awarded_to_at_once_by_many_is_one_learner(shared_service: Service) -> None:
    askers = [admitted(shared_service)[1] for _ in range(3)]
    for number in range(3):
        learner = {"eduId": f"at-once-{number}"}
        bodies = [(askers[place % 3], award_body(learner=learner)) for place in range(18)]
        with ThreadPoolExecutor(9) as threads:
            answers = list(threads.map(lambda each: each[0]("POST", "/v1/badges", each[1]), bodies))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["learnerId"] for answer in answers}) == 1
        assert len({answer.json()["position"] for answer in answers}) == 18


def test_a_learner_sees_own_badges_from_all_institutions_with_their_references(
    shared_service: Service,
) -> None:
    _, one = admitted(shared_service)
    _, other = admitted(shared_service)
    edu_id = new_reference("mine")
    bodies = [award_body(learner={"eduId": edu_id}) for _ in range(2)]
    first, second = (
        ok(ask("POST", "/v1/badges", b), 201) for ask, b in zip((one, other), bodies, strict=True)
    )
    learner = shared_service.as_("learner", learner_id=first["learnerId"])
    after = {"minPosition": second["position"]}
    mine = ok(learner("GET", "/v1/learners/me", params=after))
    assert [item["id"] for item in mine["items"]] == [second["id"], first["id"]]
    assert [item["reference"] for item in mine["items"]] == [
        bodies[1]["reference"],
        bodies[0]["reference"],
    ]
    path = f"/v1/learners/{first['learnerId']}/badges"
    listed = ok(learner("GET", path))
    assert [i["id"] for i in listed["items"]] == [i["id"] for i in mine["items"]]
    seen = ok(one("GET", path))
    assert [(i["id"], i["reference"]) for i in seen["items"]] == [(first["id"], bodies[0]["reference"])]


def test_a_learner_without_badges_has_an_empty_list(shared_service: Service) -> None:
    learner = shared_service.as_("learner", learner_id=UNKNOWN_ID)
    empty: dict[str, Any] = {"items": [], "next": None}
    assert ok(learner("GET", "/v1/learners/me")) == empty
    assert ok(learner("GET", f"/v1/learners/{UNKNOWN_ID}/badges")) == empty
