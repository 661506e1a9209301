"""Clients of Kafka that leave nothing behind where there is no broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")


def connected(kind: Callable[..., Client], **configuration: Any) -> Client:
    """A `KafkaConsumer`, `KafkaProducer` or `KafkaAdminClient` that has found a broker.

    Each starts a thread with its sockets before it looks for one, and does not end it when there is none:
    who tries for an hour would run out of both.
    """
    made: list[Any] = []

    def remembered(**given: Any) -> Any:
        made.append(KafkaNetClient(**given))
        return made[-1]

    try:
        return kind(**configuration, kafka_client=remembered)
    except BaseException:
        for each in made:
            each._manager.close()
            each._net.stop(1_000)
            each._net.close()
        raise
