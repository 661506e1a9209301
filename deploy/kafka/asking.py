"""Whether a broker answers, asked as every client asks."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

SECONDS = 5


def alive(address: str, seconds: float = SECONDS) -> set[int]:
    """The numbers of the brokers that the one at `address` (`host:port`, or several) counts as working."""
    if not any(_listens(each, seconds) for each in address.split(",")):
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
    return {int(str(each["broker_id"])) for each in brokers if not each.get("is_fenced")}


def _listens(address: str, seconds: float) -> bool:
    """A port at which nobody listens is told at once; the client tries for all its time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[] "), int(port)), seconds).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
