"""Modules: registered, revised in frozen versions and withdrawn over HTTP, public in the catalogue."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from registry.domain.values import day_in_amsterdam
from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admit,
    admitted,
    at_noon,
    award_body,
    module_body,
    new_brin,
    new_reference,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import MODULE, Service

BESIDE = {"id", "institution", "version", "latestVersion", "contentHash", "registeredAt", "position"}


def registered(institution: Ask, **changes: Any) -> dict[str, Any]:
    return ok(institution("POST", "/v1/modules", module_body(reference=new_reference(), **changes)), 201)


def read(service: Service, path: str, position: int) -> dict[str, Any]:
    return ok(service.client.get(path, params={"minPosition": position}))


def test_a_registered_module_is_public_with_all_that_was_stated(shared_service: Service) -> None:
    brin, institution = admit(shared_service)
    written = ok(institution("POST", "/v1/modules", MODULE), 201)
    assert written["version"] == 1
    found = read(shared_service, f"/v1/modules/{written['id']}", written["position"])
    assert set(found) == set(MODULE) | BESIDE
    assert {name: found[name] for name in MODULE} == MODULE
    assert (found["institution"], found["version"], found["latestVersion"]) == (brin, 1, 1)
    assert found["position"] == written["position"]
    assert ok(shared_service.client.get(f"/v1/modules/{written['id']}/versions/1")) == found


def test_every_optional_member_is_kept_and_an_absent_one_stays_absent(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    least = {
        name: MODULE[name]
        for name in ("name", "description", "studyLoad", "learningOutcomes", "language", "participation")
    } | {
        "level": {"nlqf": "4+"},
        "assessment": ["written-exam", "recognition"],
        "qualityAssurance": {"name": "NVAO", "url": "https://www.nvao.net"},
    }
    most = MODULE | {
        "programme": "Make IT Work",
        "targetGroup": "professionals",
        "legalGround": "WHW 7.1",
        "qualityAssurance": {"name": "NVAO", "url": "https://www.nvao.net", "description": "Toets\nnieuw"},
    }
    for stated in (least, most):
        body = stated | {"reference": new_reference()}
        written = ok(institution("POST", "/v1/modules", body), 201)
        found = read(shared_service, f"/v1/modules/{written['id']}", written["position"])
        assert {name: value for name, value in found.items() if name not in BESIDE} == body


def test_the_same_module_again_changes_nothing_and_other_content_is_refused(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    first = ok(institution("POST", "/v1/modules", MODULE), 201)
    with nothing_recorded(shared_service):
        assert ok(institution("POST", "/v1/modules", MODULE)) == first
        other = module_body(name="Anders")
        refused(institution("POST", "/v1/modules", other), 409, "reference-taken")


def test_one_reference_of_two_institutions_is_two_modules(shared_service: Service) -> None:
    _, one = admit(shared_service)
    _, other = admit(shared_service)
    assert (
        ok(one("POST", "/v1/modules", MODULE), 201)["id"]
        != ok(other("POST", "/v1/modules", MODULE), 201)["id"]
    )


def test_a_version_is_added_and_no_version_ever_changes(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    first = ok(institution("POST", "/v1/modules", MODULE), 201)
    path = f"/v1/modules/{first['id']}"
    before = read(shared_service, f"{path}/versions/1", first["position"])
    second = ok(institution("POST", f"{path}/versions", module_body(name="Tweede")), 201)
    assert (second["id"], second["version"]) == (first["id"], 2)
    found = read(shared_service, path, second["position"])
    assert (found["version"], found["latestVersion"], found["name"]) == (2, 2, "Tweede")
    assert ok(shared_service.client.get(f"{path}/versions/2")) == found
    after = ok(shared_service.client.get(f"{path}/versions/1"))
    moving = {"latestVersion", "position"}
    assert {k: v for k, v in after.items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving
    }
    assert found["contentHash"] != after["contentHash"]


def test_the_same_version_again_changes_nothing(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    path = f"/v1/modules/{ok(institution('POST', '/v1/modules', MODULE), 201)['id']}/versions"
    second = ok(institution("POST", path, module_body(name="Tweede")), 201)
    with nothing_recorded(shared_service):
        assert ok(institution("POST", path, module_body(name="Tweede"))) == second


def test_a_registration_repeated_after_a_revision_names_the_version_that_it_states(
    shared_service: Service,
) -> None:
    _, institution = admit(shared_service)
    first = ok(institution("POST", "/v1/modules", MODULE), 201)
    second = module_body(name="Tweede")
    ok(institution("POST", f"/v1/modules/{first['id']}/versions", second), 201)
    with nothing_recorded(shared_service):
        assert ok(institution("POST", "/v1/modules", MODULE))["version"] == 1
        assert ok(institution("POST", "/v1/modules", second))["version"] == 2


def test_a_version_keeps_the_reference_of_its_module(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    module = ok(institution("POST", "/v1/modules", MODULE), 201)["id"]
    body = module_body(reference="ANDERS", name="Tweede")
    with nothing_recorded(shared_service):
        refused(institution("POST", f"/v1/modules/{module}/versions", body), 409, "reference-fixed")


def test_anothers_module_is_neither_revised_nor_withdrawn(shared_service: Service) -> None:
    _, one = admit(shared_service)
    _, other = admit(shared_service)
    path = f"/v1/modules/{ok(one('POST', '/v1/modules', MODULE), 201)['id']}"
    with nothing_recorded(shared_service):
        refused(other("POST", f"{path}/versions", module_body(name="Kaping")), 403, "module-of-another")
        refused(other("POST", f"{path}/withdrawal", {}), 403, "module-of-another")


@pytest.mark.parametrize("module", [UNKNOWN_ID, "KLINRED", UNKNOWN_ID.replace("8", "A")])
def test_an_unknown_module_is_not_found(shared_service: Service, module: str) -> None:
    _, institution = admitted(shared_service)
    with nothing_recorded(shared_service):
        versions = institution("POST", f"/v1/modules/{module}/versions", MODULE)
        refused(versions, 404, "module-not-found")
        refused(institution("POST", f"/v1/modules/{module}/withdrawal", {}), 404, "module-not-found")
    refused(shared_service.client.get(f"/v1/modules/{module}"), 404, "not-found")
    refused(shared_service.client.get(f"/v1/modules/{module}/versions/1"), 404, "not-found")


def test_a_version_that_is_not_there_is_not_found_and_what_is_no_number_is_refused(
    shared_service: Service,
) -> None:
    _, institution = admit(shared_service)
    module = ok(institution("POST", "/v1/modules", MODULE), 201)["id"]
    shared_service.settle()
    refused(shared_service.client.get(f"/v1/modules/{module}/versions/2"), 404, "not-found")
    for number in ("0", "-1", "een", "1e400", "9" * 30):
        wrong(shared_service.client.get(f"/v1/modules/{module}/versions/{number}"), "/version")


def test_an_institution_that_was_never_admitted_registers_no_module(shared_service: Service) -> None:
    stranger = shared_service.institution(new_brin())
    with nothing_recorded(shared_service):
        refused(stranger("POST", "/v1/modules", MODULE), 409, "institution-not-admitted")


def test_a_module_is_withdrawn_from_today_and_stays_so(shared_service: Service) -> None:
    _, institution = admit(shared_service)
    module = registered(institution)["id"]
    path = f"/v1/modules/{module}/withdrawal"
    before = day_in_amsterdam(dt.datetime.now(dt.UTC))
    withdrawn = ok(institution("POST", path))
    after = day_in_amsterdam(dt.datetime.now(dt.UTC))
    assert (withdrawn["id"], withdrawn["version"]) == (module, 1)
    found = read(shared_service, f"/v1/modules/{module}", withdrawn["position"])
    assert found["withdrawnFrom"] in {before.isoformat(), after.isoformat()}
    with nothing_recorded(shared_service):
        assert ok(institution("POST", path)) == withdrawn
        assert ok(institution("POST", path, {"from": found["withdrawnFrom"]})) == withdrawn
        refused(institution("POST", path, {"from": "2099-01-01"}), 409, "module-already-withdrawn")
        added = institution("POST", f"/v1/modules/{module}/versions", module_body(reference="x"))
        assert added.status_code == 409


def test_a_withdrawal_reaches_from_today_in_amsterdam_onwards(service: Service) -> None:
    service.clock.moment = at_noon(2026, 7, 1).replace(hour=22, minute=30)  # there it is 2 July
    _, institution = admit(service)
    module = registered(institution)["id"]
    path = f"/v1/modules/{module}/withdrawal"
    with nothing_recorded(service):
        wrong(institution("POST", path, {"from": "2026-07-01"}), "/from")
        wrong(institution("POST", path, {"from": "morgen"}), "/from")
        wrong(institution("POST", path, {"from": "2026-07-03", "until": "2026-07-04"}), "/until")
    position = ok(institution("POST", path, {"from": "2026-07-02"}))["position"]
    assert read(service, f"/v1/modules/{module}", position)["withdrawnFrom"] == "2026-07-02"


def test_modules_are_listed_by_institution_reference_and_withdrawal(service: Service) -> None:
    service.clock.moment = at_noon(2026, 7, 1)
    brin, institution = admit(service)
    _, other = admit(service)
    names = ["A", "B", "C"]
    ids = {
        name: ok(institution("POST", "/v1/modules", module_body(reference=name)), 201)["id"] for name in names
    }
    ids["D"] = ok(other("POST", "/v1/modules", module_body(reference="A")), 201)["id"]
    ok(institution("POST", f"/v1/modules/{ids['B']}/withdrawal", {"from": "2026-07-02"}))
    ok(institution("POST", f"/v1/modules/{ids['C']}/withdrawal"))
    service.settle()

    def listed(**parameters: str) -> list[str]:
        found = ok(service.client.get("/v1/modules", params=parameters))
        assert set(found) == {"items", "next"}
        return [each["id"] for each in found["items"]]

    assert listed() == list(ids.values())
    assert listed(institution=brin) == [ids["A"], ids["B"], ids["C"]]
    assert listed(reference="A") == [ids["A"], ids["D"]]
    assert listed(institution=brin, reference="A") == [ids["A"]]
    assert listed(withdrawn="true") == [ids["C"]]
    assert listed(institution=brin, withdrawn="false") == [ids["A"], ids["B"]]
    service.clock.moment = at_noon(2026, 7, 2)
    assert listed(withdrawn="true") == [ids["B"], ids["C"]]
    assert listed(institution="99ZZ") == []
    (item,) = ok(service.client.get("/v1/modules", params={"reference": "B"}))["items"]
    assert item == ok(service.client.get(f"/v1/modules/{ids['B']}"))


def test_a_list_ends_where_its_content_is_long_and_says_that_more_follow(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.catalogue.queries.MAX_CONTENT", 10_000)
    _, institution = admit(service)
    ids = [registered(institution, description="x" * 4_000)["id"] for _ in range(5)]
    ids.append(registered(institution, description="y" * 4_000, learningOutcomes=["z" * 500] * 20)["id"])
    position = service.settle()
    for parameters in ({}, {"asOf": position}):
        seen: list[str] = []
        pages: list[int] = []
        cursor: dict[str, str] = {}
        while not pages or cursor:
            asked = {"limit": 500} | parameters | cursor
            found = ok(service.as_("auditor")("GET", "/v1/modules", params=asked))
            pages.append(len(found["items"]))
            seen += [item["id"] for item in found["items"]]
            cursor = {"cursor": found["next"]} if found["next"] else {}
        assert seen == ids
        assert pages == [2, 2, 1, 1]


def test_a_module_that_is_full_takes_no_version_and_still_takes_awards(
    shared_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.domain.module.MAX_VERSIONS", 2)
    _, institution = admit(shared_service)
    module = registered(institution)
    path = f"/v1/modules/{module['id']}/versions"
    reference = read(shared_service, f"/v1/modules/{module['id']}", module["position"])["reference"]
    bodies = [module_body(reference=reference, description=f"Versie {number}") for number in (2, 3)]
    ok(institution("POST", path, bodies[0]), 201)
    refused(institution("POST", path, bodies[1]), 409, "too-many-changes")
    ok(institution("POST", path, bodies[0]))
    awarded = institution("POST", "/v1/badges", award_body(moduleReference=reference))
    assert ok(awarded, 201)["moduleVersion"] == 2
