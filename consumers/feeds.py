"""Where read models get their events: what a projector asks of a feed, and the event store as one."""

from __future__ import annotations

from typing import Protocol

from projections.read_model import ReadModel
from registry.feed import Bell, Page, StoreFeed
from registry.positions import positions_of
from registry.postgres import Cursor, Pool


class Feed(Protocol):
    """Events in order, wherever they come from."""

    def read(self, limit: int) -> Page | None:
        """The next ones; None when for a moment there were none. Raises `GapError`."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where read models get their events."""

    def alone(self, model: ReadModel) -> bool:
        """Whether one projector of a read model works at a time, and others stand by."""

    def feed(self, model: ReadModel, cursor: Cursor) -> Feed:
        """A feed from where the read model is; `cursor` is the projector's own."""


class StoreSource:
    """The event store: the log itself, and one projector a read model."""

    def __init__(self, pool: Pool, bell: Bell | None = None) -> None:
        self._pool, self._bell = pool, bell

    def alone(self, model: ReadModel) -> bool:
        return True

    def feed(self, model: ReadModel, cursor: Cursor) -> Feed:
        return StoreFeed(self._pool, positions_of(cursor, model.name), self._bell)


class StoppedError(Exception):
    """The read model cannot go on on a partition: at which position, and why."""

    def __init__(self, partition: int, at: int, reason: str) -> None:
        super().__init__(f"{reason} (at {at})")
        self.partition, self.at, self.reason = partition, at, reason


class PoisonError(StoppedError):
    """An event that the read model cannot apply."""


class GapError(StoppedError):
    """The feed does not go on where the read model is: events between are missing."""


class WaitError(Exception):
    """There is no feed for the moment; says why, and nothing of any event."""
