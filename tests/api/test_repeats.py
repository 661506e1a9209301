"""An award that is sent again is judged as the first time, whatever has been corrected or revoked since."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    award_body,
    awarded,
    changed,
    module_body,
    new_reference,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import Service

VALUES: dict[str, list[Any]] = {
    "moduleReference": ["KLINRED", "ANDERE"],
    "moduleVersion": [..., 1, 2],
    "learner": [
        {"eduId": "geheim-1"},
        {"eduId": "GEHEIM-1", "name": "Naam-1", "email": "a@example.org"},
        {"eduId": "geheim-2"},
        {"eppn": "geheim-1@hhs.nl"},
    ],
    "awardedOn": ["2023-04-19", "2023-04-20"],
    "validUntil": [..., "2033-04-19"],
    "grade": [..., "Cijfer-1", "Cijfer-2", "Cijfer-3"],
    "evidence": [..., [], [{"narrative": "Bewijs-1"}]],
    "supersedes": [..., UNKNOWN_ID],
}
VALUE = ("geheim", "Cijfer", "Bewijs", "Naam", "2033-", "-04-20")
bodies = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})
steps = st.lists(
    st.one_of(
        st.builds(lambda grade: {"grade": grade}, st.sampled_from(["Cijfer-1", "Cijfer-2", "Cijfer-3"])),
        st.builds(lambda name: {"name": name}, st.sampled_from(["Naam-1", "Naam-2"])),
        st.just("revocation"),
        bodies,
    ),
    min_size=2,
    max_size=8,
)


def identifier(learner: dict[str, str]) -> tuple[str, str]:
    kind = "eduId" if "eduId" in learner else "eppn"
    return kind, learner[kind].lower()


@pytest.fixture(scope="module")
def institution(shared_service: Service) -> Ask:
    """An institution with two modules of two versions."""
    _, institution = admitted(shared_service)
    ok(institution("POST", "/v1/modules", module_body(reference="ANDERE")), 201)
    for reference in ("KLINRED", "ANDERE"):
        module = ok(institution("POST", "/v1/modules", module_body(reference=reference)))
        revised = module_body(reference=reference, name="Nieuw")
        ok(institution("POST", f"/v1/modules/{module['id']}/versions", revised), 201)
    return institution


@pytest.mark.no_cover
def test_a_repeat_is_known_if_it_is_what_was_first_stated_or_stands_and_else_names_what_differs(
    shared_service: Service, institution: Ask
) -> None:
    def differing(first: dict[str, Any], standing: Any, sent: dict[str, Any]) -> set[str]:
        names = {name for name in VALUES if name != "learner" and first[name] != sent[name]}
        if sent["grade"] == standing:
            names.discard("grade")
        if identifier(first["learner"]) != identifier(sent["learner"]):
            names.add("learner")
        return {f"/{name}" for name in names}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies.filter(lambda body: body["supersedes"] is ...), steps)
    def holds(first: dict[str, Any], steps: list[Any]) -> None:
        reference = new_reference("again")
        badge = ok(institution("POST", "/v1/badges", award_body(reference=reference, **first)), 201)
        standing, path = first["grade"], f"/v1/badges/{badge['id']}"
        for step in [*steps, first, {**first, "grade": standing}]:
            if step == "revocation":
                ok(institution("POST", f"{path}/revocation", {"reason": "other"}))
            elif len(step) == 1:
                answer = institution("POST", f"{path}/correction", step)
                standing = step.get("grade", standing) if answer.status_code == 200 else standing
            else:
                with nothing_recorded(shared_service):
                    answer = institution("POST", "/v1/badges", award_body(reference=reference, **step))
                pointers = differing(first, standing, step)
                if not pointers:
                    again = ok(answer)
                    assert (again["id"], again["position"]) == (badge["id"], badge["position"])
                    continue
                problem = refused(answer, 409, "reference-taken")
                assert {error["pointer"] for error in problem["errors"]} == pointers
                assert badge["id"] in problem["detail"]
                assert all(pointer in problem["detail"] for pointer in pointers)
                assert not any(value in answer.text for value in VALUE)

    holds()


def test_an_award_with_its_corrected_grade_is_known_and_with_an_intermediate_one_is_not(
    shared_service: Service, institution: Ask
) -> None:
    body = award_body(grade="7")
    badge = ok(institution("POST", "/v1/badges", body), 201)
    for grade in ("8", "8,5"):
        ok(institution("POST", f"/v1/badges/{badge['id']}/correction", {"grade": grade}))
    with nothing_recorded(shared_service):
        for grade in ("7", "8,5"):
            assert ok(institution("POST", "/v1/badges", changed(body, grade=grade)))["id"] == badge["id"]
        answer = institution("POST", "/v1/badges", changed(body, grade="8"))
        problem = refused(answer, 409, "reference-taken")
        assert [error["pointer"] for error in problem["errors"]] == ["/grade"]


def test_a_module_that_is_sent_by_id_differs_in_its_id(institution: Ask) -> None:
    body = award_body()
    badge = ok(institution("POST", "/v1/badges", body), 201)
    other = ok(institution("POST", "/v1/modules", module_body(reference="ANDERE")))
    by_id = changed(body, moduleReference=..., moduleId=other["id"])
    problem = refused(institution("POST", "/v1/badges", by_id), 409, "reference-taken")
    assert [error["pointer"] for error in problem["errors"]] == ["/moduleId"]
    assert badge["id"] in problem["detail"]


def test_a_module_under_a_used_reference_names_the_members_that_differ(institution: Ask) -> None:
    other = module_body(reference="ANDERE", name="Nog anders", isced="0914", stackable=...)
    problem = refused(institution("POST", "/v1/modules", other), 409, "reference-taken")
    assert {error["pointer"] for error in problem["errors"]} == {"/name", "/isced", "/stackable"}


@pytest.mark.parametrize("day", ["2099-01-01", "2017-12-31", "2023-04-18"])
def test_an_effective_day_that_is_wrong_at_first_is_wrong_again(institution: Ask, day: str) -> None:
    path = f"/v1/badges/{awarded(institution)['id']}/revocation"
    body = {"reason": "other", "effectiveOn": day}
    wrong(institution("POST", path, body), "/effectiveOn")
    ok(institution("POST", path, {"reason": "other"}))
    wrong(institution("POST", path, body), "/effectiveOn")
    wrong(institution("POST", path, {**body, "reason": "fraud"}), "/effectiveOn")


def test_a_withdrawal_that_is_wrong_at_first_is_wrong_again(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    module = ok(institution("POST", "/v1/modules", module_body()))
    path = f"/v1/modules/{module['id']}/withdrawal"
    wrong(institution("POST", path, {"from": "2020-01-01"}), "/from")
    ok(institution("POST", path, {"from": "2099-01-01"}))
    wrong(institution("POST", path, {"from": "2020-01-01"}), "/from")
    ok(institution("POST", path, {"from": "2099-01-01"}))


@pytest.mark.parametrize("member", ["moduleId", "moduleReference"])
def test_an_award_of_an_unknown_module_names_the_member(institution: Ask, member: str) -> None:
    other = {"moduleReference": ..., "moduleId": ...} | {member: UNKNOWN_ID}
    problem = refused(institution("POST", "/v1/badges", award_body(**other)), 409, "module-unknown")
    assert [error["pointer"] for error in problem["errors"]] == [f"/{member}"]
