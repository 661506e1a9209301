"""Two registries on one cluster, each under a prefix of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient

from deploy.kafka.broker import Broker
from registry.kafka.records import PROGRESS
from registry.kafka.settings import KafkaSettings
from registry.recording.registry import Registry
from tests.kafka.streaming import Streaming
from tests.postgres.commands import admitted, award, registry_on
from tests.postgres.log import fresh, whole_log
from tests.support import Databases


@pytest.fixture
def acceptance(databases: Databases, broker: Broker) -> Iterator[tuple[Streaming, Registry]]:
    """Another registry, of more events, on the same cluster."""
    servers = broker.bootstrap_servers
    kafka = KafkaSettings(servers, prefix="acceptance.registry")
    with KafkaAdminClient(**kafka.client()) as client:
        if there := set(client.list_topics()) & {kafka.events, kafka.statuses}:
            client.delete_topics(sorted(there))
    with fresh(databases) as url, registry_on(url) as registry:
        admitted(registry, "27UM")
        yield Streaming(url, servers, kafka), registry


def values(streaming: Streaming) -> list[bytes]:
    return [
        record.value
        for record in streaming.topics.records(streaming.kafka.events)
        if ("ce_type", PROGRESS.encode()) not in record.headers
    ]


def test_two_registries_relay_and_consume_on_one_cluster_and_neither_meets_the_other(
    streaming: Streaming, registry: Registry, acceptance: tuple[Streaming, Registry]
) -> None:
    other, other_registry = acceptance
    with streaming.relaying(), other.relaying(), streaming.consuming(), other.consuming():
        for number in range(5):
            award(registry, "27UM", f"production {number}", "a")
            award(other_registry, "27UM", f"acceptance {number}", "a")
        for each in (streaming, other):
            each.settled()
            each.projected()
    assert values(streaming) == [event.data for event in whole_log(streaming.url)]
    assert values(other) == [event.data for event in whole_log(other.url)]
    assert values(streaming) != values(other)
