"""Clients of Kafka that leave no thread or socket behind when no broker answers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")
MAX_READ_BYTES = 1024 * 1024
RECORD_BYTES = 64 * 1024
"""More than a record of TLS, so that nothing of it is left where the selector does not see it."""


def connected(kind: Callable[..., Client], **configuration: Any) -> Client:
    """A `KafkaConsumer`, `KafkaProducer` or `KafkaAdminClient` that has found a broker.

    Each starts a thread with sockets before it looks for a broker, and does not end it where it finds none:
    a process that tried for an hour would run out of both.
    """
    net_clients: list[Any] = []

    def remembered(**options: Any) -> Any:
        net_client = KafkaNetClient(**options)
        net_clients.append(net_client)
        _bound_reads(net_client._manager)
        return net_client

    try:
        return kind(**configuration, kafka_client=remembered)
    except BaseException:
        for net_client in net_clients:
            net_client._manager.close()
            net_client._net.stop(1_000)
            net_client._net.close()
        raise


def _bound_reads(manager: Any) -> None:
    """Makes the client look at the size of a frame before it reads much of it.

    Its own transports read until the socket is empty, and only then look at what came: memory grows without
    end while a peer sends faster than the client reads.
    """
    build: Callable[..., Any] = manager._build_transport

    async def built(*arguments: Any, **named: Any) -> Any:
        transport = await build(*arguments, **named)
        transport._sock_recv = partial(_receive, transport)
        return transport

    manager._build_transport = built


def _receive(transport: Any) -> tuple[bytes, KafkaConnectionError | None]:
    """What the socket has, at most about `MAX_READ_BYTES`, and the error that ended it."""
    received, error = bytearray(), None
    while len(received) < MAX_READ_BYTES:
        try:
            part = transport._sock.recv(RECORD_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            break
        except OSError as lost:
            error = KafkaConnectionError(lost)
            break
        if not part:
            error = KafkaConnectionError("the broker has closed the connection")
            break
        received += part
    return bytes(received), error
