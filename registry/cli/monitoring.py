"""A small port of `relay` and `consume`, which a health check and a scraper ask; `serve` has its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from registry import defects
from registry.release import RELEASE
from registry.settings import Settings

MAX_STILL_SECONDS = 120.0
"""A loop that has not turned for so long stands still: a page takes seconds, and each wait has an end."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Reports the error, which socketserver would print with its text."""
        defects.report(sys.exc_info()[1], "the monitoring port")


@contextmanager
def monitored(
    settings: Settings, command: str, turned: Callable[[], float], trouble: Callable[[], str]
) -> Iterator[None]:
    """Answers on the port until the block ends, where the setting names one.

    `turned` is the moment, by `time.monotonic`, at which the slowest loop of the process last turned.
    `trouble` is what hinders a loop now, empty where each works or stands by.
    """
    if settings.monitoring_port is None:
        yield
        return
    registry = CollectorRegistry()
    Gauge("registry_build_info", "The release of this process", ["release"], registry=registry).labels(
        RELEASE
    ).set(1)
    still = Gauge(
        "registry_loop_still_seconds",
        "Since the loop of this process last turned",
        ["command"],
        registry=registry,
    ).labels(command)
    still.set_function(lambda: time.monotonic() - turned())

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # seconds that a client may take for its request

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry))
            elif self.path == "/health/live":
                lives = time.monotonic() - turned() < MAX_STILL_SECONDS
                self._answer(200 if lives else 503, b"live\n" if lives else b"stands still\n")
            elif self.path == "/health/ready":
                hinders = trouble()
                self._answer(503 if hinders else 200, f"{hinders or 'ready'}\n".encode())
            else:
                self._answer(404, b"/health/live, /health/ready or /metrics\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: a health check would fill the log, and a path may hold anything."""

    with _Server((settings.host, settings.monitoring_port), Handler) as server:
        threading.Thread(target=server.serve_forever, name="monitoring", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
