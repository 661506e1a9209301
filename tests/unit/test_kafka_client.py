"""The Kafka client has the private members that `registry.kafka` calls: another release may not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.net.compat import KafkaNetClient

from registry.kafka import clients, transactions
from registry.kafka.settings import KafkaSettings
from tests.certificates import certificate

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


def test_a_consumer_has_a_coordinator_that_can_be_told_to_join_again() -> None:
    """As `consumers.kafka_feed` has it complete a join."""
    consumer = clients.connected(KafkaConsumer, **AWAY, api_version=(4, 0), group_id="a")
    coordinator = consumer._coordinator
    coordinator.rejoin_needed = False
    assert coordinator.rejoining is False
    coordinator.request_rejoin()
    assert coordinator.rejoin_needed
    consumer.close(timeout_ms=1)


MEETS = """
import resource, sys
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from registry.kafka.clients import connected
from registry.kafka.settings import KafkaSettings
from tests.certificates import certificate

kind = {kind.__name__: kind for kind in (KafkaAdminClient, KafkaConsumer, KafkaProducer)}[sys.argv[1]]
settings = KafkaSettings(sys.argv[2], *sys.argv[3:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    connected(kind, **settings.client() | {"bootstrap_timeout_ms": 2_000})
except KafkaError:
    print("no broker")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
MAX_GROWTH_MB = 100
"""A frame that the client accepts has up to half of this."""


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize("kind", [KafkaAdminClient, KafkaConsumer, KafkaProducer])
def test_a_peer_that_sends_an_endless_frame_takes_little_memory_and_is_no_broker(
    kind: type, protocol: str, tmp_path: Path
) -> None:
    certificate_file, key_file = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    peers: list[socket.socket] = []

    def speaking(peer: socket.socket) -> socket.socket:
        return context.wrap_socket(peer, server_side=True) if protocol == "SSL" else peer

    def serve() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listening.accept()
                threading.Thread(target=send, args=(peer,), daemon=True).start()

    def send(peer: socket.socket) -> None:
        with suppress(OSError), peer, speaking(peer) as spoken:
            request = spoken.recv(65536)
            peers.append(peer)
            spoken.sendall(b"\x7f\xff\xff\xf0" + request[8:12])  # a frame of 2 GB that answers the request
            for _ in range(600):
                spoken.sendall(bytes(1024 * 1024))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        server = f"localhost:{listening.getsockname()[1]}"
        files = [str(certificate_file)] if protocol == "SSL" else []
        done = subprocess.run(
            [sys.executable, "-c", MEETS, kind.__name__, server, protocol, *files],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert peers, "no client came"
    said, growth = done.stdout.splitlines()
    assert said == "no broker"
    assert int(growth) < MAX_GROWTH_MB
