"""Clients of Kafka that leave no thread or socket behind where there is no broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")


def connected(kind: Callable[..., Client], **configuration: Any) -> Client:
    """A `KafkaConsumer`, `KafkaProducer` or `KafkaAdminClient` that has found a broker.

    Each starts a thread with sockets before it looks for a broker, and does not end it where it finds none:
    a process that tried for an hour would run out of both.
    """
    net_clients: list[Any] = []

    def remembered(**options: Any) -> Any:
        net_clients.append(KafkaNetClient(**options))
        return net_clients[-1]

    try:
        return kind(**configuration, kafka_client=remembered)
    except BaseException:
        for net_client in net_clients:
            net_client._manager.close()
            net_client._net.stop(1_000)
            net_client._net.close()
        raise
