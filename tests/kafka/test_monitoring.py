"""Relay and consumers as a supervisor sees them: alive all the while, and ready unless something hinders."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.kafka.broker import Broker
from tests.end_to_end.client import free_port, until
from tests.end_to_end.conftest import model, workshop
from tests.end_to_end.processes import REGISTRY, Running, Workshop, environment
from tests.end_to_end.test_monitoring import ask
from tests.support import PATIENCE_SECONDS

__all__ = ["model", "workshop"]


class Watched:
    """A role with a port for its health check."""

    def __init__(self, workshop: Workshop, role: str, data: Path, broker: Broker) -> None:
        self.port = free_port()
        settings = environment(
            data_dir=data, monitoring_port=self.port, kafka_bootstrap_servers=broker.bootstrap_servers
        )
        self.running: Running = workshop.run([REGISTRY, role], settings, workshop.folder)

    def live(self) -> int:
        return ask(self.port, "/health/live")[0]

    def ready(self) -> bool:
        try:
            return ask(self.port, "/health/ready") == (200, "ready\n")
        except urllib.error.URLError:
            return False  # the process has not come so far

    def lacks_kafka(self) -> bool:
        status, text = ask(self.port, "/health/ready")
        return status == 503 and "no broker of Kafka can be reached" in text

    def still(self) -> float:
        """Since when its slowest loop stands still, in seconds."""
        for family in text_string_to_metric_families(ask(self.port, "/metrics")[1]):
            for sample in family.samples:
                if sample.name == "registry_loop_still_seconds":
                    return sample.value
        raise AssertionError("the metric is missing")

    def turns(self) -> bool:
        """Whether its slowest loop turns: the time since its last turn falls now and then."""
        before = self.still()

        def fell() -> bool:
            nonlocal before
            earlier, before = before, self.still()
            return before < earlier

        return until(fell, PATIENCE_SECONDS, "another turn of the loop")


@pytest.mark.slow
def test_relays_and_consumers_are_alive_and_ready_at_work_and_standing_by_but_not_without_kafka(
    workshop: Workshop, own_broker: Broker
) -> None:
    own_broker.start()
    data = workshop.data()
    watched = [Watched(workshop, role, data, own_broker) for role in ("relay", "relay", "consume", "consume")]
    for each in watched:
        until(each.ready, PATIENCE_SECONDS, "a role that works or stands by")
        assert each.turns()
    own_broker.kill()
    for each in watched:
        until(each.lacks_kafka, PATIENCE_SECONDS, "a role that is hindered")
        assert each.turns()
        assert each.live() == 200
    own_broker.start()
    for each in watched:
        until(each.ready, PATIENCE_SECONDS, "a role that works again")
        assert each.running.stop() == 0, each.running.said()
