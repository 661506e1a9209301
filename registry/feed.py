"""The store's feed: the log in order, from any position."""

from __future__ import annotations

import bisect
import datetime as dt
import threading
from collections.abc import Iterator, Sequence

import msgspec

from registry.domain.values import iso_time
from registry.events import Event, decode
from registry.postgres import Cursor, Pool

SOURCE = "/v1/events"
"""CloudEvents `source` of every event: it depends on no host and no setting."""
LOG = "log"
"""Under this name a read model keeps its position in the store's feed."""

_COLUMNS = "position, subject, version, type, schema_version, time, data"


class LoggedEvent(msgspec.Struct, gc=False):
    """An event as it lies in the log: the stored bytes, and what stands beside them."""

    position: int
    subject: str
    version: int
    type: str
    schema_version: int
    time: dt.datetime
    data: bytes
    decoded: Event | None = None

    @property
    def id(self) -> str:
        return f"{self.subject}/{self.version}"

    @property
    def dataschema(self) -> str:
        return f"urn:microcredential-registry:event:{self.type}:{self.schema_version}"

    @property
    def topic(self) -> str:
        return f"{self.type}/{self.schema_version}"

    def event(self) -> Event:
        """The event, decoded once; raises `UnknownEventError` for one that this release does not know."""
        if self.decoded is None:
            fact = decode(self.topic, self.data)
            self.decoded = Event(self.subject, self.version, fact, self.position, self.time)
        return self.decoded

    def line(self) -> bytes:
        """One line of NDJSON (contract section 4): `data` is the last member, its bytes as stored.

        Nothing beside `data` needs escaping in JSON: ids, types and times hold letters, digits and
        `- . : /` only.
        """
        head = (
            f'{{"position":{self.position},"id":"{self.id}","source":"{SOURCE}","type":"{self.type}",'
            f'"subject":"{self.subject}","time":"{iso_time(self.time)}","dataschema":"{self.dataschema}","data":'
        )
        return b"%s%s}\n" % (head.encode(), self.data)

    def entry(self) -> bytes:
        """The transparency log's entry (leaf index `position - 1`)."""
        head = (self.id, self.type, self.subject, iso_time(self.time), self.dataschema, str(self.position))
        return "".join(f"{each}\n" for each in head).encode() + self.data


def read_streams(cursor: Cursor, subjects: Sequence[str], until: int) -> list[LoggedEvent]:
    """The events of some subjects through a position, in order."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM event WHERE subject = ANY(%s) AND position <= %s ORDER BY position",
        (list(subjects), until),
    )
    return _logged(cursor)


def read_log(
    cursor: Cursor,
    after: int,
    limit: int,
    *,
    until: int | None = None,
    kinds: Sequence[str] = (),
    subject: str = "",
) -> list[LoggedEvent]:
    """At most `limit` events after a position through `until`, of the types and the subject named."""
    conditions, values = ["position > %s"], [after]  # type: tuple[list[str], list[object]]
    if until is not None:
        conditions.append("position <= %s")
        values.append(until)
    if kinds:
        conditions.append("type = ANY(%s)")
        values.append(list(kinds))
    if subject:
        conditions.append("subject = %s")
        values.append(subject)
    cursor.execute(
        f"SELECT {_COLUMNS} FROM event WHERE {' AND '.join(conditions)} ORDER BY position LIMIT %s",
        (*values, limit),
    )
    return _logged(cursor)


def _logged(cursor: Cursor) -> list[LoggedEvent]:
    return [
        LoggedEvent(position, subject, version, kind, schema, time, bytes(data))
        for position, subject, version, kind, schema, time, data in cursor.fetchall()
    ]


PAGE = 1_000


def read_pages(pool: Pool, after: int, until: int) -> Iterator[list[LoggedEvent]]:
    """The log from a position through `until`, page by page, with flat memory."""
    while after < until:
        with pool.cursor() as cursor:
            page = read_log(cursor, after, PAGE, until=until)
        yield page
        after = page[-1].position


def last_position(cursor: Cursor) -> int:
    """The position of the last event, 0 in an empty log."""
    cursor.execute("SELECT coalesce(max(position), 0) FROM event")
    (last,) = cursor.fetchone() or (0,)
    return int(last)


BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The time of position 0, before the first event."""


def time_of(cursor: Cursor, position: int) -> dt.datetime:
    """When the event at a position was recorded."""
    cursor.execute("SELECT time FROM event WHERE position = %s", (position,))
    time: dt.datetime
    (time,) = cursor.fetchone() or (BEGINNING,)
    return time


APPEND_LOCK = 4201
"""Held by an append until it is committed: migrations/0003_append_from_staging.sql."""


def position_at(cursor: Cursor, time: dt.datetime) -> int:
    """The last position recorded by `time`, 0 for none: by halving, since times never decrease."""
    # An append takes its time first and commits after: one that is under way may still lie before `time`.
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (APPEND_LOCK,))
    low, high = 0, last_position(cursor)
    while low < high:
        middle = (low + high + 1) // 2
        if time_of(cursor, middle) <= time:
            low = middle
        else:
            high = middle - 1
    return low


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
    """The log itself as a feed: one source, positions without gaps."""

    def __init__(
        self,
        pool: Pool,
        bell: Bell | None = None,
        poll_seconds: float = 0.075,
        end: LogEnd | None = None,
    ) -> None:
        self._bell, self._poll_seconds = bell or Bell(), poll_seconds
        self._end = end or LogEnd(pool)
        self._seen = 0

    def read(self, after: int, limit: int) -> list[LoggedEvent]:
        """The next events after a position, none when there are none."""
        return self._end.read(after, limit)

    def wait(self) -> None:
        """Returns when there may be something new: rung, or at the latest after the poll interval."""
        self._seen = self._bell.wait(self._seen, self._poll_seconds)
