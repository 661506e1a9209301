"""The two candidates behind HTTP, each a real process with one worker on a database of its own."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import tokens
from registry.cli import database
from registry.postgres.connections import Login
from tests import support
from tests.benchmarks import material
from tests.benchmarks.processes import child, port_of, python
from tests.benchmarks.servers import Server, address, parts
from tests.benchmarks.stock import application as stock

START_SECONDS = 60
SETTLE_SECONDS = 60


@dataclass(frozen=True)
class Candidate:
    """A server that awards badges; `behind` says how many events its read models lack."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    behind: Callable[[], int]
    url: str = ""

    def settle(self) -> float:
        """Waits until the read models hold everything; answers the seconds that it took."""
        began = time.monotonic()
        while self.behind() > 0:
            if time.monotonic() - began > SETTLE_SECONDS:
                raise RuntimeError("the read models did not catch up")
            time.sleep(0.05)
        return time.monotonic() - began


@dataclass(frozen=True)
class Serving:
    """`registry serve` on a database."""

    process: subprocess.Popen[bytes]
    port: int
    url: str

    def token(self, role: tokens.Role, institution: str | None = None) -> str:
        with database.owner(self.url) as connection:
            return tokens.insert_token(connection, role, dt.timedelta(hours=1), institution=institution)

    def behind(self) -> int:
        ready = asked(self.port, "GET", "/health/ready")
        return max(int(model["behindEvents"]) for model in ready["readModels"])

    def settle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.behind() > 0:
            if time.monotonic() > deadline:
                raise RuntimeError("the read models did not catch up")
            time.sleep(0.2)


def environment(dsn: str, folder: Path, login: Login, **more: str) -> dict[str, str]:
    """The settings of our processes on a database."""
    return {
        "REGISTRY_DATABASE_URL": address(support.as_login(dsn, login)),
        "REGISTRY_DATA_DIR": str(folder),
        "REGISTRY_KEY_FILE": str(material.key_file(folder)),
        "REGISTRY_PORT": "0",
        "REGISTRY_LOG_LEVEL": "WARNING",
        **more,
    }


@contextmanager
def saying(word: str, settings: dict[str, str], said: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """One of our processes, once it has said a line that begins so."""
    with child(python("registry.cli", word), environment=settings) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(said):
                yield process
                return
        raise RuntimeError(f"`registry {word}` ended before it worked")


@contextmanager
def serving(dsn: str, folder: Path, **more: str) -> Iterator[Serving]:
    """A process of its own."""
    settings = environment(dsn, folder, "registry_serve", **more)
    with child(python("registry.cli", "serve"), environment=settings) as process:
        yield Serving(process, port_of(process, START_SECONDS), dsn)


@contextmanager
def ours(server: Server, folder: Path, *, consuming: bool = False) -> Iterator[Candidate]:
    """`registry serve`, with an institution and a module registered over HTTP.

    `consuming`: `registry consume` projects beside it, so that it stands by.
    """
    dsn = server.registry()
    with ExitStack() as stack:
        if consuming:
            stack.enter_context(
                saying("consume", environment(dsn, folder, "registry_stream"), b"following the log")
            )
        served = stack.enter_context(serving(dsn, folder))
        registrar, token = served.token("registrar"), served.token("institution", material.BRIN)
        asked(served.port, "PUT", f"/v1/institutions/{material.BRIN}", registrar, support.INSTITUTION)
        asked(served.port, "POST", "/v1/modules", token, support.MODULE)
        yield Candidate(served.process, served.port, token, served.behind, served.url)


@contextmanager
def peer(server: Server) -> Iterator[Candidate]:
    """The reference program in `stock`, with the same institution and module."""
    settings = stock_environment(server.empty())
    token = stock.prepare(settings, support.INSTITUTION, support.MODULE, material.BRIN)
    # Not `-m`: the library stores the names of its classes, and they are not `__main__`'s.
    command = [sys.executable, "-c", "from tests.benchmarks.stock.service import main; main()"]
    with child(command, environment=settings) as process:
        port = port_of(process, START_SECONDS)

        def behind() -> int:
            found = asked(port, "GET", "/position")
            # The institution and the module, the first two, are no badges.
            return 0 if found["position"] <= 2 else int(found["position"]) - int(found["projected"] or 0)

        behind()
        yield Candidate(process, port, token, behind)


def stock_environment(url: str) -> dict[str, str]:
    """The peer's settings for a database."""
    return stock.environment(**parts(url))


def asked(port: int, method: str, path: str, token: str = "", body: Any = None) -> Any:
    """One request to a candidate; anything but a good answer is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} was answered {answer.status}: {said[:500]!r}")
    return json.loads(said)
