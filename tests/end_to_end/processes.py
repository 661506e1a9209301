"""Real processes: `registry` and `make` as people start them, and what one test has started."""

from __future__ import annotations

import functools
import http.client
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from psycopg2.extensions import parse_dsn

from tests.end_to_end.client import Client, until
from tests.end_to_end.servers import OtherPostgres, children, embedded_url, end_server
from tests.support import PATIENCE_SECONDS, SLACK_SECONDS

PROJECT = Path(__file__).resolve().parents[2]
REGISTRY = str(Path(sys.executable).with_name("registry"))
STOP_SECONDS = 10 + SLACK_SECONDS
"""So long a process may take to end after SIGTERM: 10 seconds, and what a busy machine takes."""

DEMO_EVENTS = 103
"""The last position of the demo data."""

Started = TypeVar("Started", bound="Running")


def environment(**settings: object) -> dict[str, str]:
    """The environment with these settings and no others, as from a shell outside make and venv."""
    left_out = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VIRTUAL_ENV"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.startswith("REGISTRY_")
    }
    ours = str(Path(sys.executable).parent)
    kept["PATH"] = os.pathsep.join(each for each in kept["PATH"].split(os.pathsep) if each != ours)
    return kept | {f"REGISTRY_{name.upper()}": str(value) for name, value in settings.items()}


def with_an_ending_thread(name: str, error: str, *words: str) -> list[str]:
    """The command `registry`, in which SIGUSR1 ends a thread: see `tests.end_to_end.ending_thread`."""
    return [sys.executable, "-m", "tests.end_to_end.ending_thread", name, error, *words]


# Commands that end by themselves.


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


def registry(
    *words: str,
    seconds: float = PATIENCE_SECONDS,
    typed: str = "",
    variables: dict[str, str] | None = None,
    **settings: object,
) -> Done:
    """Runs `registry` to its end, with these settings and other variables of the environment.

    `typed` is its standard input.
    """
    done = subprocess.run(
        [REGISTRY, *words],
        check=False,
        input=typed,
        capture_output=True,
        text=True,
        env=environment(**settings) | (variables or {}),
        timeout=seconds,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@functools.cache
def explained(command: str) -> Done:
    """What a command's `--help` says."""
    return registry(*command.split(), "--help")


# Processes that go on until they are told to stop.


class Running:
    """A process that goes on: its lines as they come; what it says on standard error lies in a file."""

    def __init__(self, words: Sequence[str], log: Path, env: dict[str, str], folder: Path) -> None:
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=env,
                cwd=folder,
            )
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def line(self, pattern: str, seconds: float = PATIENCE_SECONDS) -> str:
        """The next line in which the pattern is found; what the pattern's group caught."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._coming.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {pattern}; it said {self.lines} and\n{self.said()}")
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found[1]

    def said(self) -> str:
        """The end of its standard error."""
        return self.log.read_text()[-4_000:]

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        self.process.kill()
        self._close()

    def stop(self, number: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Tells it to stop and answers its exit status; it must end in time."""
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"it had not ended {seconds} s after signal {number}\n{self.said()}"
            ) from None
        self._close()
        return self.process.returncode

    def end(self) -> None:
        """Whatever state it is in, it is gone afterwards, and what it waits for too."""
        if self.process.poll() is None:
            for pid in (self.pid, *children(self.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        self.process.wait(30)
        self._reader.join(30)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


class Serving(Running):
    """A running `registry serve`."""

    def __init__(self, data: Path, log: Path, words: Sequence[str] = (), **settings: object) -> None:
        given = {"port": 0, "data_dir": data} | settings
        super().__init__([REGISTRY, "serve", *words], log, environment(**given), log.parent)
        self.data = data

    @functools.cached_property
    def address(self) -> str:
        """Where it answers, as it says on standard output once it does."""
        return self.line(r"^Microcredential registry: (http://\S+)")

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 80

    def client(self, token: str = "", seconds: float = 15) -> Client:
        return Client(self.address, token, seconds)

    def ready(self) -> bool:
        """Whether it answers with its database."""
        with self.client(seconds=5) as client, suppress(OSError, http.client.HTTPException):
            return client.ask("GET", "/health/ready").status == 200
        return False

    def settled(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Waits until every read model holds the whole log; answers its last position."""

        def reached() -> int:
            with self.client() as client:
                health = client.ask("GET", "/health/ready").json
            held = {model["position"] for model in health["readModels"]}
            return int(health["position"]) if held == {health["position"]} else 0

        return until(reached, seconds, "a read model that holds the whole log")


# All of a test's processes, ended when it is over.


@functools.cache
def prepared(folder: Path) -> Path:
    """A data folder with the demo data, made once; its server is stopped."""
    for command in ("migrate", "demo-data"):
        done = registry(command, data_dir=folder)
        assert done.status == 0, done.err
    return folder


class Workshop:
    """What one test has started and made: all of it is gone after the test."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self._model = folder, model
        self._running: list[Running] = []
        self._data: list[Path] = []
        self._others: list[OtherPostgres] = []

    def data(self, folder: Path | None = None) -> Path:
        """A data folder with the demo data."""
        folder = self.watched(folder) if folder else self.empty_data()
        subprocess.run(["cp", "-a", str(self._model), str(folder)], check=True)
        return folder

    def empty_data(self) -> Path:
        """A data folder that is not there yet."""
        return self.watched(self.folder / f"data {len(self._data)}")

    def watched(self, data: Path) -> Path:
        """A data folder whose server is ended after the test."""
        self._data.append(data)
        return data

    def serve(self, data: Path, *words: str, **settings: object) -> Serving:
        """Starts `registry serve`; ask it for its address to wait until it answers."""
        log = self.folder / f"serve-{len(self._running)}.log"
        return self._kept(Serving(data, log, words, **settings))

    def run(self, words: Sequence[str], env: dict[str, str], folder: Path) -> Running:
        log = self.folder / f"run-{len(self._running)}.log"
        return self._kept(Running(words, log, env, folder))

    def other_postgres(self) -> OtherPostgres:
        return self.watched_server(OtherPostgres(self.folder / f"server {len(self._others)}"))

    def watched_server(self, other: OtherPostgres) -> OtherPostgres:
        """A server that is ended after the test."""
        self._others.append(other)
        return other

    def close(self) -> None:
        """Ends and removes it all; once more does nothing."""
        for running in self._running:
            running.end()
            print(f"--- {running.log.name}:\n{running.said()}")
        for data in self._data:
            end_server(data / "postgres" / "data")
            shutil.rmtree(data, ignore_errors=True)
            shutil.rmtree(parse_dsn(embedded_url(data))["host"], ignore_errors=True)
        for other in self._others:
            other.end()
        self._running, self._data, self._others = [], [], []

    def _kept(self, running: Started) -> Started:
        self._running.append(running)
        return running
