"""How to reach Kafka: part of the settings, and what the client library is given of it."""

from __future__ import annotations

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
)
BOOTSTRAP_MS = 5_000


@dataclass(frozen=True)
class KafkaSettings:
    """The brokers, and how they identify this client. The files are PEM; the mechanism is SASL's."""

    bootstrap_servers: str
    protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def client(self) -> dict[str, Any]:
        """The arguments that every client of kafka-python takes."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "bootstrap_timeout_ms": BOOTSTRAP_MS,
            "client_id": "registry",
            "reconnect_backoff_max_ms": 1_000,
            "security_protocol": self.protocol,
            "ssl_cafile": self.ca_file,
            "ssl_certfile": self.certificate_file,
            "ssl_keyfile": self.key_file,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }

    def shown(self) -> dict[str, str]:
        """What the log shows of it, by the setting's name."""
        values = dict(zip(KAFKA_NAMES, vars(self).values(), strict=True))
        return {
            name: "***" if name.endswith("PASSWORD") else value for name, value in values.items() if value
        }


def read_kafka_settings(given: Mapping[str, str], wrong: list[str]) -> KafkaSettings | None:
    """None without bootstrap servers; adds what cannot work to `wrong`."""
    values = [given.get(name) for name in KAFKA_NAMES]
    if values[0] is None:
        if any(values):
            wrong.append("KAFKA_BOOTSTRAP_SERVERS must be set where KAFKA_SECURITY_* is")
        return None
    found = KafkaSettings(values[0], (values[1] or "PLAINTEXT").upper(), *values[2:])
    for server in found.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            wrong.append("KAFKA_BOOTSTRAP_SERVERS must be host:port, or several with commas between")
            break
    if found.protocol not in PROTOCOLS:
        wrong.append(f"KAFKA_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}")
    wrong += _wrong_sasl(found) + _wrong_files(found)
    return found


def _wrong_sasl(found: KafkaSettings) -> list[str]:
    given = (found.mechanism, found.username, found.password)
    if not found.protocol.startswith("SASL"):
        return ["KAFKA_SECURITY_MECHANISM, _USERNAME and _PASSWORD need SASL_SSL"] if any(given) else []
    if not all(given):
        return ["KAFKA_SECURITY_MECHANISM, _USERNAME and _PASSWORD must be set for SASL"]
    if found.mechanism not in MECHANISMS:
        return [f"KAFKA_SECURITY_MECHANISM must be one of {', '.join(MECHANISMS)}"]
    return []


def _wrong_files(found: KafkaSettings) -> list[str]:
    files = {"CA": found.ca_file, "CERTIFICATE": found.certificate_file, "KEY": found.key_file}
    wrong = []
    if any(files.values()) and not found.protocol.endswith("SSL"):
        wrong.append("KAFKA_SECURITY_CA_FILE, _CERTIFICATE_FILE and _KEY_FILE need SSL or SASL_SSL")
    if (found.certificate_file is None) != (found.key_file is None):
        wrong.append("KAFKA_SECURITY_CERTIFICATE_FILE and _KEY_FILE must be set together")
    return wrong + [
        f"KAFKA_SECURITY_{name}_FILE must be an existing file"
        for name, file in files.items()
        if file and not Path(file).is_file()
    ]
