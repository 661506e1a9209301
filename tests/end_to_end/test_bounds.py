"""`registry serve` without a proxy: the process itself bounds connections, heads, times and batches."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from api.app import THREADS
from api.commands.batches import MAX_BATCHES, MAX_BATCHES_OF_TOKEN
from registry.cli.protocol import (
    BODY_SECONDS,
    HEAD_SECONDS,
    MAX_HEAD,
    MAX_PIPELINED,
    MIN_MEAN_CHUNK,
    RESERVED_FILES,
    SEND_SECONDS,
)
from registry.postgres.connections import connect
from tests.end_to_end.client import Client, until
from tests.end_to_end.processes import REGISTRY, Serving, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token
from tests.faults.oracle import award_body
from tests.support import PATIENCE_SECONDS, SLACK_SECONDS

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
BATCH_HEAD = (
    "POST /v1/badge-batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n"
    "Content-Type: application/x-ndjson\r\nContent-Length: 100000000\r\n\r\n"
)
CHUNKED = b"POST /v1/badges HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "headers": (b"GET /health/live HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
    "one header": (b"GET /health/live HTTP/1.1\r\na: ", b"b" * MAX_HEAD),
    "one header's name": (b"GET /health/live HTTP/1.1\r\n", b"b" * MAX_HEAD),
    "an address": (b"GET /", b"a" * MAX_HEAD),
    "a query": (b"GET /v1/modules?reference=", b"a" * MAX_HEAD),
    "empty lines": (b"", b"\r\n" * 10_000),
    "a chunk's extension": (CHUNKED + b"1;a=", b"b" * MAX_HEAD),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000),
}


@pytest.fixture
def serving(workshop: Workshop) -> Serving:
    started = workshop.serve(workshop.data())
    started.settled()
    return started


def memory(serving: Serving) -> int:
    """Its resident memory, in bytes."""
    lines = Path(f"/proc/{serving.pid}/status").read_text().splitlines()
    (held,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(held) * 1024


def sockets(serving: Serving) -> int:
    """How many sockets it has open."""
    opened = 0
    for each in Path(f"/proc/{serving.pid}/fd").iterdir():
        with suppress(OSError):
            opened += str(each.readlink()).startswith("socket:")
    return opened


def is_open(serving: Serving, connection: socket.socket) -> bool:
    """Whether the service has not ended this connection, as the kernel knows it."""
    end, established = f":{connection.getsockname()[1]:04X}", "01"
    rows = Path(f"/proc/{serving.pid}/net/tcp").read_text().splitlines()[1:]
    return any(peer.endswith(end) and state == established for _, _, peer, state, *_ in map(str.split, rows))


def connected(serving: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", serving.port), 15)


def answered(connection: socket.socket, seconds: float = PATIENCE_SECONDS) -> bytes:
    """All that comes until the service closes the connection; fails where it does not."""
    connection.settimeout(seconds)
    came = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            came += part
    return came


def first_status(connection: socket.socket, seconds: float = 0.0) -> int | None:
    """The status of what has come so far; None where nothing has."""
    connection.settimeout(max(seconds, 0.001))
    with suppress(TimeoutError, ConnectionError):
        if head := connection.recv(12, socket.MSG_PEEK):
            return int(head[9:12])
    return None


def serves_others(serving: Serving, token: str, reference: str) -> None:
    """An award and its status do not wait until what stalls is ended."""
    with Client(serving.address, token) as client:
        began = time.monotonic()
        made = client.ask("POST", "/v1/badges", award_body("27UM", reference))
        assert made.status == 201, made
        awarded = time.monotonic()
        status = client.ask("GET", f"/v1/badges/{made.json['id']}/status?minPosition={made.json['position']}")
        assert status.status == 200, status
        took = (awarded - began, time.monotonic() - awarded)
    assert max(took) < BODY_SECONDS / 3, took


@pytest.mark.parametrize("what", ENDLESS)
def test_a_head_without_an_end_is_refused_at_its_bound(what: str, serving: Serving) -> None:
    begin, more = ENDLESS[what]
    before, sent = memory(serving), len(begin)
    with connected(serving) as connection:
        connection.sendall(begin)
        with suppress(ConnectionError):
            while sent < 64 * MIB:
                connection.sendall(more)
                sent += len(more)
        came = answered(connection)
    assert sent < 16 * MIB, "it read on"
    assert memory(serving) - before < 20 * MIB
    if came and not begin.startswith(CHUNKED):
        head, _, body = came.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\napi-version: " in head
        assert json.loads(body)["type"] == "/problems/invalid-input"
    with serving.client() as client:
        assert client.ask("GET", "/health/live").status == 200


def test_a_head_within_its_bound_is_read(serving: Serving) -> None:
    for size, status in ((MAX_HEAD - 500, 200), (MAX_HEAD + 500, 400)):
        with connected(serving) as connection:
            padding = "a" * size
            request = (
                f"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Padding: {padding}\r\n\r\n"
            )
            connection.sendall(request.encode())
            assert answered(connection).startswith(f"HTTP/1.1 {status} ".encode())


def chunks(size: int, count: int) -> bytes:
    """Chunks of so many bytes each: whole lines of a batch of revocations, with one at its end."""
    line = b'{"reference":"%s","reason":"other"}\n' % (b"r" * 100)
    body = line * (1 + size * count // len(line))
    return (
        b"".join(b"%x\r\n%s\r\n" % (size, body[n * size : (n + 1) * size]) for n in range(count))
        + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("path", ["/v1/badges", "/v1/badge-revocations", "/v1/modules", "/v1/unknown"])
def test_a_body_of_many_tiny_chunks_is_refused_and_says_so(path: str, serving: Serving) -> None:
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    for size in (1, MIN_MEAN_CHUNK - 1):
        with closing(connected(serving)) as connection:
            with suppress(ConnectionError):  # it is refused long before its end
                connection.sendall(head + chunks(size, 1_000_000 // size))
            came = answered(connection)
        if path == "/v1/unknown":
            continue  # answered at once
        assert came.startswith(b"HTTP/1.1 400 "), came[:400]
        assert b"send larger chunks" in came, came
    with closing(connected(serving)) as connection:
        connection.sendall(head + chunks(MIN_MEAN_CHUNK, 5_000))
        status = first_status(connection, PATIENCE_SECONDS)
        assert status == {"/v1/badge-revocations": 200, "/v1/unknown": 404}.get(path, 415)


def test_a_client_that_sends_on_without_reading_is_refused(serving: Serving) -> None:
    request = b"GET /v1/modules HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(serving) as connection:
        connection.sendall(request * (MAX_PIPELINED // 2))
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answered(connection).count(b"HTTP/1.1 200 ") == MAX_PIPELINED // 2 + 1
    with connected(serving) as connection:
        connection.sendall(request * 500)
        assert answered(connection).count(b"HTTP/1.1 200 ") <= MAX_PIPELINED + 1


def test_whoever_stops_in_the_middle_is_ended_in_time(serving: Serving) -> None:
    assert serving.address
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    authorization = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n".encode()
    half = b"POST /v1/badges HTTP/1.1\r\nHost: x\r\n" + authorization + b"Content-Length: 1000\r\n\r\n{"
    stalled = {
        "silent": (b"", HEAD_SECONDS),
        "half a line": (b"GET /", HEAD_SECONDS),
        "half a head": (b"GET / HTTP/1.1\r\nHost: x\r\n", HEAD_SECONDS),
        "an empty line": (b"\r\n", HEAD_SECONDS),
        "a second head": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /", HEAD_SECONDS),
        "half a body": (half, BODY_SECONDS),
        "half a batch": (BATCH_HEAD.format(token).encode() + b"1\n", BODY_SECONDS),
        "a refused body": (half.replace(authorization, b""), BODY_SECONDS),
    }
    with ExitStack() as stack:
        began, opened = time.monotonic(), {}
        for what, (sent, _) in stalled.items():
            opened[what] = stack.enter_context(connected(serving))
            opened[what].sendall(sent)
        for what, (_, seconds) in sorted(stalled.items(), key=lambda item: item[1][1]):
            answered(opened[what], seconds + SLACK_SECONDS)
            took = time.monotonic() - began
            assert took < seconds + SLACK_SECONDS, f"{what} was ended after {took:.1f} s"
    assert "ERROR" not in serving.log.read_text()


def test_a_client_that_does_not_read_its_answers_is_ended_in_time(serving: Serving) -> None:
    """More answers than the buffers of both ends hold."""
    request = b"GET /v1/static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(serving) as connection:
        began = time.monotonic()
        connection.sendall(request * MAX_PIPELINED)
        assert first_status(connection, 15) == 200
        until(
            lambda: not is_open(serving, connection),
            SEND_SECONDS + SLACK_SECONDS,
            "an end of the connection",
        )
        assert time.monotonic() - began > SEND_SECONDS - 2
    assert "ERROR" not in serving.log.read_text()


def test_a_slow_client_that_goes_on_is_not_ended(serving: Serving) -> None:
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    body = json.dumps(award_body("27UM", "slow")).encode()
    head = (
        f"POST /v1/badges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connected(serving) as connection:
        connection.sendall(head.encode())
        for part in (body[:10], body[10:20], body[20:]):
            time.sleep(HEAD_SECONDS * 0.6)
            connection.sendall(part)
        assert answered(connection).startswith(b"HTTP/1.1 201 ")


def test_a_body_that_trickles_is_ended_in_time(serving: Serving) -> None:
    """It would hold one of the places for long bodies for as long as its client likes."""
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    head = (
        f"POST /v1/badges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    )
    began = time.monotonic()
    with connected(serving) as connection:
        connection.sendall(head.encode() + b" " * 20_000)
        ended = False
        while not ended and time.monotonic() < began + BODY_SECONDS + SLACK_SECONDS:
            time.sleep(0.5)
            try:
                connection.sendall(b" ")
            except ConnectionError:
                ended = True
        assert ended


def test_connections_beyond_the_open_files_end_idle_ones_and_nobody_is_kept_out(workshop: Workshop) -> None:
    data = workshop.data()
    others = workshop.serve(data)  # it runs PostgreSQL, whose files are limited apart
    token = make_token(embedded_url_of(others), "institution", institution="27UM")
    words = ["prlimit", f"--nofile={RESERVED_FILES + 50}", REGISTRY, "serve"]
    limited = workshop.run(words, environment(port=0, data_dir=data), workshop.folder)
    address = limited.line(r"^Microcredential registry: (http://\S+)")
    port = int(address.rpartition(":")[2])
    with Client(address, token) as kept, ExitStack() as stack:
        assert kept.ask("GET", "/health/live").status == 200
        for _ in range(RESERVED_FILES + 100):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 15)))
        # At once, while all these connections are still open on the client's side.
        with Client(address, token) as client:
            assert client.ask("GET", "/v1/modules").status == 200
        # Those that are in the middle of a request are not idle: with these alone the next one is refused.
        head = f"POST /v1/badges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        for _ in range(60):
            busy = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 15)))
            with suppress(OSError):
                busy.sendall(f"{head}Content-Length: 9\r\n\r\n".encode())
        one_more = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 15)))
        refusal, _, body = answered(one_more).partition(b"\r\n\r\n")
        assert b"\r\nretry-after: " in refusal
        assert json.loads(body)["type"] == "/problems/not-ready"
    assert limited.stop() == 0
    assert "Too many open files" not in limited.said()


def embedded_url_of(serving: Serving) -> str:
    assert serving.address
    return embedded_url(serving.data)


def _stalled_batches(serving: Serving, tokens: Iterator[str], count: int) -> list[socket.socket]:
    opened = []
    for token in itertools.islice(tokens, count):
        connection = connected(serving)
        with suppress(ConnectionError):
            connection.sendall(BATCH_HEAD.format(token).encode() + b"1\n" * 2_000)
        opened.append(connection)
    return opened


def test_stalled_batches_take_neither_memory_nor_places_for_long(serving: Serving) -> None:
    url = embedded_url_of(serving)
    tokens = [make_token(url, "institution", institution="27UM") for _ in range(10)]
    serves_others(serving, tokens[0], "before")
    before = memory(serving)
    one = _stalled_batches(serving, itertools.repeat(tokens[0]), 100)
    until(
        lambda: sum(first_status(each) == 429 for each in one) == 100 - MAX_BATCHES_OF_TOKEN,
        PATIENCE_SECONDS,
        "a 429 for all but two batches of a token",
    )
    others = _stalled_batches(serving, itertools.cycle(tokens[1:]), 100)
    until(
        lambda: (
            sum(first_status(each) is not None for each in others) == 100 - MAX_BATCHES + MAX_BATCHES_OF_TOKEN
        ),
        PATIENCE_SECONDS,
        "a refusal of all but eight batches",
    )
    # Which bound a batch meets first, its token's or that of all, is a matter of what came before it.
    statuses = {first_status(each) for each in others}
    assert {None, 503} <= statuses <= {None, 429, 503}
    serves_others(serving, tokens[0], "meanwhile")
    print(f"200 stalled batches: {(memory(serving) - before) / MIB:.0f} MiB")
    assert memory(serving) - before < 60 * MIB
    for each in (*one, *others):
        answered(each, BODY_SECONDS + SLACK_SECONDS)
        each.close()

    def batch() -> bool:
        with Client(serving.address, tokens[0]) as client:
            line = iter([json.dumps(award_body("27UM", "after")).encode()])
            headers = {"Content-Type": "application/x-ndjson"}
            return client.stream("POST", "/v1/badge-batches", line, **headers).status == 200

    until(batch, PATIENCE_SECONDS, "a batch of the same token")
    assert memory(serving) - before < 60 * MIB
    assert "ERROR" not in serving.log.read_text()


def threads(serving: Serving) -> int:
    """How many threads it has now."""
    return len(list(Path(f"/proc/{serving.pid}/task").iterdir()))


def test_the_number_of_threads_has_a_ceiling_whatever_is_asked(serving: Serving) -> None:
    """Far below the tasks that deploy/compose.yaml allows a process."""
    url = embedded_url_of(serving)
    tokens = [make_token(url, "institution", institution="27UM") for _ in range(10)]
    most = 0

    def ask(number: int) -> int:
        with Client(serving.address, tokens[number % 10], 60) as client:
            return client.ask("GET", "/v1/institutions/27UM/badges").status

    with ThreadPoolExecutor(100) as pool, ExitStack() as stack:
        for connection in _stalled_batches(serving, itertools.cycle(tokens), 260):
            stack.enter_context(closing(connection))
        with closing(connect(url)) as holder, holder.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE badge IN ACCESS EXCLUSIVE MODE")
            asking = [pool.submit(ask, number) for number in range(300)]
            while not all(each.done() for each in asking):
                most = max(most, threads(serving))
                time.sleep(0.01)
        assert {each.result() for each in asking} == {503}
        assert THREADS < most < THREADS + 32
        serves_others(serving, tokens[0], "meanwhile")
    print(f"{most} threads")
    assert "ERROR" not in serving.log.read_text()


def test_a_client_that_hangs_up_in_the_middle_of_its_answer_is_no_defect(serving: Serving) -> None:
    auditor = make_token(embedded_url_of(serving), "auditor")
    request = f"GET /v1/events?limit=10000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {auditor}\r\n\r\n"
    for number in range(1_000):
        with connected(serving) as connection:
            connection.sendall(request.encode())
            time.sleep((number % 40) / 10_000)
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with serving.client() as client:
        assert client.ask("GET", "/health/live").status == 200
    assert "ERROR" not in serving.log.read_text()
