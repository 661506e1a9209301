"""The part of the settings that says how to reach Kafka."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
KAFKA_NAMES = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SECURITY_CA_FILE",
    "KAFKA_SECURITY_CERTIFICATE_FILE",
    "KAFKA_SECURITY_KEY_FILE",
    "KAFKA_SECURITY_MECHANISM",
    "KAFKA_SECURITY_USERNAME",
    "KAFKA_SECURITY_PASSWORD",
    "KAFKA_PREFIX",
)
BOOTSTRAP_MS = 5_000
MAX_FRAME_BYTES = 16 * 1024 * 1024
PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}", re.ASCII)


@dataclass(frozen=True)
class KafkaSettings:
    """The brokers, and how the registry authenticates. The files are PEM; the mechanism is SASL's.

    `prefix` begins all names on the cluster, so that two registries can share it.
    """

    bootstrap_servers: str
    protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    prefix: str = "registry"

    @property
    def events(self) -> str:
        """The topic that carries the log."""
        return f"{self.prefix}.events.v1"

    @property
    def statuses(self) -> str:
        """The topic with the latest status of each badge."""
        return f"{self.prefix}.badge-status.v1"

    @property
    def transactional_id(self) -> str:
        """The name by which a relay fences the one before it."""
        return f"{self.prefix}-relay.{self.events}"

    @property
    def group(self) -> str:
        """The group in which consumers share the partitions."""
        return f"{self.prefix}.read-models"

    def client(self) -> dict[str, Any]:
        """The arguments for every client of kafka-python."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "bootstrap_timeout_ms": BOOTSTRAP_MS,
            "client_id": "registry",
            "reconnect_backoff_max_ms": 1_000,
            # A consumer raises this to the size of what it fetches.
            "receive_message_max_bytes": MAX_FRAME_BYTES,
            "security_protocol": self.protocol,
            "ssl_cafile": self.ca_file,
            "ssl_certfile": self.certificate_file,
            "ssl_keyfile": self.key_file,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }

    def shown(self) -> dict[str, str]:
        """The settings by name, as the log shows them: without the password."""
        values = dict(zip(KAFKA_NAMES, vars(self).values(), strict=True))
        return {
            name: "***" if name.endswith("PASSWORD") else value for name, value in values.items() if value
        }


def read_kafka_settings(environment: Mapping[str, str], wrong: list[str]) -> KafkaSettings | None:
    """Reads the settings, None without bootstrap servers; adds to `wrong` what cannot work."""
    values = [environment.get(name) for name in KAFKA_NAMES]
    if values[0] is None:
        if any(values):
            wrong.append("KAFKA_BOOTSTRAP_SERVERS must be set where another KAFKA_* setting is")
        return None
    servers, protocol, ca, certificate, key, mechanism, username, password, prefix = values
    settings = KafkaSettings(
        servers or "",
        (protocol or "PLAINTEXT").upper(),
        ca,
        certificate,
        key,
        mechanism,
        username,
        password,
        prefix or "registry",
    )
    if not PREFIX.fullmatch(settings.prefix):
        wrong.append("KAFKA_PREFIX must be 1 to 50 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first")
    for server in settings.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            wrong.append("KAFKA_BOOTSTRAP_SERVERS must be a list of host:port, separated by commas")
            break
    if settings.protocol not in PROTOCOLS:
        wrong.append(f"KAFKA_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}")
    wrong += _wrong_sasl(settings) + _wrong_files(settings)
    return settings


def _wrong_sasl(settings: KafkaSettings) -> list[str]:
    values = (settings.mechanism, settings.username, settings.password)
    if not settings.protocol.startswith("SASL"):
        return ["KAFKA_SECURITY_MECHANISM, _USERNAME and _PASSWORD need SASL_SSL"] if any(values) else []
    if not all(values):
        return ["KAFKA_SECURITY_MECHANISM, _USERNAME and _PASSWORD are required for SASL"]
    if settings.mechanism not in MECHANISMS:
        return [f"KAFKA_SECURITY_MECHANISM must be one of {', '.join(MECHANISMS)}"]
    return []


def _wrong_files(settings: KafkaSettings) -> list[str]:
    files = {"CA": settings.ca_file, "CERTIFICATE": settings.certificate_file, "KEY": settings.key_file}
    wrong = []
    if any(files.values()) and not settings.protocol.endswith("SSL"):
        wrong.append("KAFKA_SECURITY_CA_FILE, _CERTIFICATE_FILE and _KEY_FILE need SSL or SASL_SSL")
    if (settings.certificate_file is None) != (settings.key_file is None):
        wrong.append("KAFKA_SECURITY_CERTIFICATE_FILE and KAFKA_SECURITY_KEY_FILE must be given together")
    return wrong + [
        f"KAFKA_SECURITY_{name}_FILE must be an existing file"
        for name, file in files.items()
        if file and not Path(file).is_file()
    ]
