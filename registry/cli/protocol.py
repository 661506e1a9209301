"""HTTP on a connection, as uvicorn speaks it, with bounds that need no proxy before the service.

Each bound has a constant; docs/operating.md lists them. A connection that exceeds one is answered where
that is possible, and closed. Times are checked once a second, for all connections together
(`BoundedProtocol.end_if_stalled`), so that no request pays for a timer.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from typing import Any, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.http.problems import CUT, MEDIA_TYPE, PROBLEMS, RETRY_AFTER_SECONDS, Kind, NotReady
from api.http.strict_protocol import StrictProtocol
from registry.domain.errors import InvalidInput
from registry.release import RELEASE

MAX_CONNECTIONS = 2_000
"""Connections at once: fewer where the process may not open as many files."""
RESERVED_FILES = 100
"""Files that the process needs besides its clients: connections to PostgreSQL, libraries, its log."""
MAX_HEAD = 32 * 1024
"""Bytes of a request line with its headers; also of what stands between or after the parts of a body."""
MAX_PIPELINED = 16
"""Requests of one connection that wait for the answer to an earlier one."""
HEAD_SECONDS = 10.0
"""Time for the request line and the headers, from the connection or the first byte on."""
BODY_SECONDS = 30.0
"""Time for `MIN_BODY_PART` bytes of a body or its end, and for the rest of a body that nobody reads."""
MIN_BODY_PART = 64 * 1024
"""A body comes at least so fast, some 2 kB a second: one that trickles would hold its place for days."""
MAX_SMALL_CHUNKS, MIN_MEAN_CHUNK = 1_000, 32
"""Beyond so many chunks of a body they hold so many bytes on average: each costs the event loop the same."""
TICKS = 10
"""uvicorn ticks ten times a second; connections are checked once."""
SEND_SECONDS = 60.0
"""Time in which a client must read some of its answer."""

_EXTENSIONS: dict[str, dict[object, object]] = {CUT: {}}
log = logging.getLogger("registry.http")


def connection_limit() -> int:
    """Raises the limit of open files where it is too low, and returns how many connections it leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft - RESERVED_FILES)


class _RefusedError(Exception):
    """Raised through the parser, whose caller then answers 400."""


class BoundedProtocol(StrictProtocol):
    """A connection: its head, bodies and times are bounded, and so is the number of connections."""

    def __init__(self, *arguments: Any, max_connections: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._max_connections = max_connections
        # Bytes since the parser last finished something: the head of a request, or a part of a body.
        self._unfinished = 0
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._body_part = 0
        self._chunks = self._body_size = 0
        self._objection = ""
        self._idle_since = 0.0
        self._unsent, self._unsent_since = 0, 0.0
        self._answering: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._head_since = self._idle_since = self.loop.time()
        if len(self.connections) > self._max_connections and not self._end_idle_connection():
            self._answer(PROBLEMS[NotReady], "The registry has too many connections; try again soon.")
            transport.close()

    def _end_idle_connection(self) -> bool:
        """Ends the connection that has been idle longest; else one client could take all of them."""
        connections = cast("set[BoundedProtocol]", self.connections)
        idle = [other for other in connections if other is not self and other.is_idle]
        if waiting := [other for other in idle if not other.transport.is_closing()]:
            min(waiting, key=lambda other: other._idle_since).transport.abort()
        return bool(idle)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read in full, or answered."""
        return self._body_since is None and (self.cycle is None or self.cycle.response_complete)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the request that came last, which need not be the one that is being answered.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_since is None and self._body_since is None:
            self._head_since = self.loop.time()
        while data and not self.transport.is_closing():
            piece = data[: MAX_HEAD - self._unfinished]
            data = data[len(piece) :]
            self._unfinished += len(piece)
            super().data_received(piece)
            if self._unfinished >= MAX_HEAD:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answers in the registry's own words, unless another answer is under way; then closes."""
        cycle = self.cycle
        if self._objection and cycle is self._answering and not cycle.response_started:
            cycle.disconnected = True  # of the request itself nothing more is sent
            cycle.message_event.set()
            self._answer(PROBLEMS[InvalidInput], self._objection)
            self.transport.close()
        elif cycle is None or cycle.response_complete:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_since is None:
            self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._unfinished, self._head_since, self._body_since = 0, None, self.loop.time()
        self._body_part = self._chunks = self._body_size = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _RefusedError
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MAX_SMALL_CHUNKS and self._body_size < MIN_MEAN_CHUNK * (self._chunks - 1):
            self._objection = (
                f"More than {MAX_SMALL_CHUNKS} chunks must have at least {MIN_MEAN_CHUNK} bytes on average;"
                " send larger chunks."
            )
            raise _RefusedError

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self._body_size += len(body)
        self._body_part += len(body)
        if self._body_part >= MIN_BODY_PART and not self.cycle.response_complete:
            self._body_part, self._body_since = 0, self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished, self._body_since = 0, None
        super().on_message_complete()

    def end_if_stalled(self, now: float) -> None:
        """Closes the connection if its client has stopped in the middle of something for too long."""
        if self.flow.read_paused:
            # The client waits for the service, and not the service for the client.
            self._head_since = now if self._head_since is not None else None
            self._body_since = now if self._body_since is not None else None
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        late = (
            (self._head_since is not None and now > self._head_since + HEAD_SECONDS)
            or (self._body_since is not None and now > self._body_since + BODY_SECONDS)
            or now > self._unsent_since + SEND_SECONDS
        )
        if late:
            self.transport.abort()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle

        async def until_gone(scope: Any, receive: Any, send: Any) -> None:
            async def send_if_there(message: Any) -> None:
                if message["type"] == CUT:
                    cycle.disconnected = True
                    self.transport.abort()
                    return
                # A transport is closed some time before uvicorn hears of it, and then refuses a write.
                if self.transport.is_closing() and not cycle.disconnected:
                    log.info("the client disconnected before its answer was complete")
                    cycle.disconnected = True
                await send(message)

            scope["extensions"] = _EXTENSIONS
            try:
                await app(scope, receive, send_if_there)
            except asyncio.CancelledError:
                # uvicorn gives up what is left when it stops, and would log each request as a defect.
                if not cycle.response_complete:
                    cycle.disconnected = True
                    self.transport.abort()

        super()._start_asgi_task(cycle, cast(Any, until_gone))

    def _answer(self, kind: Kind, detail: str) -> None:
        """Writes a problem that no request can be named for: its `instance` is the root, as nginx has it."""
        problem = msgspec.json.encode(
            {
                "type": f"/problems/{kind.slug}",
                "title": kind.title,
                "status": kind.status,
                "detail": detail,
                "instance": "/",
            }
        )
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(problem)}\r\nconnection: close\r\n"
            f"api-version: {RELEASE}\r\n"
        )
        if kind.status == 503:
            head += f"retry-after: {RETRY_AFTER_SECONDS}\r\n"
        self.transport.write(b"".join((STATUS_LINE[kind.status], head.encode(), b"\r\n", problem)))


class BoundedServer(uvicorn.Server):
    """A server that ends the connections that have stalled."""

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                cast(BoundedProtocol, connection).end_if_stalled(now)
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections; raises `OSError` where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(1024)
    listening.setblocking(False)
    return listening
