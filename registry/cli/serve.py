"""The command `registry serve`: runs the service under uvicorn until it is told to stop."""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, cast

import uvicorn

from api.app import create_app
from registry.cli import database, demo
from registry.cli.common import checked_keys, end_in_time, tune_gc
from registry.cli.protocol import BoundedProtocol, BoundedServer, connection_limit, listen
from registry.event_store.log import last_position
from registry.kafka.brokers import Brokers
from registry.keys import Keys
from registry.recording import operators
from registry.settings import Settings

log = logging.getLogger("registry")
STOP_SECONDS = 5


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    for line in settings.shown():
        print(line, file=sys.stderr)
    with database.started(settings, "registry_serve") as url:
        keys = checked_keys(url, settings)

        def lines(address: str) -> list[str]:
            return _curl_lines(settings, keys, address) if arguments.demo else []

        brokers = None if settings.kafka is None else Brokers(settings.kafka)
        app = create_app(
            url,
            keys,
            projecting=brokers is None,
            brokers=brokers,
            metrics_need_token=settings.metrics_need_token,
            log_access=settings.access_log,
        )
        return _serve(settings, app, lines)


def _serve(settings: Settings, app: object, lines: Callable[[str], Sequence[str]]) -> int:
    """Serves until SIGTERM or SIGINT; prints the address, and the lines for it, once it is ready."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,  # a query may hold a reference, which must never reach a log
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        http=cast(Any, functools.partial(BoundedProtocol, max_connections=connection_limit())),
        loop="uvloop",
        lifespan="on",
    )
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        log.error("cannot listen on %s port %s: %s", settings.host, settings.port, error.strerror)  # noqa: TRY400
        return 1
    address = _address(settings, listening)
    server = _Server(config, [f"Microcredential registry: {address}", *lines(address)])
    # uvicorn raises the signal again after it has stopped. Without this handler, that would end the process
    # before it has released the embedded PostgreSQL.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.leave)
    server.run(sockets=[listening])
    return 0


class _Server(BoundedServer):
    """A server that prints its lines once it is ready to answer."""

    def __init__(self, config: uvicorn.Config, lines: Sequence[str]) -> None:
        super().__init__(config)
        self._lines = lines

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        end_in_time()

    def leave(self, *_: object) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            tune_gc()
            sys.stdout.write("\n".join(self._lines) + "\n")
            sys.stdout.flush()


def _address(settings: Settings, listening: socket.socket) -> str:
    if settings.port:
        return settings.base_url
    return settings.base_url.removesuffix(":0") + f":{listening.getsockname()[1]}"


def _curl_lines(settings: Settings, keys: Keys, address: str) -> list[str]:
    """Commands for an award, its revocation and its status, which work as printed, any number of times."""
    reference = f"try-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}"
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        token, _ = operators.create_token(
            connection, "institution", dt.timedelta(days=1), institution=demo.HAAGSE, name="make run"
        )
        with connection.cursor() as cursor:
            last = last_position(cursor)
    badge = f"{address}/v1/badges/{keys.made_id('badge', demo.HAAGSE, reference)}"
    post = f"curl -sS -X POST -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'"
    award = (
        f'{{"reference": "{reference}", "moduleReference": "{demo.KLINRED.reference}",'
        f' "learner": {{"eduId": "a1b2c3d4-0000-4000-8000-000000000001"}}, "awardedOn": "{demo.AWARD_DAY}"}}'
    )
    return [
        "",
        f"{post} -d '{award}' {address}/v1/badges",
        f'{post} -d \'{{"reason": "awarded-in-error"}}\' {badge}/revocation',
        f"curl -sS '{badge}/status?minPosition={last + 2}'",
        "",
    ]
