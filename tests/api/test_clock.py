"""While the clocks differ, every write answers 503 and every look-up goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from tests.api.asking import admitted, award_body, awarded, ok, refused
from tests.postgres.log import until
from tests.postgres.test_clock import Shifted, insert_ahead
from tests.support import INSTITUTION, KEYS, Clock, Service


@pytest.fixture
def time() -> Shifted:
    return Shifted()


@pytest.fixture
def service(url: str, time: Shifted) -> Iterator[Service]:
    clock = Clock()
    with TestClient(create_app(url, KEYS, clock, time=time), raise_server_exceptions=False) as client:
        yield Service(url, client, clock)


def gauge(service: Service, name: str) -> float:
    text = service.as_("operator")("GET", "/metrics").text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return next(sample.value for sample in samples if sample.name == name)


def check_nothing_is_recorded(service: Service, brin: str, institution: Any, badge: dict[str, Any]) -> None:
    """Each kind of write is refused; a look-up answers."""
    lines = b'{"reference":"x","moduleReference":"KLINRED","learner":{"eduId":"x"},"awardedOn":"2023-04-19"}'
    ndjson = {"Content-Type": "application/x-ndjson"}
    answers = [
        institution("POST", "/v1/badges", award_body()),
        institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other"}),
        institution("POST", f"/v1/badges/{badge['id']}/suspension", {"reason": "other"}),
        institution("POST", f"/v1/badges/{badge['id']}/correction", {"grade": "9"}),
        institution("POST", f"/v1/modules/{badge['moduleId']}/withdrawal"),
        service.as_("registrar")("PUT", f"/v1/institutions/{brin}", INSTITUTION | {"name": "Nieuw"}),
        service.as_("registrar")("POST", f"/v1/institutions/{brin}/suspension", {"reason": "quality"}),
    ]
    for answer in answers:
        assert "clocks" in refused(answer, 503, "not-ready")["detail"]
        assert answer.headers["Retry-After"] == "2"
    batch = institution("POST", "/v1/badge-batches", content=lines, headers=ndjson)
    assert "awarded" not in batch.text
    assert ok(service.client.get(f"/v1/badges/{badge['id']}/status"))["status"] == "active"
    assert service.client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("seconds", [6, -6])
def test_nothing_is_recorded_while_the_clocks_differ_and_reads_go_on(
    service: Service, time: Shifted, seconds: float
) -> None:
    brin, institution = admitted(service)
    badge = awarded(institution)
    last = service.settle()
    time.seconds = seconds
    check_nothing_is_recorded(service, brin, institution, badge)
    assert service.settle() == last
    assert round(gauge(service, "registry_clock_difference_seconds") / 6) == -seconds / 6
    time.seconds = 0
    awarded(institution)
    assert abs(gauge(service, "registry_clock_difference_seconds")) < 5


@pytest.mark.parametrize("seconds", [4, -4])
def test_it_records_while_the_clocks_differ_by_a_few_seconds(
    service: Service, time: Shifted, seconds: float
) -> None:
    _, institution = admitted(service)
    time.seconds = seconds
    # A machine that is busy for a second adds that to the difference.
    until(lambda: institution("POST", "/v1/badges", award_body()).status_code == 201)


def test_nothing_is_recorded_after_an_event_of_the_future_and_reads_go_on(service: Service) -> None:
    brin, institution = admitted(service)
    badge = awarded(institution)
    service.settle()
    insert_ahead(service.url, "10 years")
    last = ok(service.client.get("/health/ready"))["position"]
    check_nothing_is_recorded(service, brin, institution, badge)
    assert ok(service.client.get("/health/ready"))["position"] == last
    assert gauge(service, "registry_log_ahead_seconds") > 9 * 365 * 86_400
