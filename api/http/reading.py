"""The objects of the reading door: connections, secrets, the vault and the read models' positions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request

from api.http.entity_tags import Tagged
from api.http.min_position import Positions
from api.http.shared_reads import SharedReads
from projections.badges.queries import RecordedStatus
from registry.event_store.log import Extent
from registry.event_store.vault import Vault
from registry.keys import Keys
from registry.postgres.connections import Pool


@dataclass(frozen=True)
class Reading:
    pool: Pool
    keys: Keys
    vault: Vault
    positions: Positions
    statuses: SharedReads[str, tuple[Extent, dict[str, RecordedStatus]]]
    first_modules: SharedReads[None, Tagged]
    """The first page of all modules."""


def reading_of(request: Request) -> Reading:
    reading: Reading = request.app.state.reading
    return reading


MinPosition = Annotated[
    int | None,
    Query(alias="minPosition", ge=0, le=2**53, description="Wait until the answer includes this position."),
]


def held_by(*names: str) -> Callable[..., Awaitable[None]]:
    """A dependency that waits until these read models hold the request's `minPosition`.

    Without names the answer comes from the log itself: the position only has to exist.
    """

    async def wait(request: Request, min_position: MinPosition = None) -> None:
        if min_position is not None:
            await reading_of(request).positions.wait(names, min_position)

    return wait
