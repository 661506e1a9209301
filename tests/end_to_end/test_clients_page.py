"""docs/clients.md, run as it stands: the client on a connection that fails, and the auditor's commands."""

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
from tests.end_to_end.processes import PROJECT, REGISTRY, Serving, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token

PAGE = (PROJECT / "docs" / "clients.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


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
    (program,) = blocks("python")
    token = make_token(embedded_url(serving.data), "institution", institution="27UM")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment() | {"REGISTRY": address, "TOKEN": token},
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def test_the_client_is_some_forty_lines_beside_its_comments_and_data() -> None:
    (program,) = blocks("python")
    lines = [line for line in program.splitlines() if line.strip() and not line.startswith("#")]
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


def test_what_an_auditor_types_answers(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    serving.settled()
    award = next(each for each in recorded(serving, 0) if each["type"] == "badge.awarded")
    values = {
        "REGISTRY": serving.address,
        "AUDITOR": make_token(embedded_url(serving.data), "auditor"),
        "BADGE": award["subject"],
        "POSITION": str(award["position"]),
        "TIME": award["time"],
    }
    commands = [
        line for block in blocks("sh") for line in block.splitlines() if line and not line.startswith("#")
    ]
    assert len(commands) == 12
    for command in commands:
        answer = typed(command, environment(data_dir=serving.data) | values)
        assert "/problems/" not in answer, (command, answer)
        if "type=badge.revoked" not in command:
            named = award["data"]["moduleId"] if "/v1/modules" in command else award["subject"]
            assert named in answer or "badge.awarded 25" in answer, (command, answer)


def test_what_a_statistician_types_answers_as_the_page_says(workshop: Workshop) -> None:
    serving = workshop.serve(workshop.data())
    serving.settled()
    values = {
        "REGISTRY": serving.address,
        "STATISTICIAN": make_token(embedded_url(serving.data), "statistician"),
    }
    page = blocks("console")[-1].splitlines()
    commands = [line.removeprefix("$ ") for line in page if line.startswith("$ ")]
    answers = [typed(command, environment(data_dir=serving.data) | values) for command in commands]
    assert json.loads(answers[0])["items"] == json.loads(page[1])["items"]
    assert json.loads(answers[1])["position"] == 31
    assert answers[2].splitlines()[0] == "sector,nlqf,awarded,learners,position,asOf"
    assert json.loads(answers[3]) == {"position": 0, "asOf": "2026-01-01", "items": []}
    assert answers[4].splitlines()[0] == "month;reason;revoked;medianDays;position;asOf"
    assert {each["institution"] for each in json.loads(answers[5])["items"]} == {"27UM"}


def typed(command: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command.replace(".venv/bin/registry", f"'{REGISTRY}'")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout
