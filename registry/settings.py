"""The settings, read from the environment in this one place and checked together at start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from registry.failures import Failure
from registry.kafka.settings import KAFKA_NAMES, KafkaSettings, read_kafka_settings
from registry.logs import LogFormat

PREFIX = "REGISTRY_"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@", re.DOTALL)
SECRETS = ("DATABASE_URL", "OWNER_DATABASE_URL", "KAFKA_SECURITY_PASSWORD")
"""Settings that can be in a file instead, which the setting with `_FILE` after its name gives."""
MAX_SECRET = 8_192
NAMES = (
    "DATABASE_URL",
    "OWNER_DATABASE_URL",
    "DATA_DIR",
    "HOST",
    "PORT",
    "BASE_URL",
    "KEY_FILE",
    "LOG_LEVEL",
    "METRICS_NEED_TOKEN",
    "LOG_FORMAT",
    "ACCESS_LOG",
    "MONITORING_PORT",
    *KAFKA_NAMES,
    *(f"{name}_FILE" for name in SECRETS),
)


class SettingsError(Failure):
    """The environment holds settings that cannot work; names all of them at once."""


@dataclass(frozen=True)
class Settings:
    """The settings of a process.

    `database_url` is the login of this process, and `owner_database_url` that of the owner of the tables, for
    operators' commands; both are None for the embedded PostgreSQL under `data_dir`. `kafka` is None where the
    read models follow the event store.
    """

    data_dir: Path
    key_file: Path
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    base_url: str = "http://127.0.0.1:8000"
    log_level: str = "INFO"
    log_format: LogFormat = "text"
    access_log: bool = False
    monitoring_port: int | None = None
    kafka: KafkaSettings | None = None
    owner_database_url: str | None = None
    metrics_need_token: bool = False

    def shown(self) -> list[str]:
        """`NAME=value` lines for the log, without passwords."""
        values = {
            "DATABASE_URL": _without_password(self.database_url) if self.database_url else "(embedded)",
            **(
                {"OWNER_DATABASE_URL": _without_password(self.owner_database_url)}
                if self.owner_database_url
                else {}
            ),
            "DATA_DIR": str(self.data_dir),
            "HOST": self.host,
            "PORT": str(self.port),
            "BASE_URL": self.base_url,
            "KEY_FILE": str(self.key_file),
            "LOG_LEVEL": self.log_level,
            "METRICS_NEED_TOKEN": str(self.metrics_need_token).lower(),
            "LOG_FORMAT": self.log_format,
            "ACCESS_LOG": str(self.access_log).lower(),
            **({"MONITORING_PORT": str(self.monitoring_port)} if self.monitoring_port else {}),
            **(self.kafka.shown() if self.kafka else {}),
        }
        return [f"{PREFIX}{name}={value}" for name, value in values.items()]


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; raises `SettingsError` with everything that is wrong."""
    variables = os.environ if environment is None else environment
    given = {
        key[len(PREFIX) :]: value for key, value in variables.items() if key.startswith(PREFIX) and value
    }
    wrong: list[str] = []
    for name in SECRETS:
        _read_secret(given, name, wrong)
    host = given.get("HOST", "127.0.0.1")
    port = _port("PORT", given.get("PORT", "8000"), wrong)
    monitoring = given.get("MONITORING_PORT")
    monitoring_port = _port("MONITORING_PORT", monitoring, wrong) if monitoring else None
    url, owner_url = given.get("DATABASE_URL"), given.get("OWNER_DATABASE_URL")
    for name, address in (("DATABASE_URL", url), ("OWNER_DATABASE_URL", owner_url)):
        if address and _scheme(address) not in ("postgresql", "postgres"):
            wrong.append(f"{name} must be a postgresql:// address")
    base_url = given.get("BASE_URL", f"http://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")
    if _scheme(base_url) not in ("http", "https") or not urlsplit(base_url).netloc:
        wrong.append("BASE_URL must be an http:// or https:// address")
    level = given.get("LOG_LEVEL", "INFO").upper()
    if level not in LOG_LEVELS:
        wrong.append(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
    metrics_need_token = _flag("METRICS_NEED_TOKEN", given, wrong)
    access_log = _flag("ACCESS_LOG", given, wrong)
    log_format = given.get("LOG_FORMAT", "text")
    if log_format not in ("text", "json"):
        wrong.append("LOG_FORMAT must be text or json")
    kafka = read_kafka_settings(given, wrong)
    if wrong:
        raise SettingsError("; ".join(f"{PREFIX}{error}" for error in wrong))
    data_dir = Path(given.get("DATA_DIR", "var")).expanduser().absolute()
    key_file = (
        Path(given["KEY_FILE"]).expanduser().absolute() if "KEY_FILE" in given else data_dir / "keys.json"
    )
    form: LogFormat = "json" if log_format == "json" else "text"
    return Settings(
        data_dir=data_dir,
        key_file=key_file,
        database_url=url,
        owner_database_url=owner_url,
        host=host,
        port=port,
        base_url=base_url,
        log_level=level,
        log_format=form,
        access_log=access_log,
        metrics_need_token=metrics_need_token,
        monitoring_port=monitoring_port,
        kafka=kafka,
    )


def unknown_settings(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables with the prefix that are not settings: mistyped, or of another release."""
    variables = os.environ if environment is None else environment
    return sorted(key for key in variables if key.startswith(PREFIX) and key[len(PREFIX) :] not in NAMES)


def _read_secret(given: dict[str, str], name: str, wrong: list[str]) -> None:
    """Replaces `{name}_FILE` by the secret that this file holds."""
    if (file := given.pop(f"{name}_FILE", None)) is None:
        return
    if name in given:
        wrong.append(f"{name} and {PREFIX}{name}_FILE must not both be set")
        return
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            secret = opened.read(MAX_SECRET + 1).strip()
    except (OSError, UnicodeDecodeError):
        secret = ""
    if 0 < len(secret) <= MAX_SECRET and secret.isprintable():
        given[name] = secret
    else:
        wrong.append(f"{name}_FILE must be a readable file that holds the secret alone, on one line")


def _port(name: str, text: str, wrong: list[str]) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    wrong.append(f"{name} must be a number from 0 to 65535")
    return 0


def _flag(name: str, given: Mapping[str, str], wrong: list[str]) -> bool:
    text = given.get(name, "false").lower()
    if text not in ("true", "false"):
        wrong.append(f"{name} must be true or false")
    return text == "true"


def _scheme(address: str) -> str | None:
    try:
        return urlsplit(address).scheme
    except ValueError:
        return None


def _without_password(url: str) -> str:
    """The address without everything between the user and the last `@`, and without the query."""
    masked = _PASSWORD.sub(r"\1:***@", url)
    return masked.partition("?")[0]
