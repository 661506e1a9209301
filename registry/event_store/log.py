"""Reads the log in order, from any position, and the streams of subjects."""

from __future__ import annotations

import datetime as dt
import io
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from registry.domain.events import Event, decode
from registry.domain.values import iso_time
from registry.postgres.binary_copy import EPOCH
from registry.postgres.connections import Cursor, Pool
from registry.postgres.locks import Lock

SOURCE = "/v1/events"
"""CloudEvents `source` of every event: it depends on no host and no setting."""
# The casts are the types that `_FIXED` unpacks.
_COLUMNS = "position::int8, version::int4, schema_version::int2, time::timestamptz, subject, type, data"
# A row in binary COPY is the number of its columns, and each column with its length before it.
_FIXED, _LENGTH = struct.Struct("!2x4xq4xi4xh4xqi"), struct.Struct("!i")
_HEADER, _END = 19, 2


class LoggedEvent(msgspec.Struct, gc=False):
    """An event as the log holds it: the stored bytes and the columns beside them."""

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

    @property
    def key(self) -> str:
        """The key whose events stay in order in a divided log: a badge's learner, or else the subject."""
        if not self.type.startswith("badge."):
            return self.subject
        try:
            return _learner_of.decode(self.data).learner_id
        except msgspec.DecodeError:
            return self.subject  # each read model reports that such an event cannot be applied

    def partition(self, count: int) -> int:
        """The partition of this event where the log is divided into `count`."""
        return partition_of(self.key, count) if count > 1 else 0

    def event(self) -> Event:
        """The event, decoded once; raises `UnknownEventError` for one that this release does not know."""
        if self.decoded is None:
            fact = decode(self.topic, self.data)
            self.decoded = Event(self.subject, self.version, fact, self.position, self.time)
        return self.decoded

    def line(self) -> bytes:
        """One line of NDJSON: `data` is the last member, its bytes as stored.

        Nothing but `data` needs escaping in JSON: ids, types and times hold only letters, digits and
        `- . : /`.
        """
        head = (
            f'{{"position":{self.position},"id":"{self.id}","source":"{SOURCE}","type":"{self.type}",'
            f'"subject":"{self.subject}","time":"{iso_time(self.time)}","dataschema":"{self.dataschema}","data":'
        )
        return b"%s%s}\n" % (head.encode(), self.data)

    def entry(self) -> bytes:
        """The transparency log's entry (leaf index `position - 1`)."""
        head = (self.id, self.type, self.subject, iso_time(self.time), self.dataschema, str(self.position))
        return "".join(f"{line}\n" for line in head).encode() + self.data


def partition_of(key: str, count: int) -> int:
    """The partition of a key: CRC-32 modulo their number, permanently; librdkafka calls it `consistent`."""
    return zlib.crc32(key.encode()) % count


class _Learner(msgspec.Struct, rename="camel"):
    learner_id: str


_learner_of = msgspec.json.Decoder(_Learner)


def read_streams(cursor: Cursor, subjects: Iterable[str], until: int | None = None) -> list[LoggedEvent]:
    """The events of some subjects, each subject's in order; `until` leaves out later positions."""
    # The subjects are one text, since psycopg2 writes an array value by value. The order is the index's.
    condition, values = "subject = ANY(string_to_array(%s, ' '))", [" ".join(subjects)]  # type: tuple[str, list[object]]
    if until is not None:
        condition, values = f"{condition} AND position <= %s", [*values, until]
    return _select(cursor, f"{condition} ORDER BY subject, version", values)


def read_positions(cursor: Cursor, positions: Iterable[int]) -> dict[int, LoggedEvent]:
    """The events at some positions; a position that the log does not have is left out."""
    if not (wanted := " ".join(map(str, positions))):
        return {}
    events = _select(cursor, "position = ANY(string_to_array(%s, ' ')::bigint[])", [wanted])
    return {event.position: event for event in events}


def read_log(
    cursor: Cursor,
    after: int,
    limit: int,
    *,
    until: int | None = None,
    kind: str = "",
    subject: str = "",
) -> list[LoggedEvent]:
    """At most `limit` events after a position; `until`, `kind` and `subject` leave others out."""
    condition, values = _filtered(after, until, kind, subject)
    return _select(cursor, f"{condition} ORDER BY position LIMIT %s", [*values, limit])


def last_of(cursor: Cursor, after: int, limit: int, *, until: int, kind: str, subject: str) -> int:
    """The position of the last of at most `limit` events after a position; `until` where there are fewer."""
    condition, values = _filtered(after, until, kind, subject)
    cursor.execute(
        f"SELECT position FROM event WHERE {condition} ORDER BY position OFFSET %s LIMIT 1",
        [*values, limit - 1],
    )
    (last,) = cursor.fetchone() or (until,)
    return int(last)


def _filtered(after: int, until: int | None, kind: str, subject: str) -> tuple[str, list[object]]:
    conditions, values = ["position > %s"], [after]  # type: tuple[list[str], list[object]]
    if until is not None:
        conditions.append("position <= %s")
        values.append(until)
    if kind:
        # All types but that of awards have an index, which leaves awards out.
        conditions.append("type = %s" if kind == "badge.awarded" else "type = %s AND type <> 'badge.awarded'")
        values.append(kind)
    if subject:
        conditions.append("subject = %s")
        values.append(subject)
    return " AND ".join(conditions), values


def _select(cursor: Cursor, condition: str, values: Sequence[object]) -> list[LoggedEvent]:
    """Reads by binary COPY: otherwise `data` comes as hexadecimal digits, at twice the cost of a row."""
    copied = io.BytesIO()
    query = f"COPY (SELECT {_COLUMNS} FROM event WHERE {condition}) TO STDOUT BINARY"
    cursor.copy_expert(cursor.mogrify(query, values), copied)
    return list(_logged(copied.getvalue()))


def _logged(copied: bytes) -> Iterator[LoggedEvent]:
    at, end = _HEADER, len(copied) - _END
    times: dict[int, dt.datetime] = {}
    while at < end:
        position, version, schema_version, moment, length = _FIXED.unpack_from(copied, at)
        time = times.get(moment)
        if time is None:
            time = times[moment] = EPOCH + dt.timedelta(microseconds=moment)
        at += _FIXED.size
        subject = copied[at : at + length].decode()
        at += length
        (length,) = _LENGTH.unpack_from(copied, at)
        at += _LENGTH.size
        kind = copied[at : at + length].decode()
        at += length
        (length,) = _LENGTH.unpack_from(copied, at)
        at += _LENGTH.size
        data = copied[at : at + length]
        at += length
        yield LoggedEvent(position, subject, version, kind, schema_version, time, data)


PAGE = 1_000


def read_pages(
    pool: Pool, after: int, until: int, *, kind: str = "", subject: str = ""
) -> Iterator[list[LoggedEvent]]:
    """The log after a position through `until`, page by page, so that memory stays flat."""
    while after < until:
        with pool.cursor() as cursor:
            page = read_log(cursor, after, PAGE, until=until, kind=kind, subject=subject)
        if not page:
            return  # no more of that type or subject; or a standby server that lacks the end took over
        yield page
        after = page[-1].position


def last_position(cursor: Cursor) -> int:
    """The position of the last event, 0 in an empty log."""
    cursor.execute("SELECT coalesce(max(position), 0) FROM event")
    (last,) = cursor.fetchone() or (0,)
    return int(last)


BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The time of position 0, before the first event."""


class Extent(NamedTuple):
    """Through where an answer is complete: it includes every event through `position`, recorded by `time`."""

    position: int
    time: dt.datetime


def extent_query(position: str) -> str:
    """SQL for the `extent` of the position that a query selects: one row, its time in microseconds.

    As a number the time costs next to nothing where a join repeats it in every row of an answer.
    """
    # The events of one append have one time: between two of them the answer is complete until just before.
    return (
        "SELECT through.position,"
        " coalesce(1000000 * extract(epoch FROM least(e.time, n.time - interval '1 microsecond')), 0)::int8"
        f" FROM (SELECT ({position}) AS position OFFSET 0) AS through"
        " LEFT JOIN event e ON e.position = through.position"
        " LEFT JOIN event n ON n.position = through.position + 1"
    )


def extent(position: int, microseconds: int) -> Extent:
    """The extent that a row of `extent_query` states."""
    return Extent(position, BEGINNING + dt.timedelta(microseconds=microseconds))


def extent_of(cursor: Cursor, position: int) -> Extent:
    cursor.execute(extent_query("%s::bigint"), (position,))
    (row,) = cursor.fetchall()
    return extent(*row)


def time_of(cursor: Cursor, position: int) -> dt.datetime:
    """The time at which the event at a position was recorded."""
    cursor.execute("SELECT time FROM event WHERE position = %s", (position,))
    time: dt.datetime
    (time,) = cursor.fetchone() or (BEGINNING,)
    return time


def position_at(cursor: Cursor, time: dt.datetime) -> int:
    """The last position recorded by `time`, or 0: a binary search, since times never decrease."""
    # An append reads the clock before it commits: one in progress may still have a time before `time`.
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (Lock.APPEND,))
    low, high = 0, last_position(cursor)
    while low < high:
        middle = (low + high + 1) // 2
        if time_of(cursor, middle) <= time:
            low = middle
        else:
            high = middle - 1
    return low


class Pace:
    """How long a reader of the log waits before it asks again: the longer, the longer nothing came.

    A reader of a log that grows is never far behind; one of a log that stands still costs next to nothing.
    """

    def __init__(self, shortest: float) -> None:
        self._shortest, self._last = shortest, time.monotonic()

    def came(self) -> None:
        """Notes that there were events."""
        self._last = time.monotonic()

    def pause(self) -> float:
        """A tenth of the time for which nothing came, within bounds; in seconds."""
        return max(self._shortest, min(MAX_PAUSE_SECONDS, (time.monotonic() - self._last) / 10))


MAX_PAUSE_SECONDS = 1.0
