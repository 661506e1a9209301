"""Nobody sees another's: not in a list, not by a filter, and not when a query forgets to say who asks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2.errors
import pytest

from projections import read_model
from projections.badges import queries
from projections.badges.queries import Filter
from projections.read_model import AUDITOR, Asker, asking
from registry.event_store.vault import Vault
from registry.postgres.connections import Cursor, Pool
from tests import support
from tests.api.asking import UNKNOWN_ID, Ask, admitted, award_body, ok, refused, wrong
from tests.postgres.log import connection
from tests.support import KEYS, Databases, Service

EMPTY: dict[str, Any] = {"items": [], "next": None}
NOW = support.Clock()


@dataclass
class Two:
    """One learner with a badge of each of two institutions, under one reference."""

    service: Service
    brins: tuple[str, str]
    asks: tuple[Ask, Ask]
    badges: tuple[str, str]
    modules: tuple[str, str]
    learner: str
    reference: str


@pytest.fixture(scope="module")
def two(databases: Databases) -> Iterator[Two]:
    url = databases.fresh()
    with support.service(url) as service:
        (one, ask), (other, other_ask) = admitted(service), admitted(service)
        body = award_body()
        first, second = (ok(each("POST", "/v1/badges", body), 201) for each in (ask, other_ask))
        ok(ask("POST", f"/v1/badges/{first['id']}/suspension", {"reason": "appeal", "note": "geheim"}))
        service.settle()
        yield Two(
            service,
            (one, other),
            (ask, other_ask),
            (first["id"], second["id"]),
            (first["moduleId"], second["moduleId"]),
            first["learnerId"],
            body["reference"],
        )
    databases.drop(url)


def ids(answer: object) -> list[str]:
    return [item["id"] for item in ok(answer)["items"]]


def test_each_institution_sees_its_own_badge_of_a_learner_and_the_learner_both(two: Two) -> None:
    path = f"/v1/learners/{two.learner}/badges"
    for place in (0, 1):
        assert ids(two.asks[place]("GET", path)) == [two.badges[place]]
        assert ids(two.asks[place]("GET", f"/v1/institutions/{two.brins[place]}/badges")) == [
            two.badges[place]
        ]
    both = [two.badges[1], two.badges[0]]
    assert ids(two.service.as_("learner", learner_id=two.learner)("GET", path)) == both
    assert ids(two.service.as_("auditor")("GET", path)) == both


def test_an_institution_cannot_tell_an_unknown_learner_from_one_it_never_awarded(two: Two) -> None:
    _, stranger = admitted(two.service)
    for learner in (two.learner, UNKNOWN_ID):
        assert ok(stranger("GET", f"/v1/learners/{learner}/badges")) == EMPTY


def test_an_institution_cannot_tell_anothers_badge_from_an_unknown_one(two: Two) -> None:
    told = [
        refused(two.asks[1]("GET", f"/v1/badges/{each}"), 404, "not-found")
        for each in (two.badges[0], UNKNOWN_ID)
    ]
    assert told[0]["detail"] == told[1]["detail"]


def test_anothers_lists_are_refused_whatever_the_filter(two: Two) -> None:
    for more in ({}, {"reference": two.reference}, {"status": "suspended"}):
        one = two.asks[1]("GET", f"/v1/institutions/{two.brins[0]}/badges", params=more)
        refused(one, 403, "forbidden")
        one = two.asks[1]("GET", f"/v1/modules/{two.modules[0]}/badges", params=more)
        refused(one, 403, "module-of-another")


def test_a_reference_finds_ones_own_award_only(two: Two) -> None:
    for place in (0, 1):
        for path in (
            f"/v1/institutions/{two.brins[place]}/badges",
            f"/v1/modules/{two.modules[place]}/badges",
        ):
            found = two.asks[place]("GET", path, params={"reference": two.reference})
            assert ids(found) == [two.badges[place]]
            assert ok(two.asks[place]("GET", path, params={"reference": "another"})) == EMPTY


def test_an_auditor_sees_no_reference_and_asks_by_none(two: Two) -> None:
    auditor = two.service.as_("auditor")
    lists = (
        f"/v1/institutions/{two.brins[0]}/badges",
        f"/v1/modules/{two.modules[0]}/badges",
        f"/v1/learners/{two.learner}/badges",
    )
    for path in lists:
        answer = auditor("GET", path)
        assert two.badges[0] in ids(answer)
        assert two.reference not in answer.text
        assert all("reference" not in item for item in answer.json()["items"])
    for path in lists[:2]:
        wrong(auditor("GET", path, params={"reference": two.reference}), "/reference")


def test_an_auditor_sees_no_private_part_and_no_note(two: Two) -> None:
    answer = two.service.as_("auditor")("GET", f"/v1/badges/{two.badges[0]}")
    assert set(ok(answer)).isdisjoint({"learner", "reference", "grade", "evidence"})
    assert "note" not in ok(answer)["suspension"]
    for private in ("geheim", "A. Jansen", "a@example.org", "a1b2c3d4", "Portfolio", two.reference):
        assert private not in answer.text


def test_a_learner_asks_for_no_list_of_an_institution(two: Two) -> None:
    learner = two.service.as_("learner", learner_id=two.learner)
    for path in (f"/v1/institutions/{two.brins[0]}/badges", f"/v1/modules/{two.modules[0]}/badges"):
        refused(learner("GET", path), 403, "forbidden")


def test_lists_of_what_is_unknown_are_not_found_by_an_auditor(two: Two) -> None:
    auditor = two.service.as_("auditor")
    refused(auditor("GET", "/v1/institutions/99ZZ/badges"), 404, "not-found")
    refused(auditor("GET", f"/v1/modules/{UNKNOWN_ID}/badges"), 404, "not-found")
    refused(auditor("GET", "/v1/modules/KLINRED/badges"), 404, "not-found")


# Beneath: the same, held by the database, for a query that forgets.


@pytest.fixture(scope="module")
def pool(two: Two) -> Iterator[Pool]:
    made = Pool(two.service.url, "registry_read", 2)
    yield made
    made.close()


@contextmanager
def nobody_asking(pool: Pool) -> Iterator[Cursor]:
    """A reading cursor to which nothing was said about who asks."""
    with pool.cursor() as cursor:
        yield cursor


def _listed(cursor: Cursor, asker: Asker, learner: str) -> set[str]:
    _, found = queries.list_badges(cursor, asker, ("learner_id", learner), Filter(), NOW(), 2**62, 100)
    return {badge.row.id for badge in found}


def test_a_query_for_which_no_asker_was_named_gets_nothing(two: Two, pool: Pool) -> None:
    for asker in (AUDITOR, read_model.institution(two.brins[0]), read_model.learner(two.learner)):
        with nobody_asking(pool) as cursor:
            assert _listed(cursor, asker, two.learner) == set()
            assert queries.read_badge(cursor, asker, two.badges[0])[1] is None
            assert Vault(KEYS).read_awards(cursor, list(two.badges)) == {}
            assert {parts.note for parts in Vault(KEYS).read_notes(cursor, two.badges[0]).values()} == {None}


def test_a_query_without_its_tenant_gets_the_askers_rows_only(two: Two, pool: Pool) -> None:
    for place in (0, 1):
        with asking(pool, read_model.institution(two.brins[place])) as cursor:
            assert _listed(cursor, AUDITOR, two.learner) == {two.badges[place]}
            assert queries.read_badge(cursor, AUDITOR, two.badges[1 - place])[1] is None
            assert set(Vault(KEYS).read_awards(cursor, list(two.badges))) == {two.badges[place]}
    with asking(pool, read_model.institution(two.brins[1])) as cursor:
        assert {parts.note for parts in Vault(KEYS).read_notes(cursor, two.badges[0]).values()} == {None}


def test_who_asks_is_forgotten_with_its_statement(two: Two, pool: Pool) -> None:
    with asking(pool, AUDITOR) as cursor:
        assert _listed(cursor, AUDITOR, two.learner) == set(two.badges)
    for _ in range(4):
        with pool.cursor() as cursor:
            assert _listed(cursor, AUDITOR, two.learner) == set()


@pytest.mark.parametrize(
    "asker",
    ["", "institution/", "institution", "learner/", "learner/%", "Auditor", "auditors", "operator", "%", "*"],
)
def test_what_is_no_asker_sees_nothing(two: Two, pool: Pool, asker: str) -> None:
    with asking(pool, asker) as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM badge), (SELECT count(*) FROM vault)")
        assert cursor.fetchone() == (0, 0)


MOVED = {
    "vault": "UPDATE vault SET institution = %(mine)s WHERE institution = %(theirs)s",
    "badge": "UPDATE badge SET institution = %(mine)s WHERE institution = %(theirs)s",
    "event": "UPDATE event SET data = convert_to(replace(convert_from(data, 'UTF8'),"
    " '\"institution\":\"' || %(theirs)s, '\"institution\":\"' || %(mine)s), 'UTF8')"
    " WHERE type LIKE 'badge.%%'",
}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_who_moves_rows_of_another_institution_to_its_own_still_reads_no_learner(
    databases: Databases, count: int
) -> None:
    """The rows are changed with the database's own means; what is missing is the key."""
    for tables in itertools.combinations(MOVED, count):
        url = databases.fresh()
        with support.service(url) as service:
            (theirs, ask), (mine, other) = admitted(service), admitted(service)
            body = award_body()
            badge = ok(ask("POST", "/v1/badges", body), 201)["id"]
            ok(ask("POST", f"/v1/badges/{badge}/suspension", {"reason": "appeal", "note": "geheim"}))
            service.settle()
            with connection(url) as moving, moving.cursor() as cursor:
                cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
                for table in tables:
                    cursor.execute(MOVED[table], {"mine": mine, "theirs": theirs})
                    assert cursor.rowcount > 0
            for path in (f"/v1/badges/{badge}", f"/v1/institutions/{mine}/badges"):
                answer = other("GET", path)
                for word in ("Jansen", "a1b2c3d4", "example.org", body["reference"], "geheim"):
                    assert word not in answer.text, (tables, path)
        databases.drop(url)


def test_an_auditor_and_a_stranger_open_no_vault(two: Two, pool: Pool) -> None:
    for asker in (AUDITOR, read_model.institution("99ZZ"), read_model.learner(UNKNOWN_ID)):
        with asking(pool, asker) as cursor:
            cursor.execute("SELECT count(*) FROM vault")
            assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO alias (key, learner_id) VALUES ('', '00000000-0000-4000-8000-000000000000')",
        "INSERT INTO vault (position, institution, sealed) VALUES (99, '27UM', '')",
        "UPDATE badge SET revoked_since = NULL",
        "DELETE FROM event",
        "UPDATE token SET role = 'auditor'",
    ],
)
def test_the_reading_role_may_not_look_or_write_elsewhere(two: Two, pool: Pool, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), asking(pool, AUDITOR) as cursor:
        cursor.execute(statement)
