"""How to reach Kafka: all that is wrong said at once, and what is set reaches the client."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from registry.kafka.rights import consumer_rights, relay_rights
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError, administering
from registry.settings import SettingsError, read_settings
from tests.certificates import certificate

SERVERS = {"REGISTRY_KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092,kafka-2:9092"}


def test_without_a_broker_the_read_models_follow_the_store() -> None:
    assert read_settings({}).kafka is None


def test_a_broker_alone_is_reached_in_the_clear() -> None:
    found = read_settings(SERVERS).kafka
    assert found == KafkaSettings("kafka-1:9092,kafka-2:9092")
    assert found.client()["bootstrap_servers"] == ["kafka-1:9092", "kafka-2:9092"]
    assert found.client()["security_protocol"] == "PLAINTEXT"


def test_every_setting_of_kafka_is_read_and_the_password_is_shown_to_nobody(tmp_path: Path) -> None:
    files = {}
    for name in ("CA", "CERTIFICATE", "KEY"):
        file = tmp_path / name
        file.touch()
        files[f"REGISTRY_KAFKA_SECURITY_{name}_FILE"] = str(file)
    sasl = {
        "REGISTRY_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "REGISTRY_KAFKA_SECURITY_MECHANISM": "SCRAM-SHA-512",
        "REGISTRY_KAFKA_SECURITY_USERNAME": "registry",
        "REGISTRY_KAFKA_SECURITY_PASSWORD": "geheim",
    }
    settings = read_settings(SERVERS | files | sasl)
    assert settings.kafka is not None
    given = settings.kafka.client()
    assert given["ssl_cafile"] == str(tmp_path / "CA")
    assert given["ssl_certfile"] == str(tmp_path / "CERTIFICATE")
    assert given["ssl_keyfile"] == str(tmp_path / "KEY")
    assert (given["security_protocol"], given["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (given["sasl_plain_username"], given["sasl_plain_password"]) == ("registry", "geheim")
    shown = settings.shown()
    assert "REGISTRY_KAFKA_SECURITY_PASSWORD=***" in shown
    assert "REGISTRY_KAFKA_PREFIX=registry" in shown
    assert "geheim" not in "".join([*shown, repr(settings.kafka)])


def test_every_name_on_the_cluster_begins_with_the_prefix_and_by_default_is_that_of_the_contract() -> None:
    default, other = (
        read_settings(SERVERS | {"REGISTRY_KAFKA_PREFIX": prefix}).kafka for prefix in ("", "acc-2.registry")
    )
    assert default is not None
    assert other is not None
    assert (default.events, default.statuses) == ("registry.events.v1", "registry.badge-status.v1")
    assert default.transactional_id == "registry-relay.registry.events.v1"
    assert default.group == "registry.read-models"
    names = (other.events, other.statuses, other.transactional_id, other.group)
    assert all(name.startswith("acc-2.registry") for name in names)
    assert {default.events, default.statuses, default.transactional_id, default.group}.isdisjoint(names)


@pytest.mark.parametrize("prefix", ["registry", "acc-2.registry"])
def test_every_right_is_on_a_name_in_use_and_each_of_these_names_has_one(prefix: str) -> None:
    kafka = KafkaSettings("kafka:9092", prefix=prefix)
    topics = {kafka.events, kafka.statuses}
    assert {name for _, name, _ in relay_rights(kafka)} == topics | {kafka.transactional_id}
    assert {name for _, name, _ in consumer_rights(kafka)} == topics | {kafka.group}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *(({"PREFIX": prefix}, "KAFKA_PREFIX must be") for prefix in ("A", "-a", "a/b", "a" * 51, "é")),
        ({"BOOTSTRAP_SERVERS": "kafka"}, "must be a list of host:port"),
        ({"BOOTSTRAP_SERVERS": "kafka:0"}, "must be a list of host:port"),
        ({"BOOTSTRAP_SERVERS": "a:1,,b:2"}, "must be a list of host:port"),
        ({"SECURITY_PROTOCOL": "TLS"}, "must be one of PLAINTEXT, SSL"),
        ({"SECURITY_CA_FILE": __file__}, "need SSL or SASL_SSL"),
        ({"SECURITY_PROTOCOL": "SSL", "SECURITY_CA_FILE": "/nowhere"}, "CA_FILE must be an existing file"),
        ({"SECURITY_PROTOCOL": "SSL", "SECURITY_KEY_FILE": __file__}, "must be given together"),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "are required for SASL"),
        ({"SECURITY_USERNAME": "registry"}, "need SASL_SSL"),
        (
            {
                "SECURITY_PROTOCOL": "SASL_SSL",
                "SECURITY_MECHANISM": "GSSAPI",
                "SECURITY_USERNAME": "u",
                "SECURITY_PASSWORD": "geheim",
            },
            "MECHANISM must be one of PLAIN",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(given: dict[str, str], said: str) -> None:
    wanted = SERVERS | {f"REGISTRY_KAFKA_{name}": value for name, value in given.items()}
    with pytest.raises(SettingsError, match=said) as refusal:
        read_settings(wanted)
    assert "geheim" not in str(refusal.value)


def test_security_without_a_broker_is_refused() -> None:
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS must be set"):
        read_settings({"REGISTRY_KAFKA_SECURITY_PROTOCOL": "SSL"})


TRIES = """
import gc, os, threading
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from registry.kafka.clients import connected
from registry.kafka.rights import consumer_rights, relay_rights
from registry.kafka.settings import KafkaSettings

away = KafkaSettings("127.0.0.1:1").client() | {"bootstrap_timeout_ms": 200}
for _ in range(4):
    for kind in (KafkaAdminClient, KafkaConsumer, KafkaProducer):
        try:
            connected(kind, **away)
        except KafkaError:
            gc.collect()
    print(threading.active_count(), len(os.listdir("/proc/self/fd")))
"""


def test_a_broker_that_is_away_costs_no_thread_and_no_file_however_often_it_is_tried() -> None:
    """In a process of its own: a test keeps what was logged, and that its sockets."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRIES], check=True, capture_output=True, text=True, timeout=60
    )
    counts = done.stdout.splitlines()
    assert len(counts) == 4
    assert set(counts) == {counts[0]}


def test_the_client_shows_its_certificate_and_wants_that_of_the_broker(tmp_path: Path) -> None:
    """A listener that speaks TLS and then no more: what matters is the handshake of both."""
    certificate_file, key_file = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate_file)
    context.load_cert_chain(certificate_file, key_file)
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[Any] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
                    shown.append(secured.getpeercert())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        settings = KafkaSettings(
            f"localhost:{listening.getsockname()[1]}",
            "SSL",
            str(certificate_file),
            str(certificate_file),
            str(key_file),
        )
        with pytest.raises(TopicError, match="cannot be reached"), administering(settings):
            pass
    assert shown[0]["subject"] == ((("commonName", "localhost"),),)
