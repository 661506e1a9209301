"""One deadline for each request, kept by the event loop, so that it holds while PostgreSQL stands still."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import Request

from api.http.problems import NotReady, refused

SECONDS = 15.0
"""Time until an answer begins, from the last part of the body on: what the client takes does not count.

A batch has it until its body is read; each of its pages has a time of its own (`api.commands.batches`).
"""


class Deadline:
    """ASGI middleware: answers 503 in time, and gives up what is still being done for the request.

    A thread cannot be given up: it continues until PostgreSQL answers, and its answer is dropped. `batches`
    are the paths of the requests that last as long as their bodies.
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
        self._task = asyncio.current_task()
        self._began = False
        self._refusing: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(SECONDS, self._expire)

    async def run(self, app: Any) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            if self._refusing is None:
                raise  # the service is stopping
        finally:
            self._timer.cancel()
        if self._refusing is not None:
            # The cancellation may come only now, where the app has not noticed it.
            with suppress(asyncio.CancelledError):
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

    def _expire(self) -> None:
        refusal = NotReady("The registry did not answer in time; try again soon. A repeated award is safe.")
        answer = refused(Request(self._scope), refusal)
        self._refusing = self._loop.create_task(answer(self._scope, self._receive, self._send))
        if self._task is not None:
            self._task.cancel()
