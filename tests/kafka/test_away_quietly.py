"""Without Kafka each role says so once: hundreds of lines would hide what else goes wrong."""

from __future__ import annotations

import json
import re
import time

import pytest

from deploy.kafka.broker import Broker
from tests.end_to_end.conftest import model, workshop
from tests.end_to_end.processes import REGISTRY, Running, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token
from tests.faults.oracle import award_body
from tests.kafka.streaming import Streaming

__all__ = ["model", "workshop"]

MAX_LINES_A_MINUTE = 10
AWAY_SECONDS = 30
MAX_LINES = MAX_LINES_A_MINUTE * AWAY_SECONDS // 60


@pytest.mark.slow
def test_while_kafka_is_away_no_role_writes_more_than_ten_lines_a_minute_and_the_client_none(
    workshop: Workshop, own_broker: Broker
) -> None:
    own_broker.start()
    data = workshop.data()
    # As JSON, the log holds what a role says of its progress too.
    settings = {
        "data_dir": data,
        "log_format": "json",
        "kafka_bootstrap_servers": own_broker.bootstrap_servers,
    }
    serving = workshop.serve(data, **settings)
    url = serving.address and embedded_url(data)
    running: dict[str, Running] = {"serve": serving}
    for role in ("relay", "consume", "relay", "consume"):
        number = len(running)
        running[f"{role} {number}"] = workshop.run([REGISTRY, role], environment(**settings), workshop.folder)
    streaming = Streaming(url, own_broker.bootstrap_servers)
    streaming.settled()
    streaming.projected()

    before = {role: len(said(process)) for role, process in running.items()}
    own_broker.kill()
    until = time.monotonic() + AWAY_SECONDS
    with serving.client(make_token(url, "institution", institution="27UM"), seconds=30) as client:
        number = 0
        while time.monotonic() < until:
            # The relay has something to carry all the while, and whoever watches asks for health.
            number += 1
            assert client.ask("POST", "/v1/badges", award_body("27UM", f"away {number}")).status == 201
            assert client.ask("GET", "/health/ready").json["kafka"] == "unreachable"
            time.sleep(1)
    for role, process in running.items():
        lines = said(process)[before[role] :]
        assert len(lines) <= MAX_LINES, (role, lines)
        for line in lines:
            assert line["level"] != "ERROR", (role, line)
            assert not line["logger"].startswith("kafka"), (role, line)
        if "consume" in role:
            waits = [line for line in lines if re.search(r"wait for Kafka: .*be reached", line["message"])]
            assert len(waits) in (1, 2), (role, lines)  # two, where it began again just then
    relays = [
        line["message"] for role, process in running.items() if "relay" in role for line in said(process)
    ]
    assert any("relay begins again after" in line or "relay waits for Kafka" in line for line in relays)

    own_broker.start()
    streaming.settled()
    streaming.projected()
    for process in running.values():
        assert process.stop() == 0, process.said()


def said(process: Running) -> list[dict[str, str]]:
    """The log of a process, without the settings that `serve` names at its start."""
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
