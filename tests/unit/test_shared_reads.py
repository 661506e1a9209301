"""Reads that wait at the same moment share a call, but never one that has begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from api.http.shared_reads import SharedReads

SECONDS = 30


class Calls:
    """A read that goes on when the test says so; it answers with the number of the call."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.fail = False

    def __call__(self, asked: Sequence[str]) -> int:
        number = len(self.asked)
        self.asked.append(set(asked))
        assert len(asked) == len(set(asked))
        self.begun.release()
        assert self.go_on.acquire(timeout=SECONDS)
        if self.fail:
            raise ValueError(number)
        return number

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS)


def test_what_is_asked_during_a_call_waits_for_the_next_and_shares_it() -> None:
    async def scenario() -> None:
        calls = Calls()
        shared = SharedReads(calls)
        first = asyncio.create_task(shared.find("a"))
        await calls.until_begun()
        later = [asyncio.create_task(shared.find(asked)) for asked in ("a", "b", "b", "c")]
        await asyncio.sleep(0)
        calls.go_on.release(2)
        assert await first == 0
        assert await asyncio.gather(*later) == [1] * 4
        assert calls.asked == [{"a"}, {"a", "b", "c"}]

    asyncio.run(scenario())


def test_a_call_that_fails_fails_those_who_share_it_and_no_other() -> None:
    async def scenario() -> None:
        calls = Calls()
        shared = SharedReads(calls)
        failing = [asyncio.create_task(shared.find("a")) for _ in range(3)]
        await calls.until_begun()
        calls.fail = True
        calls.go_on.release()
        for task in failing:
            with pytest.raises(ValueError, match="0"):
                await task
        calls.fail = False
        calls.go_on.release()
        assert await shared.find("a") == 1

    asyncio.run(scenario())


def test_one_who_gives_up_does_not_end_the_call_of_the_others() -> None:
    async def scenario() -> None:
        calls = Calls()
        shared = SharedReads(calls)
        leaving, staying = (asyncio.create_task(shared.find("a")) for _ in range(2))
        await calls.until_begun()
        leaving.cancel()
        await asyncio.sleep(0)
        calls.go_on.release()
        assert await staying == 0
        assert leaving.cancelled()

    asyncio.run(scenario())
