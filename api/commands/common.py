"""What the commands share: the registry that records them, and the roles that may send them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.http.auth import Allow
from api.http.places import Places
from registry.recording.awards import Preparation
from registry.recording.decisions import Command, Outcome, OutcomeT_co, Settled
from registry.recording.registry import Registry
from registry.tokens import Principal

Registrar = Annotated[Principal, Depends(Allow("registrar"))]
Institution = Annotated[Principal, Depends(Allow("institution"))]


@dataclass(frozen=True)
class Writing:
    """The objects of the writing door. `preparation` belongs to the event loop, for single awards.

    `pages` bounds the pages of all batches that are in the recorder, so that a single command waits behind
    two of them at most.
    """

    registry: Registry
    preparation: Preparation
    batches: Places
    pages: asyncio.Semaphore


def writing_of(request: Request) -> Writing:
    writing: Writing = request.app.state.writing
    return writing


def registry_of(request: Request) -> Registry:
    return writing_of(request).registry


async def settled(registry: Registry, commands: Sequence[Command[Outcome]]) -> list[Settled]:
    """Like `Registry.settle`, but on the event loop: it occupies no thread while it waits.

    Where the caller is cancelled, commands that still wait are not recorded.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Settled]] = loop.create_future()

    def done(outcomes: list[Settled]) -> None:
        # It does not lead back to the commands: a cycle would keep them in memory.
        loop.call_soon_threadsafe(_set_result, future, outcomes)

    submission = registry.submit(commands, done)
    try:
        return await future
    finally:
        submission.given_up = True


def _set_result(future: asyncio.Future[list[Settled]], outcomes: list[Settled]) -> None:
    if not future.done():
        future.set_result(outcomes)


async def recorded(registry: Registry, command: Command[OutcomeT_co]) -> OutcomeT_co:
    """Like `Registry.record`, but on the event loop; its end is that of the request (`api.http.exchange`)."""
    (outcome,) = await settled(registry, [command])
    if isinstance(outcome, Exception):
        raise outcome
    return cast(OutcomeT_co, outcome)
