"""What the commands share: the registry that records them, and the roles that may send them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.http.auth import Allow
from registry.postgres.connections import UnavailableError
from registry.recording.award_preparation import Preparation
from registry.recording.decisions import Command, OutcomeT_co
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


async def recorded(registry: Registry, command: Command[OutcomeT_co]) -> OutcomeT_co:
    """Like `Registry.record`, but on the event loop: it occupies no thread while it waits."""
    try:
        async with asyncio.timeout(MAX_SECONDS):
            (settled,) = await asyncio.wrap_future(registry.submit([command]))
    except TimeoutError:
        raise UnavailableError("it was not recorded in time") from None
    if isinstance(settled, Exception):
        raise settled
    return cast(OutcomeT_co, settled)
