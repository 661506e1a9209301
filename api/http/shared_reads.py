"""Reads that wait at the same moment are answered by one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from api.http.shared_tasks import answer_of, started
from registry.postgres.connections import BusyError

MAX_WAITING = 1_000
"""Different questions in one call; while PostgreSQL stands still, those of askers who have left too."""
Asked = TypeVar("Asked")
Found = TypeVar("Found")


class SharedReads(Generic[Asked, Found]):
    """Calls `read` in a thread, for all that wait; what is asked meanwhile waits for the next call.

    A read never joins a call that has begun, because what was acknowledged since might be missing from it.
    """

    def __init__(self, read: Callable[[Sequence[Asked]], Found]) -> None:
        self._read = read
        self._waiting: set[Asked] = set()
        self._next: asyncio.Task[Found] | None = None
        self._reading = asyncio.Lock()

    async def find(self, asked: Asked) -> Found:
        """What a call found that began after this was asked; raises `UnavailableError`."""
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError("too many ask for the same")
        self._waiting.add(asked)
        if self._next is None:
            self._next = started(self._read_waiting())
        return await answer_of(self._next)

    async def _read_waiting(self) -> Found:
        async with self._reading:
            asked, self._waiting, self._next = self._waiting, set(), None
            return await run_in_threadpool(self._read, list(asked))
