"""One deadline for each request, kept by the event loop, so that it holds while PostgreSQL stands still."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
from fastapi import Request

from api.http.problems import NotReady, cut, refused

log = logging.getLogger("registry.api")
SECONDS = 15.0
"""Time until an answer begins, from the last part of the body on, and between two parts of an answer.

What the client takes does not count. A batch has it until its body is read; each of its pages has a time of
its own (`api.commands.batches`).
"""


class Deadline:
    """ASGI middleware: answers 503 in time, and gives up what is still being done for the request.

    An answer that has begun by then is cut short, which its client sees.

    Its thread goes on, and keeps its place among the threads, until PostgreSQL answers or the connection is
    given up a few seconds later (`registry.postgres.connections`); what it finds is dropped. `batches` are
    the paths of the requests that last as long as their bodies.
    """

    def __init__(self, app: Any, batches: frozenset[str]) -> None:
        self._app, self._batches = app, batches

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            batch = scope["path"] in self._batches
            await _Timed(scope, receive, send, batch).run(self._app)
        else:
            await self._app(scope, receive, send)


class _Timed:
    """A request in progress."""

    def __init__(self, scope: Any, receive: Any, send: Any, batch: bool) -> None:
        self._scope, self._receive, self._send, self._batch = scope, receive, send, batch
        self._loop = asyncio.get_running_loop()
        # Unlike `Task.cancel`, a scope waits for a thread to end before it gives away the thread's place.
        self._work = anyio.CancelScope()
        self._began = False
        self._refusing: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(SECONDS, self._expire)

    async def run(self, app: Any) -> None:
        try:
            with self._work:
                await app(self._scope, self.receive, self.send)
        finally:
            self._timer.cancel()
        if self._refusing is not None:
            await asyncio.wait([self._refusing])

    async def receive(self) -> Any:
        self._timer.cancel()
        try:
            return await self._receive()
        finally:
            if not (self._began or self._batch or self._refusing):
                self._timer = self._loop.call_later(SECONDS, self._expire)

    async def send(self, message: Any) -> None:
        if self._refusing is None:
            self._began = True
            self._timer.cancel()
            await self._send(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                self._timer = self._loop.call_later(SECONDS, self._expire)

    def _expire(self) -> None:
        self._refusing = self._loop.create_task(self._cut() if self._began else self._refuse())
        self._work.cancel()

    async def _refuse(self) -> None:
        refusal = NotReady("The registry did not answer in time; try again soon. A repeated award is safe.")
        await refused(Request(self._scope), refusal)(self._scope, self._receive, self._send)

    async def _cut(self) -> None:
        log.warning("an answer was cut short: its next part did not come in time")
        await cut(self._scope, self._send)
