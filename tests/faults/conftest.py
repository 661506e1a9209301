"""Fixtures: the same as of the tests from end to end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker
from tests.end_to_end.conftest import model, workshop
from tests.end_to_end.processes import Workshop
from tests.end_to_end.servers import OtherPostgres
from tests.faults.disk import SmallDisk
from tests.faults.fleet import Fleet, mend_brokers, pilot_server
from tests.faults.turmoil import BROKERS
from tests.kafka.conftest import ended
from tests.kafka.streaming import Streaming

__all__ = ["model", "workshop"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no disk can be mounted, a quota alone stands for one that is full."""
    on_a_disk = [each for each in items if "disk" in getattr(each, "fixturenames", ())]
    if on_a_disk and not _can_mount():
        config.hook.pytest_deselected(items=on_a_disk)
        items[:] = [each for each in items if each not in on_a_disk]


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return SmallDisk.is_possible(Path(folder))


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Three brokers, which tests may kill and freeze one after another."""
    found = Broker(tmp_path_factory.mktemp("brokers"))
    found.start(BROKERS)
    yield from ended(found)


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherPostgres]:
    """A PostgreSQL with the pilot's data, to be copied."""
    found = pilot_server(tmp_path_factory.mktemp("pilot") / "server")
    yield found
    found.end()


@pytest.fixture
def fleet(workshop: Workshop, pilot: OtherPostgres, brokers: Broker) -> Iterator[Fleet]:
    """Everyone at work, on topics and a database of their own."""
    mend_brokers(brokers)
    if not pilot.runs():
        pilot.start()
    url = pilot.copy()
    Streaming(url, brokers.bootstrap_servers).delete_topics()
    made = Fleet(workshop, pilot, url, brokers)
    yield made
    made.close()
    mend_brokers(brokers)
    print(made.said())
