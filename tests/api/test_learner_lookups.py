"""An institution finds its own learners by its own key, and learns nothing about anybody else's."""

from __future__ import annotations

from typing import Any

import psycopg2.errors
import pytest

from projections.read_model import asking, institution
from registry.domain.institution import Origin
from registry.postgres.connections import Pool
from registry.recording.commands import RevokeBadge
from tests.api.asking import (
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
from tests.postgres.commands import registry_on
from tests.support import KEYS, Service

PATH = "/v1/learner-lookups"


def found(ask: Ask, asked: dict[str, Any], after: int = 0) -> str:
    answer = ok(ask("POST", PATH, asked, params={"minPosition": after}))
    assert set(answer) == {"learnerId"}
    return str(answer["learnerId"])


@pytest.mark.parametrize("kind", ["eduId", "eppn"])
def test_an_institution_finds_its_learner_in_any_capitals(shared_service: Service, kind: str) -> None:
    _, mine = admitted(shared_service)
    key = f"{new_reference('S')}@Hhs.nl"
    badge = awarded(mine, learner={kind: key})
    with nothing_recorded(shared_service):
        for spelt in (key, key.lower(), key.upper()):
            assert found(mine, {kind: spelt}, badge["position"]) == badge["learnerId"]
    ids = [item["id"] for item in ok(mine("GET", f"/v1/learners/{badge['learnerId']}/badges"))["items"]]
    assert ids == [badge["id"]]


@pytest.mark.parametrize("kind", ["eduId", "eppn"])
def test_anothers_learner_and_an_unknown_one_are_answered_by_the_same_bytes(
    shared_service: Service, kind: str
) -> None:
    _, mine = admitted(shared_service)
    _, other = admitted(shared_service)
    key = f"{new_reference('s')}@hhs.nl"
    awarded(mine, learner={kind: key})
    shared_service.settle()
    anothers, unknown = (other("POST", PATH, {kind: asked}) for asked in (key, f"x{key}"))
    refused(anothers, 404, "not-found")
    assert anothers.content == unknown.content
    of_a_request = {"date", "registry-request-id"}
    assert {name: value for name, value in anothers.headers.items() if name not in of_a_request} == {
        name: value for name, value in unknown.headers.items() if name not in of_a_request
    }


def test_an_eduid_of_two_institutions_is_found_by_both_and_an_eppn_by_its_own(
    shared_service: Service,
) -> None:
    asks = [admitted(shared_service)[1] for _ in range(2)]
    edu_id, eppn = new_reference("edu"), f"{new_reference('s')}@hhs.nl"
    by_edu_id = [awarded(ask, learner={"eduId": edu_id}) for ask in asks]
    by_eppn = [awarded(ask, learner={"eppn": eppn}) for ask in asks]
    for ask, one, other in zip(asks, by_edu_id, by_eppn, strict=True):
        assert found(ask, {"eduId": edu_id}, other["position"]) == one["learnerId"]
        assert found(ask, {"eppn": eppn}) == other["learnerId"]


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({}, ""),
        ({"eduId": "x", "eppn": "x@hhs.nl"}, ""),
        ({"eduId": ""}, "/eduId"),
        ({"eduId": 1}, "/eduId"),
        ({"eppn": "x" * 201}, "/eppn"),
        ({"eduId": "123456782"}, "/eduId"),
        ({"eduId": "x", "name": "J. de Vries"}, "/name"),
    ],
)
def test_a_look_up_names_one_identifier_of_its_form(hbo: Ask, asked: dict[str, Any], pointer: str) -> None:
    wrong(hbo("POST", PATH, asked), pointer)


@pytest.mark.parametrize("malformed", ["s61@hhs.nl", "nonsense", "1", "g" * 36])
def test_a_malformed_learner_id_is_refused_and_a_well_formed_unknown_one_has_no_badges(
    shared_service: Service, hbo: Ask, malformed: str
) -> None:
    for ask in (hbo, shared_service.as_("auditor")):
        text = wrong(ask("GET", f"/v1/learners/{malformed}/badges"), "/learnerId")["/learnerId"]
        assert "learner-lookups" in text
        unknown = "00000000-0000-4000-8000-00000000000a"
        assert ok(ask("GET", f"/v1/learners/{unknown}/badges")) == {"items": [], "next": None}


def test_the_reading_role_sees_the_alias_whose_key_it_states_and_no_other(shared_service: Service) -> None:
    brin, mine = admitted(shared_service)
    edu_id = new_reference("alias")
    badge = awarded(mine, learner={"eduId": edu_id})
    awarded(mine, learner={"eduId": new_reference("alias")})
    key = KEYS.alias_key("eduId", "eduid.nl", edu_id).hex()
    pool = Pool(shared_service.url, "registry_read", 1)
    for stated, expected in (
        ({}, []),
        ({"alias_key": key}, [(badge["learnerId"],)]),
        ({"alias_key": ""}, []),
    ):
        with asking(pool, institution(brin), **stated) as cursor:
            cursor.execute("SELECT learner_id FROM alias")
            assert cursor.fetchall() == expected
    with pool.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alias")
        assert cursor.fetchone() == (0,)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM alias")
    pool.close()


def test_an_institution_sees_the_history_of_its_own_badges_without_others_clients(
    shared_service: Service,
) -> None:
    brin, mine = admitted(shared_service)
    _, other = admitted(shared_service)
    badge = ok(mine("POST", "/v1/badges", award_body()), 201)
    path = f"/v1/badges/{badge['id']}"
    colleague = shared_service.institution(brin)
    ok(colleague("POST", f"{path}/suspension", {"reason": "appeal"}))
    whole = ok(shared_service.as_("auditor")("GET", f"{path}/history"))["items"]
    assert ok(mine("GET", f"{path}/history"))["items"] == whole
    assert all(len(event["data"]["client"]) == 16 for event in whole)
    with registry_on(shared_service.url) as registry:
        registry.record(RevokeBadge(brin, badge["id"], "other", None, None, Origin("import", "cli")))
    seen = ok(mine("GET", f"{path}/history"))["items"]
    full = ok(shared_service.as_("auditor")("GET", f"{path}/history"))["items"]
    assert seen[:2] == full[:2]
    assert full[2]["data"].pop("client") == "cli"
    assert seen[2] == full[2]
    refused(other("GET", f"{path}/history"), 404, "not-found")
    refused(shared_service.as_("statistician")("GET", f"{path}/history"), 403, "forbidden")
