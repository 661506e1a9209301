"""The feeds that a projector reads, and their sources; the event store as such a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from consumers.store_feed import Bell, LogEnd, Page, StoreFeed
from projections.read_model import ReadModel
from registry.event_store.read_model_positions import positions_of
from registry.postgres.connections import Cursor, Pool


class Feed(Protocol):
    """Events in order for one or more read models."""

    def read(self, limit: int) -> Sequence[tuple[ReadModel, Page]]:
        """The next page of each read model that has one, after a short wait at most. Raises `GapError`."""

    def drop(self, model: ReadModel) -> None:
        """Stops reading for this read model."""

    def close(self) -> None: ...


class Source(Protocol):
    """Opens feeds for read models."""

    alone: bool
    """Whether only one projector of a read model works at a time, while others stand by."""

    def together(self, models: Sequence[ReadModel]) -> list[list[ReadModel]]:
        """The read models in groups, each of which shares one projector and one feed."""

    def feed(self, models: Sequence[ReadModel], cursor: Cursor) -> Feed:
        """A feed from the positions of the read models, by the projector's cursor. Raises `WaitError`."""


class StoreSource:
    """The event store, which each read model follows on its own, in total order."""

    alone = True

    def __init__(self, pool: Pool, bell: Bell | None = None) -> None:
        self._end, self._bell = LogEnd(pool), bell

    def together(self, models: Sequence[ReadModel]) -> list[list[ReadModel]]:
        return [[model] for model in models]

    def feed(self, models: Sequence[ReadModel], cursor: Cursor) -> Feed:
        (model,) = models
        return _StoreFeedOf(model, StoreFeed(self._end, positions_of(cursor, model.name), self._bell))


class _StoreFeedOf:
    def __init__(self, model: ReadModel, feed: StoreFeed) -> None:
        self._model, self._feed = model, feed

    def read(self, limit: int) -> Sequence[tuple[ReadModel, Page]]:
        page = self._feed.read(limit)
        return [] if page is None else [(self._model, page)]

    def drop(self, model: ReadModel) -> None:
        """Does nothing: without its only read model, nobody reads this feed."""

    def close(self) -> None:
        """Does nothing: the feed holds no resources."""


class StoppedError(Exception):
    """A read model cannot continue on a partition; says at which position, and why."""

    def __init__(self, partition: int, at: int, reason: str) -> None:
        super().__init__(f"{reason} (at {at})")
        self.partition, self.at, self.reason = partition, at, reason


class PoisonError(StoppedError):
    """The read model cannot apply an event."""


class GapError(StoppedError):
    """The feed does not continue where the read model is: events in between are missing."""


class WaitError(Exception):
    """The feed cannot be read at the moment; the message says why, and holds nothing from an event."""
