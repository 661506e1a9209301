"""Readiness names the relay and Kafka; a status is true while Kafka is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient
from kafka.errors import KafkaError

from api.app import create_app
from deploy.kafka.broker import Broker
from registry.kafka.brokers import Brokers
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError
from tests.api.asking import awarded, ok
from tests.kafka.streaming import Streaming
from tests.postgres.log import later, until
from tests.support import KEYS, Clock, Service


@pytest.fixture
def alone(url: str, own_broker: Broker) -> Iterator[tuple[Streaming, Service]]:
    """A registry on a broker of its own, and a service whose read models others keep, from Kafka."""
    own_broker.start()
    streaming = Streaming(url, own_broker.bootstrap_servers)
    app = create_app(url, KEYS, projecting=False, brokers=Brokers(streaming.kafka))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield streaming, Service(url, client, Clock())


def ready(service: Service) -> dict[str, Any]:
    return ok(service.client.get("/health/ready"))


def test_while_kafka_is_away_readiness_says_so_and_a_status_is_true(
    alone: tuple[Streaming, Service], own_broker: Broker
) -> None:
    streaming, service = alone
    until(lambda: ready(service)["reasons"] == ["No relay carries the log to Kafka."])
    institution = service.admitted()
    badge = awarded(institution)
    with streaming.consuming():
        # The relay ends because its broker is away.
        with suppress(KafkaError, TopicError), streaming.relaying():
            streaming.projected()
            until(lambda: ready(service)["status"] == "ready")
            at_work = ready(service)
            assert (at_work["kafka"], at_work["relay"]["active"]) == ("reachable", True)
            own_broker.kill()
            revoked = ok(institution("POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "fraud"}))
            status = ok(service.client.get(f"/v1/badges/{badge['id']}/status"))
            assert (status["status"], status["position"]) == ("revoked", revoked["position"])
            away = ready(service)
            assert (away["status"], away["kafka"]) == ("degraded", "unreachable")
            assert away["reasons"][0] == (
                "No broker of Kafka can be reached, so the read models do not advance."
            )
            assert away["relay"]["behindEvents"] == 1
            lacking = "No relay carries the log to Kafka: the topic lacks 1 of the log's events, for "
            until(lambda: any(reason.startswith(lacking) for reason in ready(service).get("reasons", ())))
            until(lambda: "registry_kafka_up 0.0" in service.as_("operator")("GET", "/metrics").text)
        own_broker.start()
        with streaming.relaying():
            until(lambda: ready(service)["status"] == "ready")
            assert ready(service)["kafka"] == "reachable"


def test_brokers_that_refuse_connections_are_away_for_all_who_ask_at_once() -> None:
    brokers = Brokers(KafkaSettings("127.0.0.1:1,[::1]:1"))
    answers = [later(brokers.answer) for _ in range(4)]
    assert [answer.result(30) for answer in answers] == [False] * 4
