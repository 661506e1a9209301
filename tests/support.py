"""What tests share: a database of their own, and the service on it."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.app import create_app
from projections.all import read_models
from projections.read_model import install
from registry import tokens
from registry.cli import database
from registry.event_store.migrate import migrate
from registry.keys import Keys
from registry.postgres.connections import Login, connect
from registry.postgres.embedded import EmbeddedPostgres
from registry.settings import Settings

TEMPLATE = "registry_template"
KEYS = Keys(id=b"i" * 32, alias=b"a" * 32, vault=b"v" * 32)
PATIENCE_SECONDS = 180
"""A wait for a condition ends so late that a machine with much else to do fails no test."""
SLACK_SECONDS = 30
"""What a busy machine may take beyond a bound of the service's own."""
_numbers = itertools.count()


class Databases:
    """A real PostgreSQL, and as many migrated databases on it as wanted."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded
        self._make(TEMPLATE, "template1")
        connection = connect(self.url(TEMPLATE))
        migrate(connection)
        install(connection, read_models())
        with connection.cursor() as cursor:
            for name, fingerprint in KEYS.fingerprints().items():
                cursor.execute("INSERT INTO secret (name, fingerprint) VALUES (%s, %s)", (name, fingerprint))
        connection.close()

    def url(self, name: str) -> str:
        """As the server's superuser, who can become each role, and break what tests want broken."""
        return self._embedded.url_as("postgres", name)

    def fresh(self) -> str:
        """The connection string of a new registry's database (as owner)."""
        name = f"test_{next(_numbers)}"
        self._make(name, TEMPLATE)
        return self.url(name)

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {url.rpartition('=')[2]} WITH (FORCE)")

    def _make(self, name: str, template: str) -> None:
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def _execute(self, statement: str) -> None:
        connection = connect(self.url("postgres"))
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


@contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    with EmbeddedPostgres(folder) as embedded:
        yield Databases(embedded)


def settings(folder: Path, url: str | None = None, **more: Any) -> Settings:
    return Settings(data_dir=folder, key_file=folder / "keys.json", database_url=url, **more)


def as_login(url: str, login: Login) -> str:
    """The same database for one of the registry's logins; `url` is another login's."""
    return re.sub(r"(user=|//)\w+", rf"\g<1>{login}", url, count=1)


class Clock:
    """The real time, until a test sets it."""

    def __init__(self) -> None:
        self.moment: dt.datetime | None = None

    def __call__(self) -> dt.datetime:
        return self.moment or dt.datetime.now(dt.UTC)


INSTITUTION = {
    "name": "De Haagse Hogeschool",
    "nameEn": "The Hague University of Applied Sciences",
    "kind": "hbo",
    "schacHome": "hhs.nl",
    "admittedFrom": "2022-02-01",
}
MODULE: dict[str, Any] = {
    "reference": "KLINRED",
    "name": "Klinisch redeneren",
    "description": "Redeneren over complexe zorg.",
    "studyLoad": {"ects": 5},
    "level": {"nlqf": "6", "eqf": "6"},
    "learningOutcomes": ["Beargumenteert beslissingen over complexe zorg"],
    "language": "nl-NL",
    "isced": "0913",
    "participation": "blended",
    "assessment": ["portfolio"],
    "supervision": "onsite-with-identity",
    "qualityAssurance": {"name": "NVAO", "url": "https://www.nvao.net"},
    "stackable": True,
    "faculty": "Gezondheid, Voeding en Sport",
}


def award(reference: str = "2023-0419-01", **more: Any) -> dict[str, Any]:
    """The body of an award to one invented learner, for the module `KLINRED`."""
    return {
        "reference": reference,
        "moduleReference": "KLINRED",
        "learner": {
            "eduId": "a1b2c3d4-0000-4000-8000-000000000001",
            "name": "A. Jansen",
            "email": "a@example.org",
        },
        "awardedOn": "2023-04-19",
        "grade": "8",
        "evidence": [{"url": "https://example.org/e1", "narrative": "Portfolio met reflectie"}],
        **more,
    }


@dataclass
class Service:
    """The whole service on a database of its own, asked over HTTP in this process."""

    url: str
    client: TestClient
    clock: Clock

    def token(self, role: tokens.Role, **more: Any) -> str:
        lifetime = more.pop("lifetime", dt.timedelta(hours=1))
        with database.owner(self.url) as connection:
            return tokens.insert_token(connection, role, lifetime, **more)

    def as_(self, role: tokens.Role, **more: Any) -> Callable[..., Any]:
        """A function `(method, path, json=None, **more)` that asks with a token of this role."""
        token = self.token(role, **more)

        def ask(method: str, path: str, json: Any = None, **rest: Any) -> Any:
            headers = {"Authorization": f"Bearer {token}", **rest.pop("headers", {})}
            return self.client.request(method, path, json=json, headers=headers, **rest)

        return ask

    def institution(self, brin: str = "27UM") -> Callable[..., Any]:
        return self.as_("institution", institution=brin)

    def admitted(self, brin: str = "27UM", **changes: Any) -> Callable[..., Any]:
        """Admits an institution, registers `MODULE` for it, and answers its asking function."""
        answer = self.as_("registrar")("PUT", f"/v1/institutions/{brin}", {**INSTITUTION, **changes})
        assert answer.status_code == 201, answer.text
        ask = self.institution(brin)
        assert ask("POST", "/v1/modules", MODULE).status_code == 201
        return ask

    def settle(self) -> int:
        """Waits until the read models hold the whole log; answers its last position."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            ready = self.client.get("/health/ready").json()
            if all(model["position"] == ready["position"] for model in ready["readModels"]):
                return int(ready["position"])
            time.sleep(0.01)
        raise AssertionError("the read models did not catch up")


@contextmanager
def service(url: str, keys: Keys = KEYS) -> Iterator[Service]:
    clock = Clock()
    with TestClient(create_app(url, keys, clock), raise_server_exceptions=False) as client:
        yield Service(url, client, clock)
