"""Where read models get their events: what a projector asks of a feed, and the event store as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from consumers.store_feed import Bell, LogEnd, Page, StoreFeed
from projections.read_model import ReadModel
from registry.event_store.read_model_positions import positions_of
from registry.postgres.connections import Cursor, Pool


class Feed(Protocol):
    """Events in order for one or more read models, wherever they come from."""

    def read(self, limit: int) -> Sequence[tuple[ReadModel, Page]]:
        """The next page of each; none when for a moment there was nothing. Raises `GapError`."""

    def drop(self, model: ReadModel) -> None:
        """Reads no more for this one."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where read models get their events."""

    alone: bool
    """Whether one projector of a read model works at a time, and others stand by."""

    def together(self, models: Sequence[ReadModel]) -> list[list[ReadModel]]:
        """Which of them one projector reads for at once."""

    def feed(self, models: Sequence[ReadModel], cursor: Cursor) -> Feed:
        """A feed from where the read models are; `cursor` is the projector's own. Raises `WaitError`."""


class StoreSource:
    """The event store: each read model follows it by itself, in total order."""

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
        """It is the only one: nobody reads on."""

    def close(self) -> None:
        """Nothing is held."""


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
