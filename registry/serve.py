"""`registry serve`: the service under uvicorn, until it is told to stop."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from registry.settings import Settings

log = logging.getLogger("registry")
STOP_SECONDS = 5
LAST_RESORT_SECONDS = 8
COLLECT = (10_000, 20, 20)


def serve(settings: Settings, app: object, lines: Callable[[str], Sequence[str]]) -> int:
    """Serves until SIGTERM or SIGINT; prints the address, and the lines for it, once it answers."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,  # a path's query may hold a reference, which never reaches a log
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        http="httptools",
        loop="uvloop",
        lifespan="on",
    )
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        log.error("cannot listen on %s port %s: %s", settings.host, settings.port, error.strerror)  # noqa: TRY400
        return 1
    address = _address(settings, listening)
    server = _Server(config, [f"Microcredential registry: {address}", *lines(address)])
    # uvicorn raises the signal once more after it has stopped; without a handler of ours that would end
    # the process before it has let go of the embedded PostgreSQL.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.leave)
    server.run(sockets=[listening])
    return 0


def end_in_time() -> None:
    """The process ends though PostgreSQL stands still: what was acknowledged is durable already."""
    last_resort = threading.Timer(LAST_RESORT_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


class _Server(uvicorn.Server):
    """Says where it listens when it is ready to answer."""

    def __init__(self, config: uvicorn.Config, lines: Sequence[str]) -> None:
        super().__init__(config)
        self._lines = lines

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_in_time()
        super().handle_exit(sig, frame)

    def leave(self, *_: object) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            collect_seldom()
            sys.stdout.write("\n".join(self._lines) + "\n")
            sys.stdout.flush()


def collect_seldom() -> None:
    """For a process that is to work for long: what is there now stays, and little comes that only the
    garbage collector finds.

    It walked through all of it time and again: a sixth of the time of an award, a quarter of that of an
    event in the read models.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def _address(settings: Settings, listening: socket.socket) -> str:
    if settings.port:
        return settings.base_url
    return settings.base_url.removesuffix(":0") + f":{listening.getsockname()[1]}"
