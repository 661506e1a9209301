"""Single awards over HTTP: 64 clients that keep their connections, one worker each."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tests import support
from tests.benchmarks import candidates
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.load import MARK
from tests.benchmarks.measure import Compared, Goal, take_turns
from tests.benchmarks.processes import child, cpu_seconds, python
from tests.benchmarks.servers import Server

CLIENTS = 64
SECONDS = 3.0
_numbers = itertools.count(0, 1_000_000)


def measure(server: Server, folder: Path, rounds: int) -> list[Compared]:
    compared = Compared(
        f"single awards over HTTP, {CLIENTS} clients, one worker", "awards/s", "stock stack", Goal(5, 8)
    )
    seen: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    with candidates.ours(server, folder) as ours, candidates.peer(server) as peer:

        def turn(candidate: Candidate, kept: list[dict[str, Any]]) -> float:
            found = awards(candidate, seconds=SECONDS)
            kept.append({**found, "settled_after_seconds": candidate.settle()})
            return float(found["awards"] / found["seconds"])

        for each in (ours, peer):
            awards(each, seconds=1.0)
            each.settle()
        take_turns(compared, rounds, lambda: turn(ours, seen["ours"]), lambda: turn(peer, seen["peer"]))
    compared.more = seen
    return [compared]


def awards(candidate: Candidate, *, seconds: float = 60.0, requests: int = 1_000_000) -> dict[str, Any]:
    """Sends awards, each of a new badge to a new learner, and answers what the generator saw."""
    body = support.award(f"bench-{MARK}")
    body["learner"]["eduId"] = f"a1b2c3d4-0000-4000-8000-00{MARK}"
    head = (
        f"POST /v1/badges HTTP/1.1\r\nHost: 127.0.0.1:{candidate.port}\r\n"
        f"Authorization: Bearer {candidate.token}\r\nContent-Type: application/json\r\n"
    )
    task = {
        "port": candidate.port,
        "clients": CLIENTS,
        "head": head,
        "body": json.dumps(body),
        "seconds": seconds,
        "requests": requests,
        "first": next(_numbers),
    }
    before = cpu_seconds(candidate.process.pid)
    with child(python("tests.benchmarks.load")) as generator:
        said, _ = generator.communicate(json.dumps(task).encode(), timeout=seconds + 60)
    found: dict[str, Any] = json.loads(said)
    if set(found["statuses"]) != {"201"}:
        raise RuntimeError(f"not every award was recorded: {found['statuses']}")
    return {
        **found,
        "awards": found["statuses"]["201"],
        "server_cpu": cpu_seconds(candidate.process.pid) - before,
    }
