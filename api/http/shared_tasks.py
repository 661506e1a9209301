"""Tasks for which several requests wait: each gets the answer or an exception of its own, or gives up."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def started(work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
    """A task that goes on when those who wait for it give up; its failure then is nobody's."""
    task = asyncio.create_task(work)
    task.add_done_callback(_hear)
    return task


def _hear(task: asyncio.Task[Any]) -> None:
    """Else asyncio logs an exception that nobody has waited for as a defect, with its text."""
    if not task.cancelled():
        task.exception()


async def answer_of(task: asyncio.Task[Answer]) -> Answer:
    try:
        return await asyncio.shield(task)
    except Exception as error:
        # One that many raise would collect all their tracebacks.
        raise copy.copy(error) from None
