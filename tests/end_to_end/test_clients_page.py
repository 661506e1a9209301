"""The client of docs/clients.md, run as it stands on a connection that fails."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.end_to_end.client import Client
from tests.end_to_end.page_blocks import blocks
from tests.end_to_end.processes import Serving, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token

(CLIENT,) = blocks("docs/clients.md", "python")


class Failing(BaseHTTPRequestHandler):
    """Passes each request on, but not at once: the first time the answer is lost, then it says 503."""

    target: ClassVar[str]
    seen: ClassVar[dict[tuple[str, bytes], int]]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        times = self.seen[self.path, body] = self.seen.get((self.path, body), 0) + 1
        if times == 2:
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status, kind, answer = self._asked(body)
        if times == 1 and self.command == "POST":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _pass  # noqa: N815 - the names that the library calls

    def _asked(self, body: bytes) -> tuple[int, str, bytes]:
        parts = urlsplit(self.target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        kept = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
        connection.request(self.command, self.path, body or None, kept)
        answer = connection.getresponse()
        found = answer.status, answer.headers["Content-Type"], answer.read()
        connection.close()
        return found

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def failing(target: str) -> Iterator[tuple[str, dict[tuple[str, bytes], int]]]:
    """The address of a connection that fails, and how often each request came through it."""
    seen: dict[tuple[str, bytes], int] = {}
    handler = type("Handler", (Failing,), {"target": target, "seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join(30)


def run_client(serving: Serving, address: str) -> list[str]:
    """The page's client as it stands; its lines."""
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CLIENT.text],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment() | {"REGISTRY": address, "TOKEN": token},
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def test_the_client_is_some_forty_lines_beside_its_comments_and_data() -> None:
    lines = [line for line in CLIENT.text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 46


def test_the_client_records_everything_once_on_a_connection_that_fails(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    before = serving.settled()
    with failing(serving.address) as (address, seen):
        reconciled, revoked = run_client(serving, address)
    assert reconciled == "100 awards, 0 not in the registry, 25 only there"
    assert re.fullmatch(r"[0-9a-f-]{36} revoked", revoked)
    assert {times for (path, body), times in seen.items() if body} == {3}, "no POST was sent again"
    events = recorded(serving, before)
    assert [each["type"] for each in events] == [
        "module.registered",
        *["badge.awarded"] * 100,
        "badge.corrected",
        *["badge.revoked"] * 3,
    ]
    assert run_client(serving, serving.address)[0] == reconciled, "sent again as a whole"


def recorded(serving: Serving, after: int) -> list[dict[str, Any]]:
    with Client(serving.address, make_token(embedded_url(serving.data), "auditor")) as client:
        lines = client.ask("GET", f"/v1/events?after={after}").body.splitlines()
    return [json.loads(line) for line in lines]
