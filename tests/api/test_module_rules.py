"""What a module may state: shapes and limits (400), and the dated policy on its study load (409)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from tests.api.asking import (
    Ask,
    admit,
    at_noon,
    module_body,
    new_reference,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import MODULE, Service

BEFORE, DURING, AFTER = at_noon(2025, 4, 30), at_noon(2025, 5, 1), at_noon(2027, 5, 1)


def register(institution: Ask, **changes: Any) -> Any:
    return institution("POST", "/v1/modules", module_body(reference=new_reference(), **changes))


@pytest.mark.parametrize("load", [3, 3.5, 5, 5.5, 29.5, 30])
@pytest.mark.parametrize("kind", ["hbo", "wo"])
def test_three_to_thirty_ects_in_halves_are_registered(
    shared_service: Service, load: float, kind: str
) -> None:
    _, institution = admit(shared_service, kind=kind)
    written = ok(register(institution, studyLoad={"ects": load}), 201)
    found = shared_service.client.get(
        f"/v1/modules/{written['id']}", params={"minPosition": written["position"]}
    )
    assert ok(found)["studyLoad"] == {"ects": load}


def test_a_whole_study_load_is_one_fact_in_any_spelling(shared_service: Service, hbo: Ask) -> None:
    reference = new_reference()
    body = module_body(reference=reference, studyLoad={"ects": 5})
    first = ok(hbo("POST", "/v1/modules", body), 201)
    with nothing_recorded(shared_service):
        for spelling in (b"5.0", b"5.00", b"0.5e1", b"50e-1"):
            raw = _with_ects(reference, spelling)
            headers = {"Content-Type": "application/json"}
            assert ok(hbo("POST", "/v1/modules", content=raw, headers=headers)) == first


def _with_ects(reference: str, number: bytes) -> bytes:
    body = json.dumps(module_body(reference=reference, studyLoad={"ects": "here"})).encode()
    return body.replace(b'"here"', number)


@pytest.mark.parametrize("load", [0.5, 1, 2.5, 30.5, 31, 10_000])
def test_ects_outside_the_policy_are_against_a_rule(shared_service: Service, load: float) -> None:
    _, institution = admit(shared_service, kind="hbo")
    with nothing_recorded(shared_service):
        refused(register(institution, studyLoad={"ects": load}), 409, "study-load")


@pytest.mark.parametrize(
    "number",
    [
        b"5.25",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'"5"',
        b"true",
        b"false",
        b"0",
        b"-5",
        b"-0",
        b"0.0",
        b"1e400",
        b"1e-400",
        b"-1e400",
        b"5.0000000000000000001",
        b"1e99999999999999999999",
        b"[5]",
        b"{}",
        b"1" * 100_000,
        b"0." + b"5" * 100_000,
        b"null",
        b"05",
        b".5",
        b"5.",
        b"+5",
        b"0x5",
        b"1_0",
    ],
    ids=lambda number: number[:12].decode(),
)
def test_what_is_no_positive_multiple_of_a_half_is_bad_input(
    shared_service: Service, hbo: Ask, number: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    with nothing_recorded(shared_service):
        answer = hbo("POST", "/v1/modules", content=_with_ects("x", number), headers=headers)
        refused(answer, 400, "invalid-input")


@pytest.mark.parametrize("number", [b"0", b"-240", b"240.0", b"240.5", b'"240"', b"true", b"NaN", b"2.4e2"])
def test_what_is_no_positive_whole_number_of_hours_is_bad_input(
    shared_service: Service, number: bytes
) -> None:
    _, institution = admit(shared_service, kind="mbo")
    raw = _with_ects("x", number).replace(b'"ects"', b'"sbu"')
    with nothing_recorded(shared_service):
        answer = institution("POST", "/v1/modules", content=raw, headers={"Content-Type": "application/json"})
        refused(answer, 400, "invalid-input")


def test_mbo_states_hours_and_at_least_240(shared_service: Service) -> None:
    _, institution = admit(shared_service, kind="mbo")
    ok(register(institution, studyLoad={"sbu": 240}), 201)
    ok(register(institution, studyLoad={"sbu": 10_000}), 201)
    with nothing_recorded(shared_service):
        refused(register(institution, studyLoad={"sbu": 239}), 409, "study-load")
        refused(register(institution, studyLoad={"ects": 5}), 409, "study-load")


@pytest.mark.parametrize("kind", ["hbo", "wo"])
def test_hbo_and_wo_state_no_hours(shared_service: Service, kind: str) -> None:
    _, institution = admit(shared_service, kind=kind)
    with nothing_recorded(shared_service):
        refused(register(institution, studyLoad={"sbu": 240}), 409, "study-load")


@pytest.mark.parametrize("load", [{}, {"ects": 5, "sbu": 240}, {"ects": None, "sbu": None}])
def test_a_study_load_is_exactly_one_of_ects_and_hours(
    shared_service: Service, hbo: Ask, load: dict[str, Any]
) -> None:
    with nothing_recorded(shared_service):
        wrong(register(hbo, studyLoad=load), "/studyLoad")


@pytest.mark.parametrize(
    ("moment", "kind", "least"),
    [(BEFORE, "wo", 3), (DURING, "wo", 1), (AFTER, "wo", 3), (DURING, "hbo", 3)],
)
def test_a_university_may_offer_one_ects_during_the_experiment_only(
    service: Service, moment: dt.datetime, kind: str, least: int
) -> None:
    service.clock.moment = moment
    _, institution = admit(service, kind=kind)
    ok(register(institution, studyLoad={"ects": least}), 201)
    with nothing_recorded(service):
        refused(register(institution, studyLoad={"ects": least - 0.5}), 409, "study-load")


def test_the_policy_is_that_of_the_day_in_amsterdam(service: Service) -> None:
    service.clock.moment = dt.datetime(2025, 4, 30, 21, 59, 59, tzinfo=dt.UTC)
    _, institution = admit(service, kind="wo")
    refused(register(institution, studyLoad={"ects": 1}), 409, "study-load")
    service.clock.moment = dt.datetime(2025, 4, 30, 22, 0, 0, tzinfo=dt.UTC)
    module = ok(register(institution, studyLoad={"ects": 1}), 201)["id"]
    service.clock.moment = dt.datetime(2027, 4, 30, 22, 0, 0, tzinfo=dt.UTC)
    service.settle()
    reference = ok(service.client.get(f"/v1/modules/{module}"))["reference"]
    body = module_body(reference=reference, studyLoad={"ects": 1}, name="Tweede")
    refused(institution("POST", f"/v1/modules/{module}/versions", body), 409, "study-load")


@pytest.mark.parametrize(
    ("moment", "kind", "status"),
    [(BEFORE, "hbo", 409), (DURING, "hbo", 201), (AFTER, "hbo", 409), (DURING, "wo", 409)],
)
def test_initial_students_are_for_hbo_during_the_experiment_only(
    service: Service, moment: dt.datetime, kind: str, status: int
) -> None:
    service.clock.moment = moment
    _, institution = admit(service, kind=kind)
    answer = register(institution, targetGroup="initial-students")
    assert answer.status_code == status
    if status == 409:
        refused(answer, 409, "target-group")
    ok(register(institution, targetGroup="professionals"), 201)


BAD_MEMBERS: list[tuple[dict[str, Any], list[str]]] = [
    *(({name: ...}, [f"/{name}"]) for name in ("reference", "name", "description", "studyLoad", "level")),
    *(({name: ...}, [f"/{name}"]) for name in ("learningOutcomes", "language", "participation")),
    *(({name: None}, [f"/{name}"]) for name in ("assessment", "qualityAssurance")),
    ({"reference": ""}, ["/reference"]),
    ({"reference": "x" * 101}, ["/reference"]),
    ({"reference": "a\tb"}, ["/reference"]),
    ({"name": "x" * 256}, ["/name"]),
    ({"description": "x" * 4_001}, ["/description"]),
    ({"description": ""}, ["/description"]),
    ({"learningOutcomes": []}, ["/learningOutcomes"]),
    ({"learningOutcomes": ["x"] * 21}, ["/learningOutcomes"]),
    ({"learningOutcomes": ["x", "y" * 501, ""]}, ["/learningOutcomes/1", "/learningOutcomes/2"]),
    ({"level": {"nlqf": "9"}}, ["/level/nlqf"]),
    ({"level": {"nlqf": 6}}, ["/level/nlqf"]),
    ({"level": {"nlqf": "6", "eqf": "4+"}}, ["/level/eqf"]),
    ({"level": {}}, ["/level/nlqf"]),
    ({"language": "Nederlands, graag"}, ["/language"]),
    ({"language": "nl-NL\n"}, ["/language"]),
    ({"isced": "9"}, ["/isced"]),
    ({"isced": "09130"}, ["/isced"]),
    ({"isced": "٠٩"}, ["/isced"]),
    ({"isced": 913}, ["/isced"]),
    ({"participation": "hybrid"}, ["/participation"]),
    ({"assessment": []}, ["/assessment"]),
    ({"assessment": ["portfolio", "quiz"]}, ["/assessment/1"]),
    ({"assessment": "portfolio"}, ["/assessment"]),
    ({"supervision": "camera"}, ["/supervision"]),
    ({"qualityAssurance": {"name": "NVAO", "url": "javascript:alert(1)"}}, ["/qualityAssurance/url"]),
    ({"qualityAssurance": {"url": "https://x"}}, ["/qualityAssurance/name"]),
    ({"stackable": "true"}, ["/stackable"]),
    ({"stackable": 1}, ["/stackable"]),
    ({"targetGroup": "everyone"}, ["/targetGroup"]),
    ({"institution": "27UM"}, ["/institution"]),
    ({"level": {"nlqf": "6", "ehea": "1"}}, ["/level/ehea"]),
    (
        {"name": 1, "language": "?", "level": {"nlqf": "0"}, "studyLoad": {}, "a~b/c": 1},
        ["/name", "/language", "/level/nlqf", "/studyLoad", "/a~0b~1c"],
    ),
]


@pytest.mark.parametrize(("changes", "pointers"), BAD_MEMBERS)
def test_all_that_is_wrong_with_a_module_is_said_at_once(
    shared_service: Service, hbo: Ask, changes: dict[str, Any], pointers: list[str]
) -> None:
    with nothing_recorded(shared_service):
        wrong(hbo("POST", "/v1/modules", module_body(**changes)), *pointers)


def test_texts_are_taken_up_to_their_bounds_counted_in_nfc(shared_service: Service, hbo: Ask) -> None:
    decomposed = "e\u0301"
    body = MODULE | {
        "reference": decomposed * 100,
        "name": decomposed * 255,
        "description": decomposed * 4_000,
        "learningOutcomes": [decomposed * 500] * 20,
    }
    written = ok(hbo("POST", "/v1/modules", body), 201)
    answer = shared_service.client.get(
        f"/v1/modules/{written['id']}", params={"minPosition": written["position"]}
    )
    found = ok(answer)
    assert (found["reference"], found["name"], found["description"]) == ("é" * 100, "é" * 255, "é" * 4_000)
    assert found["learningOutcomes"] == ["é" * 500] * 20


def test_a_module_too_large_to_record_is_refused_whole(shared_service: Service, hbo: Ask) -> None:
    body = module_body(
        reference=new_reference(), description="𝄞" * 4_000, learningOutcomes=["𝄞" * 500] * 20, name="𝄞" * 255
    )
    body["qualityAssurance"] = {"name": "x", "url": "https://x.example", "description": "𝄞" * 4_000}
    with nothing_recorded(shared_service):
        refused(hbo("POST", "/v1/modules", body), 413, "event-too-large")
