"""One layer around the framework: what each request gets, whichever route answers it.

Each request is an exchange: it has an id, a time in which its answer must begin, and the headers of its kind
of route. A request that could be read in two ways is refused here, and an error that no handler knows
becomes a bare 500.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

import anyio
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.answer_headers import AnswerHeaders
from api.http.problems import NotReady, cut, internal, refused
from api.http.strict import objection
from registry import defects
from registry.logs import request_id
from registry.postgres.connections import UnavailableError
from registry.tokens import Principal

ANSWER_SECONDS = 15.0
"""Time until an answer begins, from the last part of the body on, and from each part of it to the next.

What the client takes to send or to read does not count. A batch has this time until its body is read; each
of its pages has a time of its own (`api.commands.batches`).
"""

log = logging.getLogger("registry.api")
access = logging.getLogger("registry.access")
# An id of a request tells it from others and is no secret; to ask the system for it took longer than all the
# rest that is observed.
_REQUEST_IDS = random.Random()  # noqa: S311 - no secret
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


class Exchanges:
    """ASGI middleware: makes an exchange of each request.

    `observe` is told of each answer: its method, route, status and seconds. `batches` are the paths of the
    requests that last as long as their bodies. With `log_access` each answer is logged by its route: a path
    or a query may hold anything.
    """

    def __init__(
        self,
        app: ASGIApp,
        headers: AnswerHeaders,
        observe: Callable[[str, str, int, float], None],
        *,
        batches: frozenset[str] = frozenset(),
        log_access: bool = False,
    ) -> None:
        self.app, self.headers, self.observe = app, headers, observe
        self.batches, self.log_access = batches, log_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """A request in progress. HEAD is answered as GET, without the body (RFC 9110, 9.3.2)."""

    def __init__(self, exchanges: Exchanges, scope: Scope, receive: Receive, send: Send) -> None:
        self._is_head = scope["method"] == "HEAD"
        self._scope = {**scope, "method": "GET"} if self._is_head else scope
        self._exchanges, self._receive, self._send = exchanges, receive, send
        self._id = f"{_REQUEST_IDS.getrandbits(64):016x}"
        self._status, self._began = 500, False
        self._is_batch = scope["path"] in exchanges.batches
        # Unlike `Task.cancel`, a scope waits for a thread to end before it gives away the thread's place.
        self._work = anyio.CancelScope()
        self._ending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        # None while the client is waited for.
        self._end: float | None = self._loop.time() + ANSWER_SECONDS
        self._timer = self._loop.call_later(ANSWER_SECONDS, self._look_at_the_time)

    async def run(self) -> None:
        began = time.perf_counter()
        request_id.set(self._id)
        try:
            with self._work:
                await self._answer()
            if self._ending is not None:
                await asyncio.wait([self._ending])
        finally:
            self._timer.cancel()
            self._observe(time.perf_counter() - began)

    async def _answer(self) -> None:
        scope = self._scope
        try:
            if (refusal := objection(scope)) is not None:
                await refused(Request(scope), refusal)(scope, self.receive, self.send)
            elif (answer := self._exchanges.headers.preflight(scope)) is not None:
                await answer(scope, self.receive, self.send)
            else:
                await self._exchanges.app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            # The time is over, or the service is stopping and this request took longer than it waits.
            if not self._began:
                stopping = NotReady("The registry is stopping; try again soon.")
                await refused(Request(scope), stopping)(scope, self.receive, self.send)
            raise
        except Exception as error:
            # Once an answer has begun, the framework wraps the errors that have a handler.
            if isinstance(lost := error.__cause__ or error, UnavailableError):
                log.warning("%s %s", type(lost).__name__, lost)
                await cut(scope, self._send)
                return
            log.error("unexpected %s", defects.named(error))  # noqa: TRY400 - its text may hold a value
            if not self._began:
                await internal(Request(scope), error)(scope, self.receive, self.send)

    async def receive(self) -> Message:
        self._end = None
        message = await self._receive()
        if not (self._began or self._is_batch):
            self._end = self._loop.time() + ANSWER_SECONDS
        return message

    async def send(self, message: Message) -> None:
        """Passes on the answer; what comes after a request was given up is dropped."""
        if self._ending is None:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        self._end = None
        more = True
        if message["type"] == "http.response.start":
            self._began, self._status = True, message["status"]
            added = self._exchanges.headers.of(self._scope, message, self._principal)
            message["headers"] = [
                *message["headers"],
                *added,
                (b"registry-request-id", self._id.encode()),
            ]
        else:
            more = message.get("more_body", False)
            if self._is_head:
                if more:
                    return
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)
        if more and not self._is_batch:
            self._end = self._loop.time() + ANSWER_SECONDS

    def _look_at_the_time(self) -> None:
        """One timer for the whole request: it is set again where the end has moved."""
        now = self._loop.time()
        if self._end is not None and self._end <= now:
            self._give_up()
        else:
            self._timer = self._loop.call_at(self._end or now + ANSWER_SECONDS, self._look_at_the_time)

    def _give_up(self) -> None:
        """Answers 503, or cuts the answer short, and gives up what is still being done for the request.

        Its thread goes on, and keeps its place among the threads, until PostgreSQL answers or the connection
        is given up a few seconds later (`registry.postgres.connections`); what it finds is dropped.
        """
        self._ending = self._loop.create_task(self._cut() if self._began else self._refuse())
        self._work.cancel()

    async def _refuse(self) -> None:
        refusal = NotReady("The registry did not answer in time; try again soon. A repeated award is safe.")
        await refused(Request(self._scope), refusal)(self._scope, self._receive, self._pass_on)

    async def _cut(self) -> None:
        log.warning("an answer was cut short: its next part did not come in time")
        await cut(self._scope, self._send)

    @property
    def _principal(self) -> Principal | None:
        principal: Principal | None = self._scope.get("state", {}).get("principal")
        return principal

    def _observe(self, seconds: float) -> None:
        route = getattr(self._scope.get("route"), "path", "other")
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        self._exchanges.observe(method, route, self._status, seconds)
        if self._exchanges.log_access:
            # `client` is the id of the token, as in the events.
            principal = self._principal
            members = {
                "method": method,
                "route": route,
                "status": self._status,
                "milliseconds": round(seconds * 1000, 1),
                "client": principal.token_id if principal else "-",
            }
            access.info("%s %s %s %s ms %s", *members.values(), extra={"members": members})
