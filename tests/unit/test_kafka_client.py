"""The Kafka client has the private members that `registry.kafka` calls: another release may not."""

from __future__ import annotations

import threading

from kafka import KafkaProducer
from kafka.net.compat import KafkaNetClient

from registry.kafka import clients, transactions
from registry.kafka.settings import KafkaSettings

AWAY = KafkaSettings("127.0.0.1:1").client()


def test_a_network_client_has_a_manager_and_a_network_that_can_be_closed() -> None:
    """As `clients.connected` closes them where no broker answers."""
    client = KafkaNetClient(**AWAY)
    client._manager.close()
    client._net.stop(1_000)
    client._net.close()


def test_a_producer_has_a_sender_that_can_be_ended_without_a_broker() -> None:
    """As `transactions.producing` abandons it."""
    producer = clients.connected(KafkaProducer, **AWAY, api_version=(4, 0))
    sender: threading.Thread = producer._sender
    assert sender.is_alive()
    transactions._abandon(producer)
    assert not sender.is_alive()
