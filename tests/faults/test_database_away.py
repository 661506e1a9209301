"""PostgreSQL stops, stands still or throws everyone out: the service says so, and goes on afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from api.app import THREADS
from api.http import exchange
from registry.postgres.connections import STILL_SECONDS, UnavailableError, connect
from tests.end_to_end.client import Answer, Client, until
from tests.end_to_end.processes import STOP_SECONDS, Serving, Workshop, registry
from tests.end_to_end.servers import OtherPostgres, embedded_url, logins, make_token
from tests.faults.load import Load
from tests.faults.oracle import award_body, check_rows
from tests.faults.swallowing import Swallower
from tests.support import PATIENCE_SECONDS, SLACK_SECONDS, as_login

pytestmark = pytest.mark.slow
READS_NO_DATABASE = {"getEventSchema"}
READS = (
    "/v1/institutions",
    "/v1/modules",
    "/v1/badges/{badge}/status",
    "/v1/badges/{badge}/status?minPosition=1",
    "/v1/badges/{badge}",
    "/v1/institutions/27UM/badges",
    "/health/ready",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherPostgres]:
    """A PostgreSQL of the operator's own, with a database to copy: the pilot's data and its key file."""
    found = OtherPostgres(tmp_path_factory.mktemp("other") / "server")
    for command in ("migrate", "demo-data"):
        done = registry(command, **logins(found.url), key_file=str(found.folder / "keys.json"))
        assert done.status == 0, done
    yield found
    found.end()


class Away:
    """A service on a PostgreSQL that a test takes away, with one award, and who asks."""

    def __init__(self, server: OtherPostgres, workshop: Workshop, port: int | None = None) -> None:
        """`port` is that of a peer before PostgreSQL, by which the service reaches it."""
        self.server, self.url = server, server.copy()
        given = {
            "database_url": as_login(self.url, "registry_serve").replace(
                f":{server.port}/", f":{port or server.port}/"
            ),
            "key_file": server.folder / "keys.json",
        }
        self.serving: Serving = workshop.serve(workshop.empty_data(), **given)
        self.token = make_token(self.url, "institution", institution="27UM")
        self.auditor = make_token(self.url, "auditor")
        with self.client() as client:
            self.badge = client.ask("POST", "/v1/badges", award_body("27UM", "before")).json["id"]

    def client(self, seconds: float = 15) -> Client:
        return Client(self.serving.address, self.token, seconds)

    def events(self) -> list[dict[str, Any]]:
        with Client(self.serving.address, self.auditor) as client:
            answer = client.ask("GET", "/v1/events?limit=10000")
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]

    def answers_again(self) -> bool:
        with self.client() as client:
            return client.ask("GET", "/v1/institutions/27UM/badges").status == 200


@pytest.fixture
def away(server: OtherPostgres, workshop: Workshop) -> Away:
    if not server.runs():
        server.start()
    return Away(server, workshop)


def not_ready(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == 503


def live(client: Client) -> None:
    assert client.ask("GET", "/health/live").status == 200


def test_while_postgresql_is_stopped_everything_answers_503_and_works_again_without_a_restart(
    away: Away,
) -> None:
    before = away.events()
    away.server.stop("immediate")
    with away.client() as client:
        for path in READS:
            not_ready(client.ask("GET", path.format(badge=away.badge)))
        # Known tokens are trusted for a moment; after it the token itself cannot be read.
        until(
            lambda: client.ask("GET", "/v1/learners/me").status == 503,
            PATIENCE_SECONDS,
            "an end of the kept token",
        )
        for number in range(3):
            not_ready(client.ask("POST", "/v1/badges", award_body("27UM", f"during-{number}")))
        not_ready(client.ask("POST", f"/v1/badges/{away.badge}/revocation", {"reason": "fraud"}))
        live(client)
        assert client.ask("GET", "/v1/openapi.json").status == 200
        began = time.monotonic()
        for _ in range(500):
            not_ready(client.ask("GET", "/v1/institutions"))
        seconds = time.monotonic() - began
    lines = [line for line in away.serving.log.read_text().splitlines() if " WARNING " in line]
    warnings = Counter(line.partition(" WARNING ")[2].partition(" [")[0] for line in lines)
    assert max(warnings.values()) < 30 + 2 * seconds, "a line each second, and not for each request"
    with away.serving.client() as anyone:
        assert anyone.ask("POST", "/v1/badges", award_body("27UM", "nobody")).status == 401

    away.server.start()
    until(away.answers_again, PATIENCE_SECONDS, "an answer")
    assert away.events() == before
    with away.client() as client:
        # Who comes first may still meet a connection of before.
        answer = until(lambda: _awarded(client, "during-0"), PATIENCE_SECONDS, "an award")
        assert (answer.status, answer.json["position"]) == (201, len(before) + 1)
        path = f"/v1/badges/{answer.json['id']}/status?minPosition={answer.json['position']}"
        until(lambda: client.ask("GET", path).status == 200, PATIENCE_SECONDS, "a read model that goes on")
    assert "Traceback" not in away.serving.log.read_text()


def _awarded(client: Client, reference: str) -> Answer | None:
    answer = client.ask("POST", "/v1/badges", award_body("27UM", reference))
    if answer.status == 503:
        not_ready(answer)
        return None
    return answer


def test_a_stop_in_the_midst_of_writes_leaves_nothing_half_written(away: Away) -> None:
    load = Load(away.serving.address, away.url, seed=7, others=1)
    load.start()
    load.more(50)
    away.server.stop("immediate")
    time.sleep(0.3)
    away.server.start()
    load.more(30)
    away.server.stop("fast")
    away.server.start()
    load.more(30)
    load.stop()
    assert away.answers_again()
    load.check(random.Random(7))
    check_rows(away.url)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_bulk_goes_on_by_itself_when_postgresql_is_restarted(mode: str, away: Away) -> None:
    load = Load(away.serving.address, away.url, seed=13, others=1, bulk=3)
    load.start()
    for _ in range(3):
        load.more(500)
        until(lambda: load.under_way, PATIENCE_SECONDS, "a batch under way")
        away.server.stop(mode)
        away.server.start()
    load.more(1_000)
    load.stop()
    until(away.answers_again, PATIENCE_SECONDS, "an answer")
    events = load.check(random.Random(13))
    check_rows(away.url)
    print(
        f"{mode}: {events} events, batches {dict(load.oracle.batches)}, unclear {dict(load.oracle.unclear)}"
    )
    assert load.oracle.batches["sent again"] > 0, "no batch met a restart"
    assert "Traceback" not in away.serving.log.read_text()


def test_sessions_that_are_thrown_out_end_in_503_never_in_500_and_the_read_models_go_on(
    workshop: Workshop,
) -> None:
    """One server process that dies makes PostgreSQL end all the others, each in the midst of anything."""
    data = workshop.data()
    serving = workshop.serve(data)
    serving.settled()
    token = make_token(embedded_url(data), "institution", institution="27UM")
    seen: Counter[int] = Counter()
    leaving = threading.Event()

    def ask(number: int) -> None:
        with Client(serving.address, token) as client:
            while not leaving.is_set():
                body = award_body("27UM", f"{number}-{sum(seen.values())}")
                seen[client.ask("POST", "/v1/badges", body).status] += 1
                seen[client.ask("GET", "/v1/institutions/27UM/badges?limit=1").status] += 1

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        try:
            for _ in range(4):
                until(lambda: _end_a_session(embedded_url(data)), PATIENCE_SECONDS, "a session to end")
                time.sleep(0.2)
                until(serving.ready, PATIENCE_SECONDS, "an answer")
        finally:
            leaving.set()
        for each in asking:
            each.result()
    assert set(seen) <= {200, 201, 503}, seen
    serving.settled()
    assert "Traceback" not in serving.log.read_text()


def _end_a_session(url: str) -> bool:
    try:
        session = connect(url)
    except UnavailableError:
        return False
    os.kill(session.info.backend_pid, signal.SIGKILL)
    session.close()
    return True


def test_while_postgresql_stands_still_the_service_is_live_and_goes_on_when_it_wakes(away: Away) -> None:
    before = len(away.events())
    away.server.freeze()
    try:
        with ThreadPoolExecutor(100) as pool:
            waiting = [pool.submit(_try, away, number) for number in range(100)]
            time.sleep(0.5)
            with away.client(seconds=3) as client:
                for _ in range(5):
                    live(client)
                    time.sleep(0.2)
            away.server.thaw()
            answers = [each.result() for each in waiting]
    finally:
        away.server.thaw()
    until(away.answers_again, PATIENCE_SECONDS, "an answer")
    assert {answer.status for answer in answers if answer} <= {200, 201, 503}
    awarded = [answer.json["position"] for answer in answers if answer and answer.status == 201]
    events = away.events()
    assert len(events) >= before + len(awarded)
    assert all(events[position - 1]["type"] == "badge.awarded" for position in awarded)


def test_while_postgresql_stands_still_every_route_answers_503_in_time(away: Away) -> None:
    """More requests than threads, of every route that the API documents and that reads the database."""
    filled = {
        "id": away.badge, "brin": "27UM", "moduleId": away.badge, "learnerId": away.badge, "version": "1",
        "type": "badge.awarded",
    }  # fmt: skip
    with away.client() as client:
        paths = client.ask("GET", "/v1/openapi.json").json["paths"]
    calls: list[tuple[str, str, Any]] = [
        (method.upper(), "/v1" + path.format_map(filled), {} if method in ("post", "put") else None)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation["operationId"] not in READS_NO_DATABASE
    ]
    calls += [("GET", "/health/ready", None), ("POST", "/v1/badges", award_body("27UM", "frozen"))]
    calls *= 1 + 100 // len(calls)

    def ask(call: tuple[str, str, Any]) -> tuple[str, str, float]:
        began = time.monotonic()
        with away.client(seconds=120) as client:
            not_ready(client.ask(*call))
        return *call[:2], time.monotonic() - began

    time.sleep(1.5)  # no token is trusted any more that was read before
    away.server.freeze()
    try:
        with ThreadPoolExecutor(len(calls)) as pool:
            took = list(pool.map(ask, calls))
    finally:
        away.server.thaw()
    late = [each for each in took if each[2] > exchange.ANSWER_SECONDS + SLACK_SECONDS]
    assert late == []
    until(away.answers_again, PATIENCE_SECONDS, "an answer")
    with ThreadPoolExecutor(100) as pool:
        again = [pool.submit(_try, away, number) for number in range(100)]
        assert {answer.status for each in again if (answer := each.result())} <= {200, 201}
    assert "ERROR" not in away.serving.log.read_text()


def _all_fail_in_time(away: Away, count: int) -> None:
    """More requests than threads, and than connections, at once."""

    def ask(number: int) -> float:
        began = time.monotonic()
        with away.client(seconds=120) as client:
            if number % 2:
                not_ready(client.ask("POST", "/v1/badges", award_body("27UM", f"silent-{number}")))
            else:
                not_ready(client.ask("GET", f"/v1/badges/{away.badge}/status"))
        return time.monotonic() - began

    with ThreadPoolExecutor(count) as pool:
        assert max(pool.map(ask, range(count))) < exchange.ANSWER_SECONDS + 5


def test_requests_come_and_go_while_postgresql_stands_still_and_it_answers_right_after_the_thaw(
    away: Away,
) -> None:
    away.server.freeze()
    try:
        for _ in range(3):
            _all_fail_in_time(away, 100)
            with away.client(seconds=5) as client:
                live(client)
            assert len(list(Path(f"/proc/{away.serving.pid}/task").iterdir())) < THREADS + 32
    finally:
        away.server.thaw()
    until(away.answers_again, PATIENCE_SECONDS, "an answer")
    with away.client() as client:
        assert until(lambda: _awarded(client, "thawed"), PATIENCE_SECONDS, "an award").status == 201
    assert "ERROR" not in away.serving.log.read_text()


@pytest.fixture
def swallower(server: OtherPostgres) -> Iterator[Swallower]:
    found = Swallower(server.port)
    yield found
    found.close()


def test_what_waits_for_a_peer_that_swallows_everything_is_given_back(
    server: OtherPostgres, swallower: Swallower, workshop: Workshop
) -> None:
    """The connections of before never answer again; new ones reach PostgreSQL, as after a fail-over."""
    away = Away(server, workshop, swallower.port)
    swallower.swallow()
    for _ in range(2):
        _all_fail_in_time(away, 100)
        with away.client(seconds=exchange.ANSWER_SECONDS + 5) as client:
            live(client)
            not_ready(client.ask("GET", "/health/ready"))
    swallower.carry()
    seconds = STILL_SECONDS + PATIENCE_SECONDS
    until(away.answers_again, seconds, "an answer")
    with away.client() as client:
        answer = until(lambda: _awarded(client, "later"), seconds, "an award")
        path = f"/v1/badges/{answer.json['id']}?minPosition={answer.json['position']}"
        until(lambda: client.ask("GET", path).status == 200, seconds, "a read model that goes on")
    assert "ERROR" not in away.serving.log.read_text()


def test_sigterm_ends_the_service_in_time_though_everything_is_swallowed(
    server: OtherPostgres, swallower: Swallower, workshop: Workshop
) -> None:
    away = Away(server, workshop, swallower.port)
    swallower.swallow()
    asking = threading.Thread(target=_ask_in_vain, args=(away, IN_VAIN[0]))
    asking.start()
    time.sleep(0.3)
    began = time.monotonic()
    away.serving.stop()
    asking.join(30)
    print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")


def _try(away: Away, number: int) -> Answer | None:
    with away.client(seconds=20) as client:
        if number % 2:
            return client.ask("POST", "/v1/badges", award_body("27UM", f"still-{number}"))
        return client.ask("GET", f"/v1/badges/{away.badge}/status")


@pytest.mark.parametrize("state", ["stopped", "still"])
def test_sigterm_ends_the_service_in_time_though_postgresql_is_away(state: str, away: Away) -> None:
    halt: dict[str, Callable[[], None]] = {"stopped": away.server.stop, "still": away.server.freeze}
    with away.client(seconds=STOP_SECONDS) as client:
        live(client)
        halt[state]()
        asking = [threading.Thread(target=_ask_in_vain, args=(away, call)) for call in IN_VAIN]
        for each in asking:
            each.start()
        time.sleep(0.3)
        began = time.monotonic()
        try:
            away.serving.stop()
        finally:
            if state == "still":
                away.server.thaw()
            for each in asking:
                each.join(30)
        print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")
    assert "CancelledError" not in away.serving.log.read_text(), "what is given up is no defect"


IN_VAIN: list[tuple[str, str, Any]] = [
    ("POST", "/v1/badges", award_body("27UM", "in-vain")),
    ("GET", "/v1/badges/{badge}/status", None),
    ("GET", "/v1/institutions/27UM/badges", None),
    ("GET", "/v1/modules?minPosition=1", None),
]


def _ask_in_vain(away: Away, call: tuple[str, str, Any]) -> None:
    method, path, body = call
    with away.client(seconds=20) as client:
        try:
            answer = client.ask(method, path.format(badge=away.badge), body)
        except (OSError, EOFError, HTTPException):
            return
        assert answer.status >= 500, "nothing can be answered while PostgreSQL is away"
