"""One append as one call of the SQL function `append`: the rows as literals, or by COPY.

The rules of an append are in the function itself (`append.sql`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import psycopg2
from eventsourcing.persistence import IntegrityError

from registry.domain.errors import EventTooLarge
from registry.domain.events import Fact, canonical
from registry.postgres.binary_copy import copy_packed, packed_rows
from registry.postgres.clock import CLOCK_IS_WRONG, ClockError, SystemTime, system_time
from registry.postgres.connections import Cursor, UnavailableError

MAX_EVENT = 60 * 1024
"""Bytes of an event's data: an entry of the transparency log has at most 65,535 bytes."""
# With fewer rows one call with literals is faster, with more rows COPY (docs/decisions/0001-append.md).
COPY_FROM_ROWS = 64


class ConflictError(IntegrityError):
    """Another writer was first with a stream's version or an alias: nothing of the unit was recorded."""


class ConnectionLostError(UnavailableError):
    """The connection was lost: an append under way may be recorded. Load again before you decide again."""


class Row(msgspec.Struct, gc=False):
    """An event to append, with the private parts and the alias that belong to it.

    `sealed` are the private parts, which belong to `institution` and, of a badge, to `learner_id`;
    `alias_key` is a new identifier of that learner. The SQL type `append_row` has the same members after the
    unit's number.
    """

    subject: str
    version: int
    type: str
    schema_version: int
    data: bytes
    institution: str | None = None
    learner_id: str | None = None
    sealed: bytes | None = None
    alias_key: bytes | None = None


Unit = Sequence[Row]
"""Events that are recorded together or not at all."""

_COLUMNS = {
    "unit": "int4",
    "subject": "text",
    "version": "int4",
    "type": "text",
    "schema_version": "int2",
    "data": "bytea",
    "institution": "text",
    "learner_id": "uuid",
    "sealed": "bytea",
    "alias_key": "bytea",
}
STAGING = (
    f"CREATE TEMPORARY TABLE staged ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})"
    " ON COMMIT DELETE ROWS"
)


def row(subject: str, version: int, fact: Fact) -> Row:
    """The event that records a fact; refuses one that is too large."""
    data = canonical(fact)
    if len(data) > MAX_EVENT:
        raise EventTooLarge(len(data), MAX_EVENT)
    return Row(subject, version, fact.TYPE, fact.SCHEMA_VERSION, data)


class Appended(msgspec.Struct, frozen=True):
    """The answer of the SQL function `append`: appended rows have the positions after `last`, in order.

    `conflicts` names the units, by number, to which another writer was first. Where a stream that the
    decisions relied on has changed, nothing was appended, and `changed` names it with its last position.
    """

    last: int
    conflicts: list[int]
    changed: dict[str, int] | None


_answer = msgspec.json.Decoder(Appended)


def append(
    cursor: Cursor,
    units: Sequence[Unit],
    relied_on: Collection[str],
    read_at: int,
    time: SystemTime = system_time,
) -> Appended:
    """Appends the units in one transaction, which is durable when this returns.

    `relied_on` names the streams that the decisions read, all of them as of position `read_at`.
    `time` is read at the last moment before the call. Raises `ClockError` where the clocks differ.
    """
    rows = [(number, *msgspec.structs.astuple(row)) for number, unit in enumerate(units) for row in unit]
    streams = (list(relied_on), [read_at] * len(relied_on))
    call = _call_with_copy if len(rows) >= COPY_FROM_ROWS else _call_with_literals
    try:
        return _answer.decode(call(cursor, rows, streams, time))
    except psycopg2.Error as error:
        if error.pgcode == CLOCK_IS_WRONG:
            raise ClockError(error.diag.message_primary or "the clocks differ") from None
        raise


def _call_with_literals(
    cursor: Cursor, rows: list[tuple[Any, ...]], streams: tuple[list[str], list[int]], time: SystemTime
) -> str:
    """One round trip, the rows in the statement."""
    literals = ",".join(map(_literal, rows)).encode()
    if b"\0" in literals:
        raise ValueError("PostgreSQL takes no NUL in a text")
    cursor.execute(
        b"SELECT append(ARRAY[%s]::append_row[]," % literals
        + cursor.mogrify("%s::text[],%s::bigint[],%s)", (*streams, time()))
    )
    (answer,) = cursor.fetchone() or ("",)
    return str(answer)


def _call_with_copy(
    cursor: Cursor, rows: list[tuple[Any, ...]], streams: tuple[list[str], list[int]], time: SystemTime
) -> str:
    """COPY into the session's staging table, then one message that appends and commits.

    Only that last message takes the lock: a process that stops before it holds up nobody. The answer
    passes through a session setting, because the client sees only the last result of a message.
    """
    copy_packed(cursor, "staged", _COLUMNS, packed_rows(_COLUMNS, rows), "BEGIN;")
    cursor.execute(
        "SELECT set_config('registry.appended', append(NULL,%s::text[],%s::bigint[],%s), false);"
        "COMMIT;"
        "SELECT current_setting('registry.appended')",
        (*streams, time()),
    )
    (answer,) = cursor.fetchone() or ("",)
    return str(answer)


def _literal(row: tuple[Any, ...]) -> str:
    """A row of the statement, written here at half the cost of `mogrify`."""
    unit, subject, version, kind, schema, data, institution, learner_id, sealed, alias_key = row
    return (
        f"({unit},{_quoted(subject)},{version},{_quoted(kind)},{schema},{_as_text(data)},{_quoted(institution)},"
        f"{_quoted(learner_id)},{_as_hex(sealed)},{_as_hex(alias_key)})::append_row"
    )


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def _as_hex(value: bytes | None) -> str:
    return "NULL" if value is None else f"'\\x{value.hex()}'"


def _as_text(value: bytes) -> str:
    """Text in PostgreSQL's escape format: half as long as hexadecimal digits, and read as fast."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _as_hex(value)
    return _as_hex(value) if "\0" in text else _quoted(text.replace("\\", "\\\\"))
