"""Awards that come in one by one are decided together: what waits becomes a page, without a timer."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence

from registry.postgres.connections import UnavailableError
from registry.recording.award_preparation import AwardCommand
from registry.recording.decisions import BadgeOutcome
from registry.recording.pages import Settled
from registry.recording.registry import Registry

MOST_TOGETHER = 200
MOST_WAITING = 10_000
LONGEST_SECONDS = 15.0
# One decides while the other waits for its commit.
THREADS = 2

Asked = tuple[AwardCommand, "asyncio.Future[BadgeOutcome]"]


class Awarding:
    """The threads of a process that decide awards; one loop's requests wait for them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"awarding-{number}", daemon=True)
            for number in range(THREADS)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Settles what has been asked, then stops."""
        self._stopped = True
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    async def award(self, command: AwardCommand) -> BadgeOutcome:
        """Awards, as `Registry.award_badge`; holds no thread meanwhile.

        Who is told to come back, after `LONGEST_SECONDS`, may ask again without harm: the award that is
        on its way is then known.
        """
        if self._stopped:
            raise UnavailableError("the registry is stopping")
        if self._queue.qsize() >= MOST_WAITING:
            raise UnavailableError("too many awards wait to be recorded")
        answer: asyncio.Future[BadgeOutcome] = asyncio.get_running_loop().create_future()
        self._queue.put((command, answer))
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await answer
        except TimeoutError:
            raise UnavailableError("the award was not recorded in time") from None

    def _run(self) -> None:
        while page := self._take():
            settled: Sequence[Settled]
            try:
                settled = self._registry.award_badges([command for command, _ in page])
            except Exception as error:
                settled = [error] * len(page)
            if self._loop is not None:
                # One call for all: each wakes the loop.
                self._loop.call_soon_threadsafe(_answer, [answer for _, answer in page], settled)

    def _take(self) -> list[Asked]:
        """What waits, at least one; nothing when it was the last."""
        page: list[Asked] = []
        while len(page) < MOST_TOGETHER:
            try:
                asked = self._queue.get(block=not page)
            except queue.Empty:
                break
            if asked is None:
                self._queue.put(None)  # for this thread's next turn, and for the others
                break
            page.append(asked)
        return page


def _answer(waiting: Sequence[asyncio.Future[BadgeOutcome]], settled: Sequence[Settled]) -> None:
    for answer, outcome in zip(waiting, settled, strict=True):
        if answer.done():
            continue  # who asked has gone
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
