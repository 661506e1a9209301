"""Everyone who works on one registry with Kafka between: real processes, each kept by a supervisor."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.kafka.broker import Broker
from registry.kafka.settings import KafkaSettings
from tests.end_to_end.client import Client, free_port, until
from tests.end_to_end.processes import REGISTRY, STOP_SECONDS, Done, Running, Workshop, environment, registry
from tests.end_to_end.servers import OtherPostgres, children, logins
from tests.support import PATIENCE_SECONDS, as_login

PARTITIONS = 8
SUPERVISOR_SECONDS = 0.5
ROLES = ("serve", "relay", "consume")


class Place:
    """One process of a role; whenever it is dead, the supervisor puts another in its place."""

    def __init__(self, role: str, number: int, start: Callable[[], Running]) -> None:
        self.role, self.number, self._start = role, number, start
        self.running = start()
        self.endings: Counter[int] = Counter()
        self.last_words = ""

    def keep(self) -> None:
        status = self.running.process.poll()
        if status is not None:
            self.endings[status] += 1
            self.running.end()
            self.last_words = self.running.said()
            self.running = self._start()

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.running.pid, number)

    def stop(self) -> float:
        """SIGTERM; the seconds after which it had ended, which are few."""
        running, began = self.running, time.monotonic()
        self.send(signal.SIGTERM)
        try:
            running.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # Python then says where each of its threads stands
            running.process.wait(STOP_SECONDS)
            said = running.log.read_text()[-6_000:]
            raise AssertionError(
                f"{self.role} had not ended {STOP_SECONDS} s after SIGTERM; it stood at\n{said}"
            ) from None
        return time.monotonic() - began


class Fleet:
    """`each` of every role, on one PostgreSQL and the brokers given, with the pilot's data."""

    def __init__(self, workshop: Workshop, server: OtherPostgres, url: str, broker: Broker, each: int = 2):
        self.server, self.url, self.broker = server, url, broker
        self.kafka = KafkaSettings(broker.bootstrap_servers)
        self.settings: dict[str, Any] = {
            "database_url": as_login(url, "registry_serve"),
            "key_file": server.folder / "keys.json",
            "kafka_bootstrap_servers": broker.bootstrap_servers,
            "data_dir": workshop.folder / "data",
        }
        done = self.registry("topics", "--partitions", str(PARTITIONS))
        assert done.status == 0, done
        self._workshop, self._ports = workshop, [free_port() for _ in range(each)]
        self.places = [
            Place(role, number, self._starter(role, number)) for role in ROLES for number in range(each)
        ]
        self._leaving = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()
        self.ready()

    @property
    def addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def of(self, role: str) -> list[Place]:
        return [place for place in self.places if place.role == role]

    def registry(self, *words: str) -> Done:
        """A command that ends by itself."""
        return registry(*words, seconds=120, **self.streaming(self.url), owner_database_url=self.url)

    def streaming(self, url: str) -> dict[str, Any]:
        """The settings of relay, topics and consumers on a database; `url` is its owner's."""
        return self.settings | {"database_url": as_login(url, "registry_stream")}

    # The supervisor.

    def _starter(self, role: str, number: int) -> Callable[[], Running]:
        def start() -> Running:
            given = (
                self.settings | {"port": self._ports[number]}
                if role == "serve"
                else self.streaming(self.url) | {"key_file": "/no/key/file"}
            )
            env = environment(**given) | {"PYTHONFAULTHANDLER": "1"}
            return self._workshop.run([REGISTRY, role], env, self._workshop.folder)

        return start

    def _supervise(self) -> None:
        while not self._leaving.wait(SUPERVISOR_SECONDS):
            for place in self.places:
                place.keep()

    def close(self) -> None:
        """No one is started again; the processes are the workshop's to end."""
        self._leaving.set()
        self._supervisor.join(30)
        if self.server.runs():
            self.server.thaw()

    # PostgreSQL and the brokers.

    def kill_postgres(self, *, everyone: bool) -> None:
        """kill -9 of its first process alone, or of all of them at once."""
        server = self.server.pid
        for pid in [server, *(children(server) if everyone else [])]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.server.runs(), PATIENCE_SECONDS, "an end of PostgreSQL")

    def start_postgres(self) -> None:
        """Processes of the one that was killed may hold its memory for a moment."""

        def started() -> bool:
            with suppress(AssertionError):
                self.server.start()
                return True
            time.sleep(0.5)
            return False

        until(started, PATIENCE_SECONDS, "a PostgreSQL that starts")

    # How far it is.

    def mend(self) -> None:
        """Whatever was done to it, all of it works again."""
        for place in self.places:
            place.send(signal.SIGCONT)
        if not self.server.runs():
            self.start_postgres()
        self.server.thaw()
        mend_brokers(self.broker)
        self.ready()

    def ready(self) -> None:
        """Waits until each service answers with its database."""
        for address in self.addresses:
            until(lambda each=address: health(each), PATIENCE_SECONDS, f"an answer of {address}")  # type: ignore[misc]

    def behind(self) -> int | None:
        """How many events the read model that is furthest behind lacks; None where nobody answers."""
        found = health(self.addresses[0])
        return max(int(model["behindEvents"]) for model in found["readModels"]) if found else None

    def settled(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until every read model holds the whole log."""
        until(lambda: self.behind() == 0, seconds, f"read models that hold the log; {self.said()}")

    def said(self) -> str:
        """How the processes ended that ended, and what the relays and consumers last said."""
        lines = [f"{place.role} {place.number} {dict(place.endings)}" for place in self.places]
        lines += [place.running.log.read_text()[-400:] for place in self.of("relay") + self.of("consume")]
        return "\n".join(lines)

    def endings(self) -> dict[str, dict[int, int]]:
        """By role, how often a process ended with which status."""
        found: dict[str, Counter[int]] = {role: Counter() for role in ROLES}
        for place in self.places:
            found[place.role].update(place.endings)
        return {role: dict(counted) for role, counted in found.items()}


def health(address: str) -> dict[str, Any]:
    """What a service says of its read models; empty where it does not answer."""
    with Client(address, seconds=5) as client, suppress(OSError, http.client.HTTPException):
        answer = client.ask("GET", "/health/ready")
        if answer.status == 200:
            found: dict[str, Any] = answer.json
            return found
    return {}


def mend_brokers(broker: Broker) -> None:
    """Every node runs and answers."""
    for node in broker.pids:
        broker.thaw(node)
    broker.start()


def pilot_server(folder: Path) -> OtherPostgres:
    """A PostgreSQL with a database to copy: the pilot's data and its key file."""
    found = OtherPostgres(folder)
    for command in ("migrate", "demo-data"):
        done = registry(command, **logins(found.url), key_file=str(found.folder / "keys.json"))
        assert done.status == 0, done
    return found
