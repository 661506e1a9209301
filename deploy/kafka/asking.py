"""Checks whether a broker answers, in the way in which every client asks."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

SECONDS = 5


def alive(address: str, seconds: float = SECONDS) -> set[int]:
    """The numbers of the working brokers, as the one at `address` (`host:port`, or several) sees them."""
    if not any(_listens(server, seconds) for server in address.split(",")):
        return set()
    milliseconds = int(seconds * 1000)
    try:
        client = KafkaAdminClient(
            bootstrap_servers=address.split(","),
            bootstrap_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds,
        )
    except (KafkaError, ValueError, OSError):
        return set()
    try:
        return _working(client.describe_cluster()["brokers"])
    except KafkaError:
        return set()
    finally:
        client.close()


def _working(brokers: Iterable[dict[str, object]]) -> set[int]:
    return {int(str(broker["broker_id"])) for broker in brokers if not broker.get("is_fenced")}


def _listens(address: str, seconds: float) -> bool:
    """Notices at once that nobody listens on a port, for which the client would need all its time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[] "), int(port)), seconds).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
