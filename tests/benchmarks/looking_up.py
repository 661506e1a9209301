"""Look-ups over HTTP, 16 clients, one worker: beside a bare ASGI callable that answers as many bytes."""

from __future__ import annotations

import datetime as dt
import http.client
import json
from collections.abc import Iterator, Sequence
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from registry import tokens
from registry.cli import database
from tests.benchmarks import candidates, filling
from tests.benchmarks.candidates import Serving
from tests.benchmarks.load import MARK
from tests.benchmarks.measure import Compared, Goal, Result, take_turns
from tests.benchmarks.processes import child, port_of, python
from tests.benchmarks.servers import Server

BADGES = 10_000
CLIENTS = 16
SECONDS = 2.0


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    url = server.registry()
    filled = filling.fill(url, BADGES)
    with (
        candidates.serving(url, folder) as serving,
        child(python("tests.benchmarks.bare")) as bare,
    ):
        serving.settle(120)
        peer = port_of(bare, 30)
        learner = filled.learners[0]
        mine = {"Authorization": f"Bearer {_token(serving, learner)}"}
        held = {"If-None-Match": _one(serving.port, "/v1/modules", {}).headers["ETag"]}
        for what, path, headers, values, status, goal in (
            ("status", f"/v1/badges/{MARK}/status", {}, filled.some_badges, 200, Goal(0.2, 0.4)),
            ("a learner's badges", f"/v1/learners/{learner}/badges", mine, [""], 200, Goal(0.12, 0.25)),
            ("the catalogue's first page", "/v1/modules", {}, [""], 200, Goal(0.2, 0.3)),
            ("the same, held by the client", "/v1/modules", held, [""], 304, Goal(0.5, 0.5)),
            ("/health/live", "/health/live", {}, [""], 200, Goal(0.6, 0.6)),
        ):
            whole = _one(serving.port, path.replace(MARK, values[0]), {} if headers is held else headers)
            length = len(whole.body)
            row = Compared(f"{what}, {CLIENTS} clients", "answers/s", f"bare ASGI, {length} bytes", goal)
            seen: list[dict[str, Any]] = []
            ours = partial(_asked, serving.port, path, headers, values, seen, status)
            ours()
            take_turns(row, rounds, ours, partial(_asked, peer, f"/{length}", {}, [""], []))
            row.more = {"seen": seen}
            yield row


def _token(serving: Serving, learner: str) -> str:
    with database.owner(serving.url) as connection:
        return tokens.insert_token(connection, "learner", dt.timedelta(hours=1), learner_id=learner)


class _Answer(NamedTuple):
    headers: Message
    body: bytes


def _one(port: int, path: str, headers: dict[str, str]) -> _Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered {answer.status}: {body[:500]!r}")
    return _Answer(answer.headers, body)


def _asked(
    port: int,
    path: str,
    headers: dict[str, str],
    values: Sequence[str],
    seen: list[dict[str, Any]],
    status: int = 200,
) -> float:
    """Answers a second."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    task = {
        "port": port,
        "clients": CLIENTS,
        "head": f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}",
        "body": "",
        "seconds": SECONDS,
        "requests": 10_000_000,
        "first": 0,
        "values": list(values),
    }
    with child(python("tests.benchmarks.load")) as generator:
        said, _ = generator.communicate(json.dumps(task).encode(), timeout=SECONDS + 60)
    found: dict[str, Any] = json.loads(said)
    if set(found["statuses"]) != {str(status)}:
        raise RuntimeError(f"not every look-up was answered: {found['statuses']}")
    seen.append(found)
    return float(found["statuses"][str(status)] / found["seconds"])
