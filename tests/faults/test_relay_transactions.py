"""A page of the relay is carried whole or not at all, and nothing is sent after one was given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError
from kafka.protocol.metadata import CoordinatorType

from deploy.kafka.broker import Broker
from registry.kafka import transactions
from registry.kafka.relay import Carrier
from registry.kafka.topic_ends import event_tails
from registry.kafka.topics import settings_of
from registry.recording.registry import Registry
from tests.faults.fleet import PARTITIONS, mend_brokers
from tests.kafka.streaming import Streaming
from tests.kafka.test_relay import awards, check_topic
from tests.kafka.topics import EVENTS, STATUSES, TRANSACTIONAL_ID
from tests.postgres.log import connection
from tests.support import SLACK_SECONDS

pytestmark = pytest.mark.slow


@pytest.fixture
def spread(url: str, brokers: Broker) -> Iterator[Streaming]:
    """Topics of which each broker has some partitions, alone: one that is frozen takes these with it."""
    mend_brokers(brokers)
    found = Streaming(url, brokers.bootstrap_servers)
    found.delete_topics()
    found.make_topics(PARTITIONS)
    found.delete_topics()
    wanted = {
        name: {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": settings}
        for name, settings in settings_of(found.kafka).items()
    }
    with KafkaAdminClient(bootstrap_servers=brokers.bootstrap_servers.split(",")) as client:
        client.create_topics(wanted, wait_for_metadata=True)
    yield found
    mend_brokers(brokers)


def other_than_its_coordinator(producer: KafkaProducer) -> int:
    """A broker without which transactions can be committed."""
    coordinator = str(producer._transaction_manager.coordinator(CoordinatorType.TRANSACTION))
    return next(each for each in (3, 2, 1) if not coordinator.endswith(str(each)))


def test_a_page_of_which_one_broker_takes_nothing_is_not_committed_without_it(
    spread: Streaming, registry: Registry, brokers: Broker
) -> None:
    """The client gives up on these records after a time, and would commit the transaction all the same."""
    awards(registry, 40)
    with (
        connection(spread.url) as opened,
        opened.cursor() as cursor,
        transactions.producing(spread.kafka, TRANSACTIONAL_ID) as producer,
    ):
        producer.init_transactions()
        carrier = Carrier(cursor, producer, spread.kafka, event_tails(spread.kafka, PARTITIONS), 0)
        carried = carrier.carry()
        awards(registry, 40, "b")
        node = other_than_its_coordinator(producer)
        brokers.freeze(node)
        began = time.monotonic()
        with pytest.raises(KafkaError):
            carrier.carry()
        assert time.monotonic() - began < transactions.COMMIT_SECONDS + SLACK_SECONDS, (
            "it waits without a bound"
        )
        assert carrier.at == carried
    brokers.thaw(node)
    spread.relay_all()
    check_topic(spread, PARTITIONS)


def test_a_producer_that_was_given_up_sends_nothing_after_it(
    spread: Streaming, registry: Registry, brokers: Broker
) -> None:
    before = threading.active_count()
    with transactions.producing(spread.kafka, "somebody") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.partitions_for(EVENTS)  # else the frozen one may be asked for them
        brokers.freeze(3)
        for partition in range(PARTITIONS):
            producer.send(EVENTS, b"half a page", partition=partition)
    brokers.thaw(3)
    assert threading.active_count() == before, "its thread goes on"
    with transactions.producing(spread.kafka, "somebody") as next_one:
        next_one.init_transactions()
        assert [tail.position for tail in event_tails(spread.kafka, PARTITIONS)] == [0] * PARTITIONS
        next_one.begin_transaction()
        transactions.commit(next_one, [next_one.send(STATUSES, b"whole", b"key", partition=0)])
    assert spread.topics.values(STATUSES) == [b"whole"]
