"""A small port of `relay` and `consume`, which a health check and a scraper ask; `serve` has its own."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from registry.cli.protocol import BoundedProtocol, BoundedServer, listen
from registry.release import RELEASE
from registry.settings import Settings

MAX_STILL_SECONDS = 120.0
"""A loop that has not turned for so long stands still: a page takes seconds, and each wait has an end."""
MAX_CONNECTIONS = 20
"""Beyond so many the one that is idle longest makes room, as in `serve`."""
STOP_SECONDS = 3


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

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(scope["path"], registry, turned, trouble)(scope, receive, send)

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,  # a health check would fill the log
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        http=cast(Any, functools.partial(BoundedProtocol, max_connections=MAX_CONNECTIONS)),
        lifespan="off",
    )
    listening = listen(settings.host, settings.monitoring_port)
    server = BoundedServer(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="monitoring", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listening.close()


def _answer(
    path: str, registry: CollectorRegistry, turned: Callable[[], float], trouble: Callable[[], str]
) -> Response:
    match path:
        case "/metrics":
            return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
        case "/health/live":
            lives = time.monotonic() - turned() < MAX_STILL_SECONDS
            return _line("live" if lives else "stalled", 200 if lives else 503)
        case "/health/ready":
            hinders = trouble()
            return _line(hinders or "ready", 503 if hinders else 200)
        case _:
            return _line("/health/live, /health/ready or /metrics", 404)


def _line(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status)
