"""What operations ask: alive, ready or degraded, how far behind, and who may read the metrics."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from api.app import create_app
from api.operations.health import WAITING_SECONDS
from projections.all import read_models
from registry import tokens
from registry.cli import database
from registry.postgres.connections import Login, connect
from registry.postgres.locks import Lock
from registry.release import RELEASE
from tests import support
from tests.api.asking import UNKNOWN_ID, admitted, award_body, awarded, held_up, ok, refused, status_of
from tests.kafka.topics import EVENTS
from tests.postgres import log
from tests.postgres.log import execute, fresh, later, until
from tests.support import MODULE, PATIENCE_SECONDS, Databases, Service, as_login


def test_a_service_says_that_it_lives_and_is_ready(service: Service) -> None:
    assert ok(service.client.get("/health/live")) == {"status": "live"}
    ready = ok(service.client.get("/health/ready"))
    models = [
        {"name": name, "position": 0, "behindEvents": 0, "behindSeconds": 0.0}
        for name in sorted(model.name for model in read_models())
    ]
    assert ready == {"status": "ready", "release": RELEASE, "position": 0, "readModels": models}


def test_a_service_whose_recorder_has_ended_is_not_ready_and_refuses_awards(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, institution = admitted(service)

    def defect(*_: Any) -> None:
        raise KeyError

    monkeypatch.setattr("registry.recording.page_recorder.settle", defect)
    refused(institution("POST", "/v1/badges", award_body()), 503, "not-ready")
    refused(service.client.get("/health/ready"), 503, "not-ready")
    assert ok(service.client.get("/health/live")) == {"status": "live"}


@pytest.mark.parametrize("login", ["registry_serve", "registry_stream"])
def test_whoever_holds_the_lock_of_all_writers_is_named_by_readiness(service: Service, login: Login) -> None:
    _, institution = admitted(service)
    reasons: list[str] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            refused(institution("POST", "/v1/badges", award_body()), 503, "not-ready")

    def named() -> bool:
        reasons[:] = ok(service.client.get("/health/ready")).get("reasons", [])
        return bool(reasons)

    def waits() -> float:
        return _metrics(service)["registry_writers_waiting_seconds", ""]

    with log.connection(as_login(service.url, login)) as holding, holding.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.APPEND,))
        writing = later(write)
        until(named)
        until(lambda: waits() > WAITING_SECONDS)
        done.set()
        (reason,) = reasons
        assert reason.startswith("Nothing can be recorded: a writer has waited for ")
        assert reason.endswith(f" s for the lock of process {holding.info.backend_pid} of PostgreSQL.")
        writing.result(60)
    awarded(institution)
    assert not named()
    assert waits() == 0


def test_readiness_says_how_far_behind_each_read_model_is(service: Service) -> None:
    _, institution = admitted(service)
    awarded(institution)
    end = service.settle()
    with held_up(service.url, "badge"):
        last = [awarded(institution) for _ in range(3)][-1]["position"]
        time.sleep(0.05)
        ready = ok(service.client.get("/health/ready"))
        models = {model["name"]: model for model in ready["readModels"]}
        assert (ready["status"], ready["position"]) == ("ready", last)
        assert (models["badges"]["position"], models["badges"]["behindEvents"]) == (end, last - end)
        assert models["badges"]["behindSeconds"] >= 0.05
        metrics = _metrics(service)
        assert metrics["registry_read_model_behind_events", "badges"] == last - end
        assert metrics["registry_read_model_behind_seconds", "badges"] >= 0.05
        assert metrics["registry_log_position", ""] == last
    service.settle()
    assert _metrics(service)["registry_read_model_behind_events", "badges"] == 0


def test_a_read_model_stops_at_a_poison_event_and_everything_else_goes_on(service: Service) -> None:
    brin, institution = admitted(service)
    badge = awarded(institution)
    end = service.settle()
    _poison(service.url, end + 1)
    later = awarded(institution)
    ready = _degraded(service)
    models = {model["name"]: model for model in ready["readModels"]}
    assert ready["position"] == later["position"]
    stopped = models["badges"]
    assert (stopped["position"], stopped["stoppedAt"]) == (end, end + 1)
    assert stopped["stoppedBecause"] == "badge.suspended: LookupError"
    assert "stoppedAt" not in models["catalogue"]
    assert _metrics(service)["registry_read_model_stopped", "badges"] == 1
    assert _metrics(service)["registry_read_model_stopped", "catalogue"] == 0
    # The other read model, what was there already, and writing go on.
    assert status_of(service, badge["id"], end)["status"] == "active"
    body = support.INSTITUTION | {"name": "Later"}
    changed = ok(service.as_("registrar")("PUT", f"/v1/institutions/{brin}", body))["position"]
    found = ok(service.client.get(f"/v1/institutions/{brin}", params={"minPosition": changed}))
    assert found["name"] == "Later"
    assert ok(service.client.get("/health/live")) == {"status": "live"}


def test_a_read_model_that_is_long_behind_is_a_reason_for_degraded(databases: Databases) -> None:
    with fresh(databases) as url:
        app = create_app(url, support.KEYS, projecting=False)
        with TestClient(app, raise_server_exceptions=False) as client:
            assert "reasons" not in ok(client.get("/health/ready"))
            execute(
                url,
                "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
                " VALUES (1, '27UM', 1, 'institution.admitted', 1, now() - interval '90 seconds', '{}')",
            )
            ready = ok(client.get("/health/ready"))
    assert ready["status"] == "degraded"
    assert len(ready["reasons"]) == len(read_models())
    assert re.fullmatch(
        r"The read model badges lacks 1 of the log's events, for 9\d s\.", ready["reasons"][0]
    )


def test_metrics_say_how_far_the_log_has_been_carried_once_a_topic_carries_it(service: Service) -> None:
    _, institution = admitted(service)
    last = awarded(institution)["position"]
    names = ("active", "position", "behind_events", "behind_seconds")
    assert not {name for name, _ in _metrics(service)} & {f"registry_relay_{name}" for name in names}
    connection = connect(service.url)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stream (topic, partitions, relayed) VALUES (%s, 1, %s)", (EVENTS, last - 1)
        )
        time.sleep(0.05)
        behind = _metrics(service)
        assert [behind[f"registry_relay_{name}", ""] for name in names[:3]] == [0, last - 1, 1]
        assert 0.05 <= behind["registry_relay_behind_seconds", ""] < 60
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.RELAY,))
        cursor.execute("UPDATE stream SET relayed = %s", (last,))
        level = _metrics(service)
        assert [level[f"registry_relay_{name}", ""] for name in names] == [1, last, 0, 0]
    connection.close()


def test_metrics_say_whether_the_database_answers_and_has_room(service: Service) -> None:
    measured = _metrics(service)
    assert (measured["registry_database_up", ""], measured["registry_database_room", ""]) == (1, 1)


def _poison(url: str, position: int) -> None:
    """Writes, past all rules, the suspension of a badge that was never awarded."""
    data = (
        '{"awardedOn":"2024-01-01","channel":"api","client":"x","institution":"27UM",'
        f'"learnerId":"{UNKNOWN_ID}","moduleId":"{UNKNOWN_ID}","moduleVersion":1,"reason":"other","salt":"00"}}'
    )
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
            " VALUES (%s, %s, 1, 'badge.suspended', 1, now(), %s)",
            (position, UNKNOWN_ID, data.encode()),
        )
    connection.close()


def _degraded(service: Service) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ready = ok(service.client.get("/health/ready"))
        stopped = {model["name"]: model for model in ready["readModels"] if "stoppedAt" in model}
        if set(stopped) == {"badges", "statistics"}:
            assert ready["status"] == "degraded"
            assert ready["reasons"] == [
                f"The read model {name} has stopped at event {model['stoppedAt']}."
                for name, model in stopped.items()
            ]
            return ready
        time.sleep(0.02)
    raise AssertionError("the read models of badges have not stopped")


def _metrics(service: Service) -> dict[tuple[str, str], float]:
    """Value by name and read model."""
    answer = service.as_("operator")("GET", "/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, sample.labels.get("read_model", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@contextmanager
def from_(service: Service, host: str) -> Iterator[TestClient]:
    """A client of the same service at another address."""
    client = TestClient(service.client.app, client=(host, 40_000), raise_server_exceptions=False)
    client.portal = service.client.portal
    yield client


PROXY_HEADERS = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "X-Client-IP",
    "CF-Connecting-IP",
    "True-Client-IP",
    "X-Any-Header-Of-A-Proxy",
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_metrics_are_open_on_the_loopback_but_not_through_a_proxy_on_it(
    shared_service: Service, host: str
) -> None:
    with from_(shared_service, host) as client:
        answer = client.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "API-Version" in answer.headers
        for header in PROXY_HEADERS:
            refused(client.get("/metrics", headers={header: "127.0.0.1"}), 401, "unauthenticated")
        scraper = {"Accept": "*/*", "X-Prometheus-Scrape-Timeout-Seconds": "10", "User-Agent": "Prometheus/3"}
        assert client.get("/metrics", headers=scraper).status_code == 200


def test_a_setting_closes_metrics_on_the_loopback_too(url: str) -> None:
    app = create_app(url, support.KEYS, metrics_need_token=True)
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 50_000)) as client:
        refused(client.get("/metrics"), 401, "unauthenticated")
        with database.owner(url) as connection:
            token = tokens.insert_token(connection, "operator", dt.timedelta(hours=1))
        assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "2001:db8::1", "::ffff:10.0.0.1", "testclient", "localhost", ""]
)
def test_metrics_elsewhere_are_for_the_operator(shared_service: Service, host: str) -> None:
    token = shared_service.token("operator")
    with from_(shared_service, host) as client:
        refused(client.get("/metrics"), 401, "unauthenticated")
        refused(client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}), 401, "unauthenticated")
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


def test_metrics_count_answers_by_route_and_hold_no_id(service: Service) -> None:
    brin, institution = admitted(service)
    badge = awarded(institution)
    service.settle()
    for _ in range(3):
        service.client.get(f"/v1/badges/{badge['id']}/status")
    service.client.get("/v1/nothing/" + badge["id"])
    service.client.request("BREW", "/v1/modules")
    institution("GET", f"/v1/institutions/{brin}/badges", params={"reference": "secret-reference"})
    text = service.as_("operator")("GET", "/metrics").text
    assert (badge["id"] in text, brin in text, "secret-reference" in text, "BREW" in text) == (False,) * 4
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "registry_http_requests_total"
    }
    (route,) = {route for _, route, _ in counted if route.endswith("/badges/{id}/status")}
    assert counted["GET", route, "200"] == 3
    assert sum(value for key, value in counted.items() if key[2] == "404") == 1


def test_without_its_database_the_service_asks_to_come_back_and_then_goes_on(databases: Databases) -> None:
    url = databases.fresh()
    with support.service(url) as service:
        _, institution = admitted(service)
        badge, body = awarded(institution), award_body()
        auditor, before = service.as_("auditor"), service.settle()
        assert auditor("GET", "/v1/events").status_code == 200
        operator = service.as_("operator")
        assert operator("GET", "/metrics").status_code == 200
        with _away(url, databases):
            refused(institution("POST", "/v1/badges", body), 503, "not-ready")
            refused(institution("POST", "/v1/modules", MODULE), 503, "not-ready")
            refused(institution("GET", f"/v1/badges/{badge['id']}"), 503, "not-ready")
            for path in (f"/v1/badges/{badge['id']}/status", "/v1/institutions", "/health/ready"):
                refused(service.client.get(path), 503, "not-ready")
            assert ok(service.client.get("/health/live")) == {"status": "live"}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while service.client.get("/health/ready").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ok(service.client.get("/health/ready"))["position"] == before
        written = ok(institution("POST", "/v1/badges", body), 201)
        assert written["position"] == before + 1
        assert status_of(service, written["id"], written["position"])["status"] == "active"
    databases.drop(url)


@contextmanager
def _away(url: str, databases: Databases) -> Iterator[None]:
    """The database takes no connection, and those that there are end."""
    name = url.rpartition("=")[2]
    connection = connect(databases.url("postgres"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    connection.close()
