"""What tests of real processes ask with: a client over HTTP that keeps its connection, and patience."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

KEPT_SECONDS = 2
"""A connection that was idle for longer may be closed by the service in the moment in which we ask."""

Found = TypeVar("Found")


def until(found: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Asks until the answer is true, at most so long."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"after {seconds} s there was not yet {what}"
        time.sleep(0.02)
    return answer


def free_port() -> int:
    """A port that nobody listens on, below those that the system lends to clients.

    A client that tries again and again to reach a lent one would sooner or later connect to itself.
    """
    for port in random.sample(range(15_000, 30_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:400]!r}"


class Client:
    """Asks over one kept connection; raises OSError or HTTPException where no whole answer came."""

    def __init__(self, address: str, token: str = "", seconds: float = 15) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._used = time.monotonic()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = self._headers | headers
        sent = None
        if body is not None:
            sent, given = json.dumps(body).encode(), given | {"Content-Type": "application/json"}
        return self._sent(method, path, sent, given)

    def stream(self, method: str, path: str, parts: Iterator[bytes], **headers: str) -> Answer:
        """The same with a body that is made while it is sent."""
        return self._sent(method, path, parts, self._headers | headers)

    def _sent(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]
    ) -> Answer:
        if time.monotonic() - self._used > KEPT_SECONDS:
            self.close()
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        finally:
            self._used = time.monotonic()

    def items(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor, joint = "", "&" if "?" in path else "?"
        while True:
            answer = self.ask("GET", f"{path}{joint}limit=500{cursor}")
            assert answer.status == 200, f"{path}: {answer}"
            found += answer.json["items"]
            if answer.json["next"] is None:
                return found
            cursor = f"&cursor={answer.json['next']}"

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
