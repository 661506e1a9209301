"""Institutions: admitted and changed by the registrar, suspended and reinstated, public in the catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import admit, changed, new_brin, nothing_recorded, ok, refused, wrong
from tests.support import INSTITUTION, Service

SHOWN = {"brin", "name", "nameEn", "kind", "schacHome", "admittedFrom", "suspended", "position"}


def test_the_registrar_admits_an_institution_and_anyone_can_read_it(shared_service: Service) -> None:
    brin, registrar = new_brin(), shared_service.as_("registrar")
    written = ok(registrar("PUT", f"/v1/institutions/{brin}", INSTITUTION), 201)
    assert written["brin"] == brin
    found = ok(
        shared_service.client.get(f"/v1/institutions/{brin}", params={"minPosition": written["position"]})
    )
    assert set(found) == SHOWN
    assert {name: found[name] for name in INSTITUTION} == INSTITUTION
    assert (found["brin"], found["suspended"], found["position"]) == (brin, False, written["position"])


def test_the_same_statement_again_changes_nothing(shared_service: Service) -> None:
    brin, registrar = new_brin(), shared_service.as_("registrar")
    first = ok(registrar("PUT", f"/v1/institutions/{brin}", INSTITUTION), 201)
    with nothing_recorded(shared_service):
        assert ok(registrar("PUT", f"/v1/institutions/{brin}", INSTITUTION)) == first


def test_another_statement_replaces_the_whole(shared_service: Service) -> None:
    brin, registrar = new_brin(), shared_service.as_("registrar")
    first = ok(registrar("PUT", f"/v1/institutions/{brin}", INSTITUTION), 201)
    stated = {"name": "Nieuw", "kind": "wo", "admittedFrom": "2023-01-01", "admittedUntil": "2030-12-31"}
    later = ok(registrar("PUT", f"/v1/institutions/{brin}", stated))
    assert later["position"] > first["position"]
    found = ok(
        shared_service.client.get(f"/v1/institutions/{brin}", params={"minPosition": later["position"]})
    )
    assert found == stated | {"brin": brin, "suspended": False, "position": later["position"]}


@pytest.mark.parametrize("kind", ["hbo", "wo", "mbo"])
def test_each_sector_can_be_admitted(shared_service: Service, kind: str) -> None:
    body = changed(INSTITUTION, kind=kind)
    ok(shared_service.as_("registrar")("PUT", f"/v1/institutions/{new_brin()}", body), 201)


@pytest.mark.parametrize("brin", ["27um", "2UMM", "27UMM", "27U", "AAUM", "27U-", "２７UM", "27%20"])
def test_only_a_brin_can_be_admitted(shared_service: Service, brin: str) -> None:
    with nothing_recorded(shared_service):
        wrong(shared_service.as_("registrar")("PUT", f"/v1/institutions/{brin}", INSTITUTION), "/brin")


BAD_MEMBERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ...}, ["/name"]),
    ({"name": ""}, ["/name"]),
    ({"name": "x" * 256}, ["/name"]),
    ({"name": None}, ["/name"]),
    ({"nameEn": 5}, ["/nameEn"]),
    ({"kind": "HBO"}, ["/kind"]),
    ({"kind": "university"}, ["/kind"]),
    ({"schacHome": "no domain"}, ["/schacHome"]),
    ({"schacHome": "hhs.nl\n"}, ["/schacHome"]),
    ({"admittedFrom": ...}, ["/admittedFrom"]),
    ({"admittedFrom": "2022-2-1"}, ["/admittedFrom"]),
    ({"admittedFrom": "2022-02-30"}, ["/admittedFrom"]),
    ({"admittedFrom": "20220201"}, ["/admittedFrom"]),
    ({"admittedFrom": "2022-W05-2"}, ["/admittedFrom"]),
    ({"admittedFrom": 20220201}, ["/admittedFrom"]),
    ({"admittedUntil": "2022-01-31"}, ["/admittedUntil"]),
    ({"brin": "27UM"}, ["/brin"]),
    ({"name": "", "kind": "x", "admittedFrom": "x", "y": 1}, ["/admittedFrom", "/kind", "/name", "/y"]),
]


@pytest.mark.parametrize(("changes", "pointers"), BAD_MEMBERS)
def test_all_that_is_wrong_with_a_statement_is_said_at_once(
    shared_service: Service, changes: dict[str, Any], pointers: list[str]
) -> None:
    registrar = shared_service.as_("registrar")
    with nothing_recorded(shared_service):
        wrong(registrar("PUT", f"/v1/institutions/{new_brin()}", changed(INSTITUTION, **changes)), *pointers)


def test_a_name_has_at_most_255_characters_counted_in_nfc(shared_service: Service) -> None:
    brin, registrar = new_brin(), shared_service.as_("registrar")
    body = changed(INSTITUTION, name="e\u0301" * 255)
    position = ok(registrar("PUT", f"/v1/institutions/{brin}", body), 201)["position"]
    found = ok(shared_service.client.get(f"/v1/institutions/{brin}", params={"minPosition": position}))
    assert found["name"] == "é" * 255
    with nothing_recorded(shared_service):
        ok(registrar("PUT", f"/v1/institutions/{brin}", changed(INSTITUTION, name="é" * 255)))


@pytest.mark.parametrize("reason", ["accreditation", "quality", "request", "other"])
def test_an_institution_is_suspended_and_reinstated(shared_service: Service, reason: str) -> None:
    brin, _ = admit(shared_service)
    registrar, path = shared_service.as_("registrar"), f"/v1/institutions/{brin}"
    suspended = ok(registrar("POST", f"{path}/suspension", {"reason": reason, "note": "Besluit\n12"}))
    assert suspended["brin"] == brin
    found = ok(shared_service.client.get(path, params={"minPosition": suspended["position"]}))
    assert found["suspended"] is True
    assert reason not in found.values()
    assert "Besluit" not in str(found)
    reinstated = ok(registrar("DELETE", f"{path}/suspension"))
    assert reinstated["position"] > suspended["position"]
    found = ok(shared_service.client.get(path, params={"minPosition": reinstated["position"]}))
    assert set(found) == SHOWN
    assert found["suspended"] is False


def test_suspending_again_for_the_same_reason_changes_nothing_and_for_another_is_refused(
    shared_service: Service,
) -> None:
    brin, _ = admit(shared_service)
    registrar, path = shared_service.as_("registrar"), f"/v1/institutions/{brin}/suspension"
    first = ok(registrar("POST", path, {"reason": "quality"}))
    with nothing_recorded(shared_service):
        assert ok(registrar("POST", path, {"reason": "quality", "note": "nog eens"})) == first
        refused(registrar("POST", path, {"reason": "other"}), 409, "already-suspended")


def test_reinstating_what_is_not_suspended_changes_nothing(shared_service: Service) -> None:
    brin, _ = admit(shared_service)
    registrar, path = shared_service.as_("registrar"), f"/v1/institutions/{brin}/suspension"
    with nothing_recorded(shared_service):
        first = ok(registrar("DELETE", path))
        assert ok(registrar("DELETE", path)) == first


@pytest.mark.parametrize("brin", ["99ZZ", "nothing", "27um", "00000000-0000-8000-8000-000000000000"])
def test_an_unknown_institution_can_be_neither_suspended_nor_read(shared_service: Service, brin: str) -> None:
    registrar = shared_service.as_("registrar")
    with nothing_recorded(shared_service):
        suspending = registrar("POST", f"/v1/institutions/{brin}/suspension", {"reason": "other"})
        refused(suspending, 404, "institution-unknown")
        refused(registrar("DELETE", f"/v1/institutions/{brin}/suspension"), 404, "institution-unknown")
    assert shared_service.client.get(f"/v1/institutions/{brin}").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/reason"]),
        ({"reason": "fraud"}, ["/reason"]),
        ({"reason": None}, ["/reason"]),
        ({"reason": "other", "note": ""}, ["/note"]),
        ({"reason": "other", "note": "x\u202ey"}, ["/note"]),
        ({"reason": "", "note": 1, "until": "2030-01-01"}, ["/note", "/reason", "/until"]),
    ],
)
def test_a_suspension_that_is_not_as_the_contract_asks_is_refused(
    shared_service: Service, body: dict[str, Any], pointers: list[str]
) -> None:
    brin, _ = admit(shared_service)
    with nothing_recorded(shared_service):
        wrong(shared_service.as_("registrar")("POST", f"/v1/institutions/{brin}/suspension", body), *pointers)
