"""Checks of statuses: all that wait at the same moment are answered by one statement."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from api.http.shared_tasks import answer_of, started
from projections.badges.queries import RecordedStatus, read_statuses
from registry.event_store.log import Extent
from registry.postgres.connections import BusyError, Pool

MAX_WAITING = 1_000
"""Badges of one statement. Those whose askers have left are among them, while PostgreSQL stands still."""
Recorded = tuple[Extent, dict[str, RecordedStatus]]


class Statuses:
    """Reads statuses; while one statement is under way, later checks wait for the next, which they share."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: set[str] = set()
        self._next: asyncio.Task[Recorded] | None = None
        self._reading = asyncio.Lock()

    async def read(self, badge_id: str) -> tuple[Extent, RecordedStatus]:
        """Raises `UnavailableError`: its own for each who waits, since one would collect tracebacks."""
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError("too many ask for a status")
        self._waiting.add(badge_id)
        if self._next is None:
            self._next = started(self._read_waiting())
        extent, recorded = await answer_of(self._next)
        return extent, recorded[badge_id]

    async def _read_waiting(self) -> Recorded:
        async with self._reading:
            # From here on a check waits for another statement: this one may not see what it asks about.
            asked, self._waiting, self._next = self._waiting, set(), None
            return await run_in_threadpool(self._read, list(asked))

    def _read(self, badge_ids: list[str]) -> Recorded:
        with self._pool.cursor() as cursor:
            return read_statuses(cursor, badge_ids)
