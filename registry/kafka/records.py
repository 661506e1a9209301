"""The records of the two topics: keys and headers, which are a contract with every reader.

CloudEvents 1.0 in binary mode: a record's value is the event's `data`, byte for byte as stored, and its
attributes are headers. Beside them `ce_position`, the place in the log, and `ce_previous`, the position
of the event before it on that partition (0 for the first), by which a reader notices a missing event.

Each transaction of the relay ends with a progress marker on every partition: a record without a value
that says how far the log has come, and from which the next relay carries on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from registry.domain.values import iso_time
from registry.event_store.log import SOURCE, LoggedEvent

PROGRESS = "registry.progress"

Headers = list[tuple[str, bytes]]
_VERSION = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")
_SOURCE = ("ce_source", SOURCE.encode())


def event_headers(event: LoggedEvent, previous: int) -> Headers:
    """The headers of an event; `previous` is the position of the event before it on its partition, or 0."""
    return [
        _VERSION,
        _JSON,
        ("ce_id", event.id.encode()),
        _SOURCE,
        ("ce_type", event.type.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", iso_time(event.time).encode()),
        ("ce_dataschema", event.dataschema.encode()),
        ("ce_position", b"%d" % event.position),
        ("ce_previous", b"%d" % previous),
    ]


def progress_headers(last: LoggedEvent, previous: int) -> Headers:
    """The headers of a marker: the topic holds all events through `last`, the partition to `previous`."""
    return [
        _VERSION,
        ("ce_id", b"progress/%d" % last.position),
        _SOURCE,
        ("ce_type", PROGRESS.encode()),
        ("ce_time", iso_time(last.time).encode()),
        ("ce_position", b"%d" % last.position),
        ("ce_previous", b"%d" % previous),
        ("ce_last", last.id.encode()),
    ]


def status_headers(position: int) -> Headers:
    """The headers of a badge's status after the event at `position`."""
    return [_JSON, ("ce_position", b"%d" % position)]


def read_event(headers: Mapping[str, bytes], value: bytes) -> LoggedEvent:
    """The event of a record; raises `ValueError` or `KeyError` for a record that does not hold one."""
    return LoggedEvent(
        position=int(headers["ce_position"]),
        subject=headers["ce_subject"].decode(),
        version=int(headers["ce_id"].rpartition(b"/")[2]),
        type=headers["ce_type"].decode(),
        schema_version=int(headers["ce_dataschema"].rpartition(b":")[2]),
        time=dt.datetime.fromisoformat(headers["ce_time"].decode()),
        data=value,
    )


def milliseconds(time: dt.datetime) -> int:
    """A record's timestamp, which never decreases, as times in the log never do."""
    return int(time.timestamp() * 1000)


def described(positions: Sequence[int]) -> str:
    """Positions by partition, as text for an error."""
    return ", ".join(f"partition {number} at {position}" for number, position in enumerate(positions))
