"""What the commands share: the registry that records them, and the roles that may send them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.http.auth import Allow
from registry.postgres.connections import UnavailableError
from registry.recording.award_preparation import Preparation
from registry.recording.decisions import Command, Outcome, OutcomeT_co, Settled
from registry.recording.registry import MAX_SECONDS, Registry
from registry.tokens import Principal

Registrar = Annotated[Principal, Depends(Allow("registrar"))]
Institution = Annotated[Principal, Depends(Allow("institution"))]


@dataclass(frozen=True)
class Writing:
    """The objects of the writing door. `preparation` belongs to the event loop, for single awards."""

    registry: Registry
    preparation: Preparation


def writing_of(request: Request) -> Writing:
    writing: Writing = request.app.state.writing
    return writing


def registry_of(request: Request) -> Registry:
    return writing_of(request).registry


class Recording:
    """Commands on their way to the record; an awaitable that holds no thread."""

    def __init__(self, registry: Registry, commands: Sequence[Command[Outcome]]) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Settled]] = loop.create_future()

        def done(settled: list[Settled]) -> None:
            # It does not lead back to the commands: a cycle would keep them in memory.
            loop.call_soon_threadsafe(_set_result, future, settled)

        self._settled, self._submission = future, registry.submit(commands, done)

    async def outcomes(self) -> list[Settled]:
        return await self._settled

    def give_up(self) -> None:
        """What waits is not recorded any more; what is being recorded is not waited for."""
        self._submission.given_up = True
        self._settled.cancel()


def _set_result(future: asyncio.Future[list[Settled]], settled: list[Settled]) -> None:
    if not future.done():
        future.set_result(settled)


async def recorded(registry: Registry, command: Command[OutcomeT_co]) -> OutcomeT_co:
    """Like `Registry.record`, but on the event loop: it occupies no thread while it waits."""
    recording = Recording(registry, [command])
    try:
        async with asyncio.timeout(MAX_SECONDS):
            (settled,) = await recording.outcomes()
    except TimeoutError:
        raise UnavailableError("it was not recorded in time") from None
    finally:
        recording.give_up()
    if isinstance(settled, Exception):
        raise settled
    return cast(OutcomeT_co, settled)
