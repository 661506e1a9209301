"""The event store as a feed: pages of the log, from the position of a read model on."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from registry.event_store.log import LoggedEvent, Pace, read_log, time_of
from registry.postgres.connections import Cursor, Pool


@dataclass(frozen=True)
class Page:
    """Events in order, which move a read model from the positions `at`, by partition, to the positions `to`.

    A `whole` page is a part of the log without gaps, so that all partitions move together.
    """

    events: Sequence[LoggedEvent]
    at: Mapping[int, int]
    to: Mapping[int, int]
    partitions: int
    whole: bool

    def singly(self) -> Iterator[Page]:
        """The same page as pages of one event each."""
        at = dict(self.at)
        for event in self.events:
            moved = at if self.whole else [event.partition(self.partitions)]
            to = {number: max(at[number], event.position) for number in moved}
            yield Page([event], {number: at[number] for number in moved}, to, self.partitions, self.whole)
            at.update(to)
        yield Page([], at, self.to, self.partitions, self.whole)


class Bell:
    """Wakes the readers in this process that wait for new events, so that they need not poll."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = 0

    def ring(self) -> None:
        with self._condition:
            self._rung += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Waits at most so long for a ring after `seen` rings; returns the number of rings so far."""
        with self._condition:
            self._condition.wait_for(lambda: self._rung > seen, seconds)
            return self._rung


MAX_KEPT = 2_000


class LogEnd:
    """The end of the log, for several readers: events that one has read and decoded serve the others."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._kept: list[LoggedEvent] = []

    def read(self, after: int, limit: int) -> list[LoggedEvent]:
        """The next events after a position, possibly none."""
        with self._lock, self._pool.cursor() as cursor:
            if events := self._find(cursor, after, limit):
                return events
            events = read_log(cursor, after, limit)
            last = self._kept[-1].position if self._kept else 0
            if events and after >= last:
                follows = after == last and self._is_current(cursor)
                self._kept = (self._kept + events if follows else events)[-MAX_KEPT:]
            return events

    def _find(self, cursor: Cursor, after: int, limit: int) -> list[LoggedEvent]:
        """The next events from memory; empty where they are not kept."""
        kept = self._kept
        if not kept or not kept[0].position <= after + 1 <= kept[-1].position:
            return []
        if not self._is_current(cursor):
            self._kept = []
            return []
        begin = bisect.bisect_right(kept, after, key=lambda event: event.position)
        return kept[begin : begin + limit]

    def _is_current(self, cursor: Cursor) -> bool:
        """Whether the log still holds the kept events.

        A log only grows, but a standby server that took over may lack events that were acknowledged.
        """
        return not self._kept or time_of(cursor, self._kept[-1].position) == self._kept[-1].time


class StoreFeed:
    """The log itself as a feed of every partition.

    Another feed may have brought a read model further on some partitions than on others. Such a read model is
    levelled: it gets only events that it does not hold.
    """

    def __init__(
        self, end: LogEnd, at: Mapping[int, int], bell: Bell | None = None, poll_seconds: float = 0.075
    ) -> None:
        self._end, self._bell, self._pace = end, bell or Bell(), Pace(poll_seconds)
        self._at, self._seen = dict(at), 0

    def read(self, limit: int) -> Page | None:
        """The next page; None when there was none for a moment."""
        logged = self._end.read(min(self._at.values()), limit)
        if not logged:
            self._seen = self._bell.wait(self._seen, self._pace.pause())
            return None
        self._pace.came()
        page = page_of(logged, self._at)
        self._at = dict(page.to)
        return page


def page_of(logged: Sequence[LoggedEvent], at: Mapping[int, int]) -> Page:
    """Events of the log without gaps, as the page of a read model at these positions."""
    if len(set(at.values())) > 1:
        logged, last = (
            [event for event in logged if event.position > at[event.partition(len(at))]],
            logged[-1],
        )
    else:
        last = logged[-1]
    to = {partition: max(position, last.position) for partition, position in at.items()}
    return Page(logged, at, to, len(at), whole=True)
