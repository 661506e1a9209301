"""The event store as a feed: pages of the log, from where a read model is."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from registry.event_store.log import LoggedEvent, read_log, time_of
from registry.postgres.connections import Cursor, Pool


@dataclass(frozen=True)
class Page:
    """Events in order, and how they move a read model: from positions, by partition, to others.

    `whole`: it holds the log without gaps, so that all partitions move together.
    """

    events: Sequence[LoggedEvent]
    at: Mapping[int, int]
    to: Mapping[int, int]
    partitions: int
    whole: bool

    def singly(self) -> Iterator[Page]:
        """The same, an event at a time."""
        at = dict(self.at)
        for event in self.events:
            moved = at if self.whole else [event.partition(self.partitions)]
            to = {each: max(at[each], event.position) for each in moved}
            yield Page([event], {each: at[each] for each in moved}, to, self.partitions, self.whole)
            at.update(to)
        yield Page([], at, self.to, self.partitions, self.whole)


class Bell:
    """Wakes those who wait for new events in this process, so that they need not wait for the next poll."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = 0

    def ring(self) -> None:
        with self._condition:
            self._rung += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Waits until it was rung after `seen` rings, at most so long; answers the rings so far."""
        with self._condition:
            self._condition.wait_for(lambda: self._rung > seen, seconds)
            return self._rung


KEPT = 2_000


class LogEnd:
    """The end of the log, for several readers: what one has read and decoded, those behind it find."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._kept: list[LoggedEvent] = []

    def read(self, after: int, limit: int) -> list[LoggedEvent]:
        """The next events after a position, none when there are none."""
        with self._lock, self._pool.cursor() as cursor:
            if found := self._find(cursor, after, limit):
                return found
            found = read_log(cursor, after, limit)
            last = self._kept[-1].position if self._kept else 0
            if found and after >= last:
                follows = after == last and self._holds(cursor)
                self._kept = (self._kept + found if follows else found)[-KEPT:]
            return found

    def _find(self, cursor: Cursor, after: int, limit: int) -> list[LoggedEvent]:
        """The same out of what is kept, if it is there."""
        kept = self._kept
        if not kept or not kept[0].position <= after + 1 <= kept[-1].position:
            return []
        if not self._holds(cursor):
            self._kept = []
            return []
        begin = bisect.bisect_right(kept, after, key=lambda each: each.position)
        return kept[begin : begin + limit]

    def _holds(self, cursor: Cursor) -> bool:
        """Whether the log holds what is kept: it goes only on, but a server may have taken over that lacks
        what the one before it had acknowledged."""
        return not self._kept or time_of(cursor, self._kept[-1].position) == self._kept[-1].time


class StoreFeed:
    """The log itself as a feed of every partition.

    A read model that another feed has brought further on some partitions than on others is levelled: of
    those partitions it is given only what it does not hold.
    """

    def __init__(
        self, end: LogEnd, at: Mapping[int, int], bell: Bell | None = None, poll_seconds: float = 0.075
    ) -> None:
        self._end, self._bell, self._poll_seconds = end, bell or Bell(), poll_seconds
        self._at, self._seen = dict(at), 0

    def read(self, limit: int) -> Page | None:
        """The next events; None when for a moment there were none."""
        logged = self._end.read(min(self._at.values()), limit)
        if not logged:
            self._seen = self._bell.wait(self._seen, self._poll_seconds)
            return None
        page = page_of(logged, self._at)
        self._at = dict(page.to)
        return page


def page_of(logged: Sequence[LoggedEvent], at: Mapping[int, int]) -> Page:
    """What some events of the log, without gaps, are to a read model at these positions."""
    if len(set(at.values())) > 1:
        logged, last = [each for each in logged if each.position > at[each.partition(len(at))]], logged[-1]
    else:
        last = logged[-1]
    to = {partition: max(position, last.position) for partition, position in at.items()}
    return Page(logged, at, to, len(at), whole=True)
