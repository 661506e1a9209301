"""`minPosition`: a read waits, without a thread, until its read model holds a position."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool

from api.http.problems import NotReady
from api.http.shared_tasks import answer_of, started
from projections.read_model import position
from registry.domain.errors import InvalidInput
from registry.event_store.log import last_position
from registry.postgres.connections import Pool

MAX_SECONDS = 5.0
MAX_WAITING = 200
POLL_SECONDS = 0.02


class Positions:
    """The positions of the read models; all waiting requests share one poll of the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, int] = {}
        self._polling: dict[str, asyncio.Task[None]] = {}
        self._waiting: Counter[tuple[str, ...]] = Counter()

    async def wait(self, names: Sequence[str], wanted: int, pointer: str = "/minPosition") -> None:
        """Returns once all these read models hold position `wanted`, which the parameter names."""
        # Polled each time: a crash of PostgreSQL may set a read model back by a few events.
        for name in names:
            await self._poll(name)
        behind = [name for name in names if self._known[name] < wanted]
        if names and not behind:
            return
        if wanted > await run_in_threadpool(self._last):
            raise InvalidInput((pointer, "must not be beyond the end of the log"))
        # Counted apart, so that those who ask the public catalogue take no place of the institutions'.
        kind = tuple(names)
        if self._waiting[kind] >= MAX_WAITING:
            raise NotReady(f"More than {MAX_WAITING} requests are waiting for a position; try again soon.")
        self._waiting[kind] += 1
        try:
            async with asyncio.timeout(MAX_SECONDS):
                while behind := [name for name in behind if self._known[name] < wanted]:
                    await asyncio.sleep(POLL_SECONDS)
                    for name in behind:
                        await self._poll(name)
        except TimeoutError:
            raise NotReady(f"The answer does not include position {wanted} yet; try again soon.") from None
        finally:
            self._waiting[kind] -= 1

    async def _poll(self, name: str) -> None:
        polling = self._polling.get(name)
        if polling is None or polling.done():
            polling = started(run_in_threadpool(self._read, name))
            self._polling[name] = polling
        await answer_of(polling)

    def _read(self, name: str) -> None:
        with self._pool.cursor() as cursor:
            self._known[name] = position(cursor, name)

    def _last(self) -> int:
        with self._pool.cursor() as cursor:
            return last_position(cursor)
