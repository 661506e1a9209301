"""`registry serve` under way: how it stops, and how several share one PostgreSQL."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from registry.postgres.connections import connect
from tests.end_to_end.client import Answer, Client, free_port, until
from tests.end_to_end.processes import DEMO_EVENTS, REGISTRY, STOP_SECONDS, Serving, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token, postmaster
from tests.faults.load import Load
from tests.faults.oracle import award_body
from tests.support import PATIENCE_SECONDS

MAX_IDLE_TRANSACTIONS = 60
"""In ten seconds: each of three read models looks once a second, and says that it is there."""

pytestmark = pytest.mark.slow


def test_sigterm_ends_it_in_time_whatever_clients_leave_open(workshop: Workshop) -> None:
    data = workshop.data()
    serving = workshop.serve(data)
    auditor = make_token(embedded_url_of(serving), "auditor")
    address = (urlsplit(serving.address).hostname, serving.port)
    with (
        socket.create_connection(address, 5),
        socket.create_connection(address, 5) as halfway,
        socket.create_connection(address, 5) as reading,
        serving.client() as kept,
    ):
        halfway.sendall(b"POST /v1/badges HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        head = f"GET /v1/events?limit=10000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {auditor}\r\n\r\n"
        reading.sendall(head.encode())
        assert kept.ask("GET", "/health/live").status == 200
        assert serving.stop() == 0
    assert postmaster(data) is None
    assert "Traceback" not in serving.log.read_text()


def test_it_reads_no_trailer_as_a_header_and_answers_junk_with_a_problem(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    auditor = make_token(embedded_url_of(serving), "auditor")
    head = b"GET /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = b"0\r\nAuthorization: Bearer %s\r\n\r\n" % auditor.encode()
    for sent, status in ((head + trailer, 401), (b"junk\r\n\r\n", 400)):
        with socket.create_connection((urlsplit(serving.address).hostname, serving.port), 5) as connection:
            connection.sendall(sent)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["API-Version"]


def test_an_idle_service_asks_postgresql_next_to_nothing(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    with closing(connect(embedded_url_of(serving))) as watching, watching.cursor() as cursor:

        def transactions() -> int:
            cursor.execute(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
            )
            (count,) = cursor.fetchone() or (0,)
            return int(count)

        def in_ten_seconds() -> int:
            before = transactions()
            time.sleep(10)
            return transactions() - before

        # Readers of the log ask more seldom, the longer it stands still.
        until(
            lambda: in_ten_seconds() <= MAX_IDLE_TRANSACTIONS,
            PATIENCE_SECONDS,
            "an idle service that is quiet",
        )


def embedded_url_of(serving: Serving) -> str:
    """The server's address, once the service answers on it."""
    assert serving.address
    return embedded_url(serving.data)


def test_sigterm_under_load_loses_nothing_that_was_acknowledged(workshop: Workshop) -> None:
    data, port = workshop.data(), free_port()
    serving = workshop.serve(data, port=port)
    load = Load(serving.address, embedded_url_of(serving), seed=1)
    load.start()
    load.more(60)
    began = time.monotonic()
    assert serving.stop() == 0
    print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")
    assert postmaster(data) is None
    load.stop()
    assert workshop.serve(data, port=port).address
    load.check(random.Random(1))


def test_sigterm_while_it_starts_leaves_no_postgresql_behind(workshop: Workshop) -> None:
    """The embedded server is stopped by the last process that uses it, however early that one ends."""
    data = workshop.data()
    for words in (["serve"], ["migrate"]):
        starting = workshop.run([REGISTRY, *words], environment(data_dir=data, port=0), workshop.folder)
        until(lambda: postmaster(data), PATIENCE_SECONDS, "an embedded PostgreSQL that starts")
        starting.stop()
        assert postmaster(data) is None, f"{words} left PostgreSQL behind"


def test_sigterm_while_postgresql_is_started_again_ends_it_in_time(workshop: Workshop) -> None:
    data = workshop.data()
    serving = workshop.serve(data)
    assert serving.address
    server = postmaster(data)
    assert server is not None
    os.kill(server, signal.SIGKILL)
    time.sleep(1.2)  # by now it has noticed
    assert serving.stop() == 0
    assert postmaster(data) is None


def award(writer: Serving, token: str, reference: str) -> Answer | None:
    """The answer, None when the service is not ready: it may meet connections that PostgreSQL has closed."""
    with Client(writer.address, token) as client:
        answer = client.ask("POST", "/v1/badges", award_body("27UM", reference))
    return None if answer.status == 503 else answer


def read_own_write(writer: Serving, readers: list[Serving], token: str, reference: str) -> float:
    """Awards through one process, and reads it at once through each: answers how long that took."""
    began = time.monotonic()
    awarded = until(lambda: award(writer, token, reference), PATIENCE_SECONDS, f"an award of {reference}")
    assert awarded.status == 201, awarded
    path = f"/v1/badges/{awarded.json['id']}/status?minPosition={awarded.json['position']}"

    def seen(reader: Serving) -> bool:
        with reader.client() as client:
            return client.ask("GET", path).status == 200

    for reader in readers:
        until(lambda reader=reader: seen(reader), PATIENCE_SECONDS, f"{reference} to be read")  # type: ignore[misc]
    return time.monotonic() - began


def test_two_processes_share_the_embedded_postgresql_and_the_other_takes_over(workshop: Workshop) -> None:
    data = workshop.data()
    first = workshop.serve(data)
    first.settled()
    token = make_token(embedded_url(data), "institution", institution="27UM")
    read_own_write(first, [first], token, "alone")
    second = workshop.serve(data)
    assert second.address
    server = postmaster(data)

    for writer, reference in ((first, "by the first"), (second, "by the second")):
        read_own_write(writer, [first, second], token, reference)
    connection = connect(embedded_url(data))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
        )
        assert cursor.fetchone() == (3,), "one projector for each of the three read models"
    connection.close()

    first.kill()  # it was first, so it projects
    assert postmaster(data) == server
    took = read_own_write(second, [second], token, "after the first was killed")
    print(f"the other took over within {took:.1f} s")
    assert server is not None
    os.kill(server, signal.SIGKILL)
    until(second.ready, PATIENCE_SECONDS, "an answer")
    read_own_write(second, [second], token, "after PostgreSQL was killed")

    third = workshop.serve(data)
    third.settled()
    server = postmaster(data)
    assert second.stop(signal.SIGINT) == 0
    assert postmaster(data) == server, "another process uses it still"
    read_own_write(third, [third], token, "by the third")
    with Client(third.address, make_token(embedded_url(data), "auditor")) as client:
        events = client.ask("GET", "/v1/events").body.splitlines()
    assert [json.loads(line)["position"] for line in events] == list(range(1, DEMO_EVENTS + 7))
    assert third.stop() == 0
    assert postmaster(data) is None


def test_an_auditor_who_stops_reading_holds_up_nobody(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    token = make_token(embedded_url_of(serving), "auditor")
    lazy = [http.client.HTTPConnection("127.0.0.1", serving.port, timeout=10) for _ in range(70)]
    try:
        for connection in lazy:
            connection.request("GET", "/v1/events?limit=10000", headers={"Authorization": f"Bearer {token}"})
        with serving.client(seconds=STOP_SECONDS) as client:
            assert client.ask("GET", "/v1/institutions").status == 200
        first = lazy[0].getresponse().read().splitlines()
        assert json.loads(first[-1])["position"] == len(first)
    finally:
        for connection in lazy:
            connection.close()
