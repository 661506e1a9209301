"""The log of the service: each answer can be found in it by its id, and nothing in it comes from a caller."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from registry.defects import WithoutTexts
from registry.logs import JsonFormatter, OncePerSecond, TextFormatter, request_id
from registry.release import RELEASE
from registry.tokens import token_id
from tests.api.asking import admitted, ok
from tests.api.test_routes_and_roles import ROUTES, World, world
from tests.support import KEYS, Clock, Service

__all__ = ["world"]

HEADER = "Registry-Request-Id"


class Lines(logging.Handler):
    """Formats each record as the process does, when it is logged."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines(JsonFormatter())
    ours = logging.getLogger("registry")  # the client of these tests logs its own requests
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    yield handler.lines
    ours.setLevel(level)
    ours.removeHandler(handler)


@pytest.fixture
def service(url: str) -> Iterator[Service]:
    clock = Clock()
    app = create_app(url, KEYS, clock, log_access=True)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(url, client, clock)


def accesses(lines: list[str]) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines) if line["logger"] == "registry.access"]


def test_every_answer_has_an_id_of_its_own(world: World) -> None:
    ids = [world.ask(world.nobody, route).headers[HEADER] for route in ROUTES]
    ids += [world.ask(ask, route).headers[HEADER] for ask in world.asks.values() for route in ROUTES]
    assert len(set(ids)) == len(ids)


def test_an_answer_is_logged_with_its_id_its_route_and_the_id_of_the_token(
    service: Service, lines: list[str]
) -> None:
    brin, _ = admitted(service)
    token = service.token("auditor")
    lines.clear()
    answer = service.client.get(
        "/v1/events?subject=geheim", headers={"Authorization": f"Bearer {token}", HEADER: "geheim"}
    )
    (line,) = accesses(lines)
    assert line.pop("milliseconds") >= 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "registry.access",
        "message": line["message"],
        "method": "GET",
        "route": "/events",
        "status": 200,
        "client": token_id(token),
        "requestId": answer.headers[HEADER],
    }
    service.client.get("/v1/geheim/geheim?geheim=geheim")
    service.client.request("GEHEIM", f"/v1/institutions/{brin}")
    assert "geheim" not in "".join(lines).lower()
    assert token.split("_", 2)[2] not in "".join(lines)
    assert len(accesses(lines)) == 3


def test_a_failure_is_logged_with_the_id_of_its_answer(url: str, lines: list[str]) -> None:
    def broken_clock() -> Any:
        raise LookupError("geheim")

    with TestClient(create_app(url, KEYS, broken_clock), raise_server_exceptions=False) as client:
        answer = client.get("/v1/modules")
    assert answer.status_code == 500
    failures = [line for line in map(json.loads, lines) if line["level"] == "ERROR"]
    assert [line["requestId"] for line in failures] == [answer.headers[HEADER]]
    assert "geheim" not in "".join(lines)


def test_without_the_setting_no_answer_is_logged(url: str, lines: list[str]) -> None:
    with TestClient(create_app(url, KEYS)) as client:
        client.get("/health/live")
    assert accesses(lines) == []


@pytest.mark.parametrize(
    "formatter", [JsonFormatter(), TextFormatter("%(asctime)s %(levelname)s %(message)s")]
)
def test_a_line_has_its_time_its_level_and_the_request_and_no_text_of_an_exception(
    formatter: logging.Formatter,
) -> None:
    before = request_id.set("abc")
    try:
        error = LookupError("geheim")
        record = logging.LogRecord(
            "registry", logging.WARNING, __file__, 1, 'a "quoted"\nline', (), (type(error), error, None)
        )
        assert WithoutTexts().filter(record)  # as each handler of a process does
        line = formatter.format(record)
    finally:
        request_id.reset(before)
    assert "WARNING" in line
    assert "abc" in line
    assert "20" in line
    if isinstance(formatter, JsonFormatter):
        assert "\n" not in line
        assert "LookupError" in json.loads(line)["message"]
    assert "geheim" not in line


def test_health_metrics_and_the_api_name_one_release(service: Service) -> None:
    assert ok(service.client.get("/health/ready"))["release"] == RELEASE
    assert service.client.get("/health/live").headers["API-Version"] == RELEASE
    assert ok(service.client.get("/v1/openapi.json"))["info"]["version"] == RELEASE
    text = service.as_("operator")("GET", "/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert [each.labels for each in samples if each.name == "registry_build_info"] == [{"release": RELEASE}]
    assert not [each.name for each in samples if each.name.endswith("_created")]


def test_a_warning_is_written_once_a_second_however_often_it_is_met(lines: list[str]) -> None:
    handler = logging.getLogger("registry").handlers[-1]
    handler.addFilter(OncePerSecond())
    log = logging.getLogger("registry.api")
    seconds = [1_000.0, 1_000.4, 1_000.999, 1_001.0, 1_001.5]
    for level, message in itertools.product((logging.WARNING, logging.ERROR), ("away %s", "full %s")):
        for created in seconds:
            record = log.makeRecord(log.name, level, __file__, 1, message, ("again",), None)
            record.created = created
            log.handle(record)
    met = Counter((line["level"], line["message"]) for line in map(json.loads, lines))
    assert met == {
        ("WARNING", "away again"): 2,
        ("WARNING", "full again"): 2,
        ("ERROR", "away again"): len(seconds),
        ("ERROR", "full again"): len(seconds),
    }
