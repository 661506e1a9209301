"""Tokens: auditors see whose they are, and a bearer is told in time that one ends."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry import tokens
from registry.domain.values import iso_time
from registry.recording import operators
from registry.tokens import EXPIRY_WARNING
from tests.api.asking import admitted, ok, refused
from tests.api.test_routes_and_roles import ROUTES, World, world
from tests.postgres.log import connection, execute, query, until
from tests.support import Service

__all__ = ["world"]

DAY = dt.timedelta(days=1)
HEADER = "Registry-Token-Expires"


def expiry(service: Service, token: str) -> str:
    rows = query(service.url, "SELECT expires_at FROM token WHERE id = %s", (tokens.token_id(token),))
    return iso_time(rows[0][0])


def asking(service: Service, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return lambda method, path, **more: service.client.request(
        method, path, **more | {"headers": headers | more.get("headers", {})}
    )


@pytest.mark.parametrize("route", [route for route, expected in ROUTES.items() if expected.who != "anyone"])
def test_every_answer_to_a_token_that_ends_within_14_days_says_so(world: World, route: str) -> None:
    for role in tokens.ROLES:
        of: dict[str, Any] = {"institution": {"institution": world.names["brin"]}}
        of["learner"] = {"learner_id": world.names["learnerId"]}
        soon = world.service.token(role, lifetime=13 * DAY, **of.get(role, {}))
        answer = world.ask(asking(world.service, soon), route)
        assert answer.headers[HEADER] == expiry(world.service, soon), (role, answer.status_code)
        late = world.service.token(role, lifetime=EXPIRY_WARNING + DAY, **of.get(role, {}))
        assert HEADER not in world.ask(asking(world.service, late), route).headers


def test_answers_without_a_token_say_nothing_of_one(world: World) -> None:
    for route in ROUTES:
        assert HEADER not in world.ask(world.nobody, route).headers


def test_an_auditor_reads_who_a_client_of_an_event_is(service: Service) -> None:
    brin, _ = admitted(service)
    with connection(service.url) as owner:
        token, expires_at = operators.create_token(
            owner, "institution", DAY, institution=brin, name="studielink"
        )
    body = {"name": "Nieuw", "reference": "NIEUW"}
    refused(asking(service, token)("POST", "/v1/modules", json=body), 400, "invalid-input")
    listed = ok(service.as_("auditor")("GET", "/v1/tokens"))["items"]
    (found,) = (each for each in listed if each["id"] == tokens.token_id(token))
    created_at = found.pop("createdAt")
    assert dt.datetime.fromisoformat(created_at) + DAY == expires_at
    found.pop("lastUsedOn", None)
    assert found == {
        "id": tokens.token_id(token),
        "role": "institution",
        "institution": brin,
        "name": "studielink",
        "expiresAt": iso_time(expires_at),
    }


def test_the_list_of_tokens_comes_in_pages_and_holds_no_secret_and_no_hash(service: Service) -> None:
    made = {service.token("statistician", name=f"number {number}") for number in range(5)}
    auditor = service.as_("auditor")
    seen: list[str] = []
    path = "/v1/tokens?limit=2"
    while True:
        answer = auditor("GET", path)
        for token in made:
            assert token.split("_", 2)[2] not in answer.text
        for item in ok(answer)["items"]:
            assert set(item) <= {"id", "role", "name", "createdAt", "expiresAt", "lastUsedOn"}
            seen.append(item["id"])
        if (following := answer.json()["next"]) is None:
            break
        path = f"/v1/tokens?limit=2&cursor={following}"
    assert seen == sorted(seen)
    assert {tokens.token_id(token) for token in made} < set(seen)
    refused(auditor("GET", "/v1/tokens?cursor=abc"), 400, "invalid-input")


def test_the_day_of_the_last_use_is_written_once_a_day(service: Service) -> None:
    token = service.token("auditor")
    token_id = tokens.token_id(token)

    def row() -> tuple[Any, ...]:
        return query(service.url, "SELECT last_used_on, xmin::text FROM token WHERE id = %s", (token_id,))[0]

    assert row()[0] is None
    ask = asking(service, token)
    ok(ask("GET", "/v1/tokens"))
    until(lambda: row()[0] == dt.datetime.now(dt.UTC).date())
    written = row()
    time.sleep(tokens.KEPT_SECONDS)
    ok(ask("GET", "/v1/tokens"))
    assert row() == written
    execute(service.url, "UPDATE token SET last_used_on = last_used_on - 1 WHERE id = %s", (token_id,))
    time.sleep(tokens.KEPT_SECONDS)
    ok(ask("GET", "/v1/tokens"))
    until(lambda: row()[0] == dt.datetime.now(dt.UTC).date())


def expiring(service: Service) -> float:
    text = service.as_("operator")("GET", "/metrics").text
    (found,) = (
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "registry_tokens_expiring"
    )
    return found


def test_a_metric_counts_the_tokens_in_use_that_end_soon(service: Service) -> None:
    token = service.token("auditor", lifetime=30 * DAY)
    spare = service.token("auditor", lifetime=30 * DAY)
    ok(asking(service, token)("GET", "/v1/tokens"))
    until(lambda: query(service.url, "SELECT FROM token WHERE last_used_on IS NOT NULL") != [])
    assert expiring(service) == 0
    execute(
        service.url,
        "UPDATE token SET expires_at = now() + interval '13 days', created_at = now() - interval '17 days'"
        " WHERE id = ANY (%s)",
        ([tokens.token_id(token), tokens.token_id(spare)],),
    )
    assert expiring(service) == 1
    with connection(service.url) as owner:
        assert operators.revoke_token(owner, tokens.token_id(token) or "")
    assert expiring(service) == 0
