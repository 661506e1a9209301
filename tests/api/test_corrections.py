"""Corrections of a grade or a name, and exemptions from the policy."""

from __future__ import annotations

from registry.postgres.connections import connect
from tests.api.asking import (
    UNKNOWN_ID,
    admitted,
    award_body,
    awarded,
    last_position,
    module_body,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import Service


def test_a_corrected_grade_and_name_are_what_learner_and_institution_see(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    path = f"/v1/badges/{badge['id']}"
    corrected = ok(institution("POST", f"{path}/correction", {"grade": "9", "name": "A. Janssen"}))
    assert corrected == badge | {"position": corrected["position"]}
    assert corrected["position"] > badge["position"]
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    after = {"minPosition": corrected["position"]}
    for ask in (institution, learner):
        found = ok(ask("GET", path, params=after))
        assert found["grade"] == "9"
        assert found["learner"]["name"] == "A. Janssen"
        assert found["learner"]["email"] == "a@example.org"
    assert "grade" not in ok(shared_service.as_("auditor")("GET", path, params=after))


def test_one_part_is_corrected_and_the_other_stands_also_the_second_time(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    path = f"/v1/badges/{badge['id']}"
    ok(institution("POST", f"{path}/correction", {"name": "B"}))
    last = ok(institution("POST", f"{path}/correction", {"grade": "7"}))["position"]
    found = ok(institution("GET", path, params={"minPosition": last}))
    assert (found["learner"]["name"], found["grade"]) == ("B", "7")


def test_a_correction_to_what_stands_already_records_nothing(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    path = f"/v1/badges/{badge['id']}/correction"
    with nothing_recorded(shared_service):
        same = ok(institution("POST", path, {"grade": "8", "name": "A. Jansen"}))
    assert same == badge
    first = ok(institution("POST", path, {"grade": "9"}))
    with nothing_recorded(shared_service):
        assert ok(institution("POST", path, {"grade": "9"})) == first


def test_a_corrected_award_is_known_as_it_was_sent_and_as_it_stands(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    body = award_body()
    badge = ok(institution("POST", "/v1/badges", body), 201)
    ok(institution("POST", f"/v1/badges/{badge['id']}/correction", {"grade": "9"}))
    assert ok(institution("POST", "/v1/badges", body)) == badge
    assert ok(institution("POST", "/v1/badges", body | {"grade": "9"})) == badge
    refused(institution("POST", "/v1/badges", body | {"grade": "10"}), 409, "reference-taken")


def test_what_is_no_correction_is_refused(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    _, other = admitted(shared_service)
    badge = awarded(institution)
    path = f"/v1/badges/{badge['id']}/correction"
    with nothing_recorded(shared_service):
        wrong(institution("POST", path, {}), "")
        wrong(institution("POST", path, {"grade": ""}), "/grade")
        wrong(institution("POST", path, {"grade": "9", "awardedOn": "2023-04-20"}), "/awardedOn")
        refused(other("POST", path, {"grade": "9"}), 404, "badge-unknown")
        unknown = f"/v1/badges/{UNKNOWN_ID}/correction"
        refused(institution("POST", unknown, {"grade": "9"}), 404, "badge-unknown")
    ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}))
    refused(institution("POST", path, {"grade": "9"}), 409, "badge-revoked")
    with nothing_recorded(shared_service):
        ok(institution("POST", path, {"grade": "8"}))


def test_what_was_erased_cannot_be_corrected(service: Service) -> None:
    institution = service.admitted()
    badge = awarded(institution)
    connection = connect(service.url)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM vault WHERE position = %s", (badge["position"],))
    connection.close()
    answer = institution("POST", f"/v1/badges/{badge['id']}/correction", {"grade": "9"})
    refused(answer, 409, "private-parts-erased")


def test_an_exempted_reference_may_be_registered_and_no_other(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    registrar = shared_service.as_("registrar")
    small = module_body(reference="KLEIN", studyLoad={"ects": 2.5})
    refused(institution("POST", "/v1/modules", small), 409, "study-load")
    path = f"/v1/institutions/{brin}/exemptions"
    stated = {"moduleReference": "KLEIN", "rule": "study-load", "reason": "Proef van het ministerie"}
    exempted = ok(registrar("POST", path, stated), 201)
    assert exempted["position"] == last_position(shared_service)
    with nothing_recorded(shared_service):
        assert ok(registrar("POST", path, stated)) == exempted
    ok(institution("POST", "/v1/modules", small), 201)
    other = module_body(reference="KLEINER", studyLoad={"ects": 2.5})
    refused(institution("POST", "/v1/modules", other), 409, "study-load")


def test_what_is_no_exemption_is_refused(shared_service: Service) -> None:
    brin, _ = admitted(shared_service)
    registrar = shared_service.as_("registrar")
    stated = {"moduleReference": "KLEIN", "rule": "study-load", "reason": "x"}
    with nothing_recorded(shared_service):
        path = f"/v1/institutions/{brin}/exemptions"
        wrong(registrar("POST", path, stated | {"rule": "level"}), "/rule")
        wrong(registrar("POST", path, stated | {"reason": ""}), "/reason")
        wrong(registrar("POST", path, stated | {"reason": "x" * 501}), "/reason")
        unknown = registrar("POST", "/v1/institutions/99ZZ/exemptions", stated)
        refused(unknown, 404, "institution-unknown")
