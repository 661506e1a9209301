"""Fixtures: one real broker for the whole run. Where it cannot start, the tests fail: none is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import Broker
from tests.kafka.topics import Topics


def ended(broker: Broker) -> Iterator[Broker]:
    """The broker; whatever a test did to it, it is gone afterwards."""
    try:
        yield broker
    finally:
        for node in broker.pids:
            broker.kill(node)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that tests share; it is neither killed nor stopped."""
    found = Broker(tmp_path_factory.mktemp("données du registre"))
    found.start()
    yield from ended(found)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of one test, not started yet."""
    yield from ended(Broker(tmp_path / "own data"))


@pytest.fixture
def topics(broker: Broker) -> Topics:
    return Topics(broker.bootstrap_servers)
