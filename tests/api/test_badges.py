"""Awards over HTTP: what is answered to whom, and the rules that an award must keep."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admit,
    admitted,
    award_body,
    awarded,
    module_body,
    new_brin,
    nothing_recorded,
    ok,
    refused,
    status_of,
    wrong,
)
from tests.support import MODULE, Service

WRITTEN = {"id", "learnerId", "moduleId", "moduleVersion", "status", "position"}
PUBLIC = {"id", "status", "since", "institution", "position", "asOf"}
OF_EVERYONE = {"id", "status", "since", "institution", "learnerId", "module", "awardedOn", "position"}
PRIVATE = {"learner", "reference", "grade", "evidence", "salts"}


def test_an_award_is_visible_at_once_to_who_asks_for_its_position(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    written = ok(institution("POST", "/v1/badges", award_body()), 201)
    assert set(written) == WRITTEN
    assert (written["status"], written["moduleVersion"]) == ("active", 1)
    found = status_of(shared_service, written["id"], written["position"])
    assert set(found) == PUBLIC
    assert (found["status"], found["institution"]) == ("active", brin)
    assert (found["id"], found["position"]) == (written["id"], written["position"])
    assert found["since"] <= found["asOf"]


def test_institution_and_learner_see_the_private_parts_and_an_auditor_does_not(
    shared_service: Service,
) -> None:
    brin, institution = admitted(shared_service)
    body = award_body(validUntil="2030-01-31")
    badge = ok(institution("POST", "/v1/badges", body), 201)
    path = f"/v1/badges/{badge['id']}"
    found = ok(institution("GET", path, params={"minPosition": badge["position"]}))
    assert set(found) == OF_EVERYONE | PRIVATE | {"validUntil"}
    assert {name: found[name] for name in ("learner", "reference", "grade", "evidence")} == {
        name: body[name] for name in ("learner", "reference", "grade", "evidence")
    }
    assert (found["awardedOn"], found["validUntil"]) == ("2023-04-19", "2030-01-31")
    assert (found["institution"], found["learnerId"]) == (brin, badge["learnerId"])
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    assert ok(learner("GET", path)) == found
    seen = ok(shared_service.as_("auditor")("GET", path))
    assert seen == {name: value for name, value in found.items() if name not in PRIVATE}


def test_what_was_left_out_stays_out(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    body = award_body(grade=..., evidence=..., learner={"eppn": "student@hhs.nl"})
    badge = ok(institution("POST", "/v1/badges", body), 201)
    found = ok(institution("GET", f"/v1/badges/{badge['id']}", params={"minPosition": badge["position"]}))
    assert set(found) == OF_EVERYONE | {"learner", "reference", "salts"}
    assert found["learner"] == {"eppn": "student@hhs.nl"}


def test_a_badge_shows_its_module_as_it_was_when_awarded(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    old = awarded(institution)
    added = ok(institution("POST", f"/v1/modules/{old['moduleId']}/versions", module_body(name="Nieuw")), 201)
    new, again = awarded(institution), awarded(institution, moduleVersion=1)
    assert (new["moduleVersion"], again["moduleVersion"]) == (2, 1)
    position = max(added["position"], again["position"])
    shared_service.settle()
    for badge, name in ((old, MODULE["name"]), (new, "Nieuw"), (again, MODULE["name"])):
        found = ok(institution("GET", f"/v1/badges/{badge['id']}", params={"minPosition": position}))
        module = found["module"]
        assert {k: module[k] for k in MODULE} == module_body(name=name)
        assert set(module) == set(MODULE) | {"id", "version", "contentHash"}
        assert (module["id"], module["version"]) == (badge["moduleId"], badge["moduleVersion"])
        version = shared_service.client.get(
            f"/v1/modules/{badge['moduleId']}/versions/{badge['moduleVersion']}"
        )
        assert ok(version)["contentHash"] == module["contentHash"]


def pointers(problem: dict[str, Any]) -> list[str]:
    """The members that a refusal blames."""
    return [error["pointer"] for error in problem["errors"]]


def test_an_unknown_module_takes_no_award(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    with nothing_recorded(shared_service):
        for pointer, changes in (
            ("/moduleReference", {"moduleReference": "ONBEKEND"}),
            ("/moduleId", {"moduleReference": ..., "moduleId": UNKNOWN_ID}),
        ):
            members = refused(institution("POST", "/v1/badges", award_body(**changes)), 409, "module-unknown")
            assert pointers(members) == [pointer]
        body = award_body(moduleVersion=2)
        refused(institution("POST", "/v1/badges", body), 409, "module-version-unknown")


def test_anothers_module_takes_no_award_of_mine(shared_service: Service) -> None:
    _, one = admitted(shared_service)
    _, other = admit(shared_service)
    module = awarded(one)["moduleId"]
    body = award_body(moduleReference=..., moduleId=module)
    with nothing_recorded(shared_service):
        members = refused(other("POST", "/v1/badges", body), 403, "module-of-another")
        assert pointers(members) == ["/moduleId"]
        # A reference is looked for among one's own modules.
        refused(other("POST", "/v1/badges", award_body()), 409, "module-unknown")


def test_a_withdrawn_module_takes_no_award_whatever_its_day(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    known = award_body()
    badge = ok(institution("POST", "/v1/badges", known), 201)
    ok(institution("POST", f"/v1/modules/{badge['moduleId']}/withdrawal"))
    with nothing_recorded(shared_service):
        for pointer, changes in (
            ("/moduleReference", {}),
            ("/moduleId", {"moduleReference": ..., "moduleId": badge["moduleId"]}),
        ):
            members = refused(
                institution("POST", "/v1/badges", award_body(**changes)), 409, "module-withdrawn"
            )
            assert pointers(members) == [pointer]
        assert ok(institution("POST", "/v1/badges", known)) == badge
    ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))


def test_an_institution_that_was_never_admitted_awards_nothing(shared_service: Service) -> None:
    stranger = shared_service.institution(new_brin())
    with nothing_recorded(shared_service):
        refused(stranger("POST", "/v1/badges", award_body()), 409, "institution-not-admitted")


def test_a_wrong_award_is_revoked_and_awarded_anew(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    wrong_one = awarded(institution)["id"]
    body = award_body(supersedes=wrong_one)
    with nothing_recorded(shared_service):
        refused(institution("POST", "/v1/badges", body), 409, "superseded-not-revoked")
    ok(institution("POST", f"/v1/badges/{wrong_one}/revocation", {"reason": "awarded-in-error"}))
    right = ok(institution("POST", "/v1/badges", body), 201)
    found = ok(institution("GET", f"/v1/badges/{right['id']}", params={"minPosition": right["position"]}))
    assert found["supersedes"] == wrong_one
    assert found["status"] == "active"


def test_only_an_own_badge_is_superseded(shared_service: Service) -> None:
    _, one = admitted(shared_service)
    _, other = admitted(shared_service)
    badge = awarded(one)
    ok(one("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    with nothing_recorded(shared_service):
        for superseded in (badge["id"], UNKNOWN_ID, badge["moduleId"], badge["learnerId"]):
            answer = other("POST", "/v1/badges", award_body(supersedes=superseded))
            refused(answer, 409, "superseded-unknown")
            assert badge["id"] not in answer.text


BAD_MEMBERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"reference": ...}, ["/reference"]),
    ({"reference": ""}, ["/reference"]),
    ({"reference": "x" * 101}, ["/reference"]),
    ({"moduleReference": ...}, [""]),
    ({"moduleId": UNKNOWN_ID}, [""]),
    ({"moduleReference": ..., "moduleId": "KLINRED"}, ["/moduleId"]),
    ({"moduleReference": ..., "moduleId": UNKNOWN_ID.replace("8", "G")}, ["/moduleId"]),
    ({"moduleVersion": 0}, ["/moduleVersion"]),
    ({"moduleVersion": "1"}, ["/moduleVersion"]),
    ({"moduleVersion": True}, ["/moduleVersion"]),
    ({"moduleVersion": 1.0}, ["/moduleVersion"]),
    ({"learner": ...}, ["/learner"]),
    ({"learner": "a1b2"}, ["/learner"]),
    ({"learner": {}}, ["/learner"]),
    ({"learner": {"name": "A. Jansen"}}, ["/learner"]),
    ({"learner": {"email": "a@example.org"}}, ["/learner"]),
    ({"learner": {"eduId": "a", "eppn": "a@hhs.nl"}}, ["/learner"]),
    ({"learner": {"eduId": ""}}, ["/learner/eduId"]),
    ({"learner": {"eduId": "x" * 201}}, ["/learner/eduId"]),
    ({"learner": {"eduId": 7}}, ["/learner/eduId"]),
    ({"learner": {"eduId": "a", "name": "x" * 256}}, ["/learner/name"]),
    ({"learner": {"eduId": "a", "email": "not an address"}}, ["/learner/email"]),
    ({"learner": {"eduId": "a", "bsn": "x"}}, ["/learner/bsn"]),
    ({"grade": ""}, ["/grade"]),
    ({"grade": 8}, ["/grade"]),
    ({"grade": "x" * 101}, ["/grade"]),
    ({"evidence": {}}, ["/evidence"]),
    ({"evidence": [{"url": "ftp://example.org"}]}, ["/evidence/0/url"]),
    ({"evidence": [{"url": "https://example.org/a"}, {"rating": 5}]}, ["/evidence/1/rating"]),
    ({"evidence": [{"narrative": "x" * 4_001}]}, ["/evidence/0/narrative"]),
    ({"evidence": [{"narrative": "x" * 4_000}] * 5 + [{"name": "x"}]}, ["/evidence"]),
    ({"evidence": [{"narrative": "e\u0301" * 4_000}] * 5 + [{"name": "x"}]}, ["/evidence"]),
    ({"supersedes": "2023-0419-01"}, ["/supersedes"]),
    ({"institution": "27UM"}, ["/institution"]),
    (
        {"reference": 1, "grade": "", "learner": {"eppn": "", "x": 1}, "awardedOn": "?", "y": None},
        ["/reference", "/grade", "/learner/eppn", "/learner/x", "/awardedOn", "/y"],
    ),
]


@pytest.mark.parametrize(("changes", "pointers"), BAD_MEMBERS)
def test_all_that_is_wrong_with_an_award_is_said_at_once(
    shared_service: Service, hbo: Ask, changes: dict[str, Any], pointers: list[str]
) -> None:
    with nothing_recorded(shared_service):
        wrong(hbo("POST", "/v1/badges", award_body(**changes)), *pointers)


def test_members_are_taken_up_to_their_bounds_counted_in_nfc(shared_service: Service, hbo: Ask) -> None:
    many = "e\u0301"
    body = award_body(
        reference=many * 100,
        grade=many * 100,
        learner={"eduId": "x" * 200, "name": many * 255},
        evidence=[{"narrative": many * 4_000}],
    )
    badge = ok(hbo("POST", "/v1/badges", body), 201)
    found = ok(hbo("GET", f"/v1/badges/{badge['id']}", params={"minPosition": badge["position"]}))
    assert (found["reference"], found["grade"]) == ("é" * 100, "é" * 100)
    assert found["learner"] == {"eduId": "x" * 200, "name": "é" * 255}
    assert found["evidence"] == [{"narrative": "é" * 4_000}]
    with nothing_recorded(shared_service):
        composed = award_body(
            reference="é" * 100,
            grade="é" * 100,
            learner={"eduId": "x" * 200},
            evidence=[{"narrative": "é" * 4_000}],
        )
        assert ok(hbo("POST", "/v1/badges", composed)) == badge


@pytest.mark.parametrize("badge", [UNKNOWN_ID, "nothing", "27UM", UNKNOWN_ID.upper().replace("8", "A")])
def test_an_unknown_badge_is_not_found_by_anyone(shared_service: Service, hbo: Ask, badge: str) -> None:
    refused(shared_service.client.get(f"/v1/badges/{badge}/status"), 404, "not-found")
    refused(hbo("GET", f"/v1/badges/{badge}"), 404, "not-found")
    refused(shared_service.as_("auditor")("GET", f"/v1/badges/{badge}"), 404, "not-found")
    learner = shared_service.as_("learner", learner_id=UNKNOWN_ID)
    refused(learner("GET", f"/v1/badges/{badge}"), 404, "not-found")
