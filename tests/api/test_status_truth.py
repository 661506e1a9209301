"""A status is never stale: it includes everything acknowledged, however far behind the read models are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from projections.all import read_models
from projections.badges.projection import Badges
from registry.domain import badge as badges
from registry.domain.values import iso_time
from registry.event_store.log import read_streams
from tests.api.asking import UNKNOWN_ID, Ask, award_body, awarded, new_reference, ok, refused
from tests.postgres.log import connection, execute, fresh, later, query, until
from tests.postgres.projecting import projectors, settled
from tests.support import KEYS, Clock, Databases, Service

ACTS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "suspend": ("POST", "suspension", {"reason": "investigation"}),
    "reinstate": ("DELETE", "suspension", None),
    "correct": ("POST", "correction", {"grade": "7"}),
    "revoke": ("POST", "revocation", {"reason": "fraud"}),
}


@pytest.fixture(scope="module")
def still(databases: Databases) -> Iterator[list[Service]]:
    """Two services on one database, whose read models stand still until a test projects."""
    with fresh(databases) as url, ExitStack() as stack:
        apps = [create_app(url, KEYS, projecting=False) for _ in range(2)]
        clients = [TestClient(app, raise_server_exceptions=False) for app in apps]
        yield [Service(url, stack.enter_context(client), Clock()) for client in clients]


@pytest.fixture(scope="module")
def institution(still: list[Service]) -> Ask:
    return still[0].admitted()


def project(url: str) -> None:
    with projectors(url, [Badges()]):
        settled(url, "badges")


def told(service: Service, badge_id: str) -> tuple[str, int]:
    before = iso_time(dt.datetime.now(dt.UTC))
    answer = ok(service.client.get(f"/v1/badges/{badge_id}/status"))
    assert before <= answer["asOf"] <= iso_time(dt.datetime.now(dt.UTC))
    return answer["status"], answer["position"]


def replayed(url: str, badge_id: str, position: int) -> tuple[str, str]:
    """The status and its time at a position, as the domain folds it from the log."""
    with connection(url) as opened, opened.cursor() as cursor:
        events = [logged.event() for logged in read_streams(cursor, [badge_id], position)]
        cursor.execute("SELECT time FROM event WHERE position = %s", (position,))
        (moment,) = cursor.fetchone() or (dt.datetime.max,)
    status, since = badges.status_of(badges.fold(events), moment)
    return status, iso_time(since)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from([*ACTS, "project"]), max_size=7), expired=st.booleans())
def test_after_each_acknowledgement_every_service_tells_the_new_status_while_read_models_stand_still(
    still: list[Service], institution: Ask, steps: list[str], expired: bool
) -> None:
    url = still[0].url
    more = {"validUntil": "2023-06-30"} if expired else {}
    badge = ok(institution("POST", "/v1/badges", award_body(**more)), 201)
    known = [(badge["status"], badge["position"])]
    for step in ["award", *steps]:
        if step == "project":
            project(url)
        elif step in ACTS:
            method, what, body = ACTS[step]
            answer = institution(method, f"/v1/badges/{badge['id']}/{what}", body)
            if answer.status_code != 409:
                known.append((ok(answer)["status"], answer.json()["position"]))
        for service in still:
            assert told(service, badge["id"]) == known[-1]
    auditor = still[1].as_("auditor")
    for _, position in known:
        path = f"/v1/badges/{badge['id']}/status"
        then = ok(auditor("GET", path, params={"asOf": position}))
        assert (then["status"], then["since"]) == replayed(url, badge["id"], position)


def test_a_status_waits_for_no_read_model(still: list[Service], institution: Ask) -> None:
    badge = awarded(institution)
    answer = still[1].client.get(f"/v1/badges/{badge['id']}/status?minPosition={badge['position']}")
    assert ok(answer)["position"] == badge["position"]


def test_only_a_badge_has_a_status(still: list[Service], institution: Ask) -> None:
    badge = awarded(institution)
    for unknown in (UNKNOWN_ID, badge["moduleId"], badge["learnerId"], "nonsense"):
        refused(still[0].client.get(f"/v1/badges/{unknown}/status"), 404, "not-found")


@contextmanager
def poisoned(url: str, badge_id: str) -> Iterator[int]:
    """The badge has an event of a later release; yields its position."""
    execute(
        url,
        "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
        " SELECT max(position) + 1, %s, 2, 'badge.transferred', 1, clock_timestamp(), '{}' FROM event",
        (badge_id,),
    )
    ((position,),) = query(url, "SELECT max(position) FROM event")
    yield position


def skip(url: str, position: int) -> None:
    execute(
        url,
        "INSERT INTO intervention (name, position, action, because) VALUES ('badges', %s, 'skip', 'a test')",
        (position,),
    )


def test_what_the_read_model_was_told_to_skip_counts_in_the_status_all_the_same(databases: Databases) -> None:
    """A skipped revocation would otherwise make a badge hold again."""
    with fresh(databases) as url, ExitStack() as stack:
        app = create_app(url, KEYS, projecting=False)
        client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
        service = Service(url, client, Clock())
        institution = service.admitted()
        badge = awarded(institution)
        project(url)
        path = f"/v1/badges/{badge['id']}"
        suspended = ok(institution("POST", f"{path}/suspension", {"reason": "appeal"}))
        skip(url, suspended["position"])
        reinstated = ok(institution("DELETE", f"{path}/suspension"))
        revoked = ok(institution("POST", f"{path}/revocation", {"reason": "fraud"}))
        skip(url, revoked["position"])
        with projectors(url, read_models()):
            settled(url)
        ((row,),) = query(url, "SELECT revoked_since IS NULL FROM badge")
        assert row, "the read model has skipped the revocation"
        assert told(service, badge["id"]) == ("revoked", revoked["position"])
        auditor = service.as_("auditor")
        for as_of in (badge, suspended, reinstated, revoked):
            seen = ok(auditor("GET", f"{path}/status", params={"asOf": as_of["position"]}))
            assert (seen["status"], seen["position"]) == (as_of["status"], as_of["position"])
        assert ok(institution("GET", path))["status"] == "revoked"


def test_a_badge_with_an_event_that_this_release_cannot_read_has_no_status_skipped_or_not(
    databases: Databases,
) -> None:
    with fresh(databases) as url, ExitStack() as stack:
        client = stack.enter_context(
            TestClient(create_app(url, KEYS, projecting=False), raise_server_exceptions=False)
        )
        service = Service(url, client, Clock())
        institution = service.admitted()
        badge, other = awarded(institution), awarded(institution, reference=new_reference())
        project(url)
        with poisoned(url, badge["id"]) as position:
            refused(client.get(f"/v1/badges/{badge['id']}/status"), 503, "not-ready")
            auditor = service.as_("auditor")
            path = f"/v1/badges/{badge['id']}/status"
            refused(auditor("GET", path, params={"asOf": position}), 503, "not-ready")
            assert told(service, other["id"]) == ("active", other["position"])
            skip(url, position)
            refused(client.get(path), 503, "not-ready")


# An append that is not committed yet: the badge's second event, with the bytes of another's revocation.
APPEND = """
SELECT append(
    ARRAY[(0, %s, 2, 'badge.revoked', 1, (SELECT data FROM event WHERE position = %s),
        NULL, NULL, NULL, NULL)::append_row],
    '{}', '{}', clock_timestamp()
)
"""
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"


def test_a_revocation_in_the_midst_of_its_commit_is_in_no_status_before_and_in_each_as_of_a_time_after(
    service: Service,
) -> None:
    """The promise of docs/decisions/0017: a time of the log lies before its commit."""
    institution, auditor = service.admitted(), service.as_("auditor")
    badge, other = awarded(institution), awarded(institution)
    revoked = ok(institution("POST", f"/v1/badges/{other['id']}/revocation", {"reason": "fraud"}))
    path = f"/v1/badges/{badge['id']}/status"

    def as_of(time: str) -> dict[str, Any]:
        return ok(auditor("GET", path, params={"asOf": time}))

    with connection(service.url) as writing, writing.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(APPEND, (badge["id"], revoked["position"]))
        answer = service.client.get(path)
        before = ok(answer)
        assert (before["status"], before["position"]) == ("active", badge["position"])
        asked = later(lambda: as_of(before["asOf"]))
        until(lambda: query(service.url, WAITS) == [(True,)])
        assert not asked.done()
        cursor.execute("COMMIT")
    after = ok(service.client.get(path))
    assert answer.headers["Registry-As-Of"] < after["since"] < before["asOf"] < after["asOf"]
    assert after["status"] == "revoked"
    assert asked.result(60) == as_of(before["asOf"]) == after | {"asOf": before["asOf"]}
    assert as_of(answer.headers["Registry-As-Of"])["status"] == "active"
