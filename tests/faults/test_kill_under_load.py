"""kill -9 of the service and of PostgreSQL at random moments under load: nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from contextlib import suppress

import pytest

from tests.end_to_end.client import Answer, Client, free_port, until
from tests.end_to_end.processes import Serving, Workshop
from tests.end_to_end.servers import backends, children, embedded_url, make_token, postmaster
from tests.faults.load import Load
from tests.faults.oracle import REVOCATION, award_body
from tests.support import PATIENCE_SECONDS

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "5"))
SEED = int(os.environ.get("FAULT_SEED", secrets.randbelow(10**6)))

VICTIMS = ("service", "postgres", "both", "backend")

pytestmark = pytest.mark.slow


def victims(rng: random.Random) -> list[str]:
    """Whom to kill in each round: everyone in turn, in an order by chance."""
    found: list[str] = []
    while len(found) < ROUNDS:
        found += rng.sample(VICTIMS, len(VICTIMS))
    return found[:ROUNDS]


def kill(victim: str, serving: Serving, rng: random.Random) -> None:
    server = postmaster(serving.data)
    assert server is not None
    if victim == "backend":
        os.kill(rng.choice(backends(server)), signal.SIGKILL)
    if victim in ("service", "both"):
        serving.kill()
    if victim in ("postgres", "both"):
        # Its first process alone (the others then end by themselves), or all of them at once.
        kill_all([server, *(children(server) if rng.random() < 0.5 else [])])


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_a_reader_has_waited_for_stays_seen_when_postgresql_is_killed(workshop: Workshop) -> None:
    """Read models may be taken back by a crash; then a read that asks for a position waits again."""
    serving = workshop.serve(workshop.data())
    serving.settled()
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    for number in range(3):
        with serving.client(token) as client:
            badge = client.ask("POST", "/v1/badges", award_body("27UM", f"seen-{number}")).json["id"]
            position = client.ask("POST", f"/v1/badges/{badge}/revocation", REVOCATION).json["position"]
            path = f"/v1/badges/{badge}/status?minPosition={position}"
            server = postmaster(serving.data)
            assert server is not None
            everyone = [server, *children(server)]
            before = client.ask("GET", path)
            kill_all(everyone)
            assert before.json["status"] == "revoked"

            def again(client: Client = client, path: str = path) -> Answer | None:
                answer = client.ask("GET", path)
                return None if answer.status == 503 else answer

            answer = until(again, PATIENCE_SECONDS, "an answer")
            assert answer.status == 200, answer
            assert (answer.json["status"], answer.json["position"]) == ("revoked", position)
            until(serving.ready, PATIENCE_SECONDS, "an answer")
            # Who comes first may still meet a connection of before.
            until(lambda: _writes(serving, token), PATIENCE_SECONDS, "a write")


def _writes(serving: Serving, token: str) -> bool:
    with serving.client(token) as client:
        return client.ask("POST", "/v1/badges", award_body("27UM", "between")).status in (200, 201)


def test_nothing_acknowledged_is_lost_or_doubled_whoever_is_killed(workshop: Workshop) -> None:
    rng = random.Random(SEED)
    print(f"FAULT_SEED={SEED} FAULT_ROUNDS={ROUNDS}")
    data, port = workshop.data(), free_port()
    serving = workshop.serve(data, port=port)
    load = Load(serving.address, embedded_url(data), SEED)
    for number, victim in enumerate(victims(rng), 1):
        load.start()
        load.more(20)
        load.more(rng.randrange(1, 150))
        server, began = postmaster(data), time.monotonic()
        kill(victim, serving, rng)
        if victim in ("service", "both"):
            serving = workshop.serve(data, port=port)
            assert serving.address
        if victim in ("postgres", "both"):
            until(lambda old=server: postmaster(data) not in (None, old), PATIENCE_SECONDS, "a server")  # type: ignore[misc]
        until(serving.ready, PATIENCE_SECONDS, "an answer from the service with its database")
        away = time.monotonic() - began
        load.more(30)
        load.stop()
        events = load.check(rng)
        print(
            f"round {number}: {victim} killed, ready after {away:.1f} s, {events} events,"
            f" unclear {dict(load.oracle.unclear)}"
        )
    assert serving.stop() == 0
    assert postmaster(data) is None
