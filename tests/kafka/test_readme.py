"""What README and the runbooks say to type where the log goes through Kafka, typed with a real broker."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker
from tests.end_to_end.client import Client, free_port, until
from tests.end_to_end.page_blocks import blocks
from tests.end_to_end.processes import DEMO_EVENTS, PROJECT, REGISTRY, Workshop, environment, registry
from tests.end_to_end.test_readme import RUNBOOKS
from tests.kafka.streaming import Streaming
from tests.support import PATIENCE_SECONDS


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_the_roles_run_apart_as_the_readme_says(workshop: Workshop, broker: Broker) -> None:
    Streaming("", broker.bootstrap_servers).delete_topics()
    (block,) = (block for block in blocks("README.md", "sh") if "relay &" in block.text)
    # `make` would install; the rest of its line, and all others, are as they stand.
    script = block.text.replace("make kafka-up", f"'{sys.executable}' -m deploy.kafka up")
    script = script.replace(".venv/bin/registry", f"'{REGISTRY}'")
    port = free_port()
    settings = environment(
        data_dir=workshop.empty_data(), port=port, kafka_bootstrap_servers=broker.bootstrap_servers
    )

    running = workshop.run(["/bin/sh", "-e", "-c", script], settings, PROJECT)

    running.line(r"^(relaying) from position 0, on 8 partitions")
    with Client(f"http://127.0.0.1:{port}") as client:

        def level() -> bool:
            try:
                health = client.ask("GET", "/health/ready").json
            except OSError:
                return False  # the relay may run before the service does
            return {model["position"] for model in health["readModels"]} == {health["position"]}

        until(level, PATIENCE_SECONDS, "read models that hold the log")
        assert client.ask("GET", "/health/ready").json["position"] == DEMO_EVENTS
        metrics = client.ask("GET", "/metrics").body.decode()
    assert "registry_relay_active 1.0" in metrics
    assert "registry_relay_behind_events 0.0" in metrics


@pytest.mark.slow
def test_what_the_runbooks_say_to_type_about_topics_works_one_after_the_other(
    workshop: Workshop, broker: Broker
) -> None:
    Streaming("", broker.bootstrap_servers).delete_topics()
    data = workshop.empty_data()
    assert registry("migrate", data_dir=data).status == 0
    settings = environment(data_dir=data, kafka_bootstrap_servers=broker.bootstrap_servers)
    found = [block for page in RUNBOOKS for block in blocks(page, "sh")]
    asked = [block for block in found if re.search(r"registry (topics|consume)", block.text)]
    assert len(asked) >= 7
    for block in asked:
        script = re.sub(r"\bregistry (?=topics|consume)", f"'{REGISTRY}' ", block.text)
        running = workshop.run(["/bin/sh", "-e", "-c", f"exec {script}"], settings, PROJECT)
        if "registry consume" in block.text:
            running.line("^(following the log)")
            assert running.stop() == 0, (str(block), running.said())
        else:
            assert running.process.wait(120) == 0, (str(block), running.said())
