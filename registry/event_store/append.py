"""One append as one call of the SQL function `append`: the rows as literals, or by COPY.

The rules of an append are in the function itself (migrations/0003_append_from_staging.sql).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent

from registry.event_store.vault import PrivateRow
from registry.postgres.binary_copy import copy_packed, packed_rows
from registry.postgres.connections import Cursor, UnavailableError

# Below this many rows one literal call is faster, above it COPY (docs/decisions/0001-own-recorder.md).
COPY_FROM_ROWS = 64

_STAGED = {
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
    "CREATE TEMPORARY TABLE staged (unit integer, subject text, version integer, type text,"
    " schema_version smallint, data bytea, institution text, learner_id uuid, sealed bytea,"
    " alias_key bytea) ON COMMIT DELETE ROWS"
)


class ConflictError(IntegrityError):
    """Another writer was first with a stream or an alias, what the decision relied on has changed, or
    PostgreSQL was lost since it was made.

    Nothing of the unit was recorded: load and decide again.
    """


class MaybeRecordedError(UnavailableError):
    """The connection was lost during the append: the unit may be recorded. Read before deciding again."""


class Unit(msgspec.Struct, frozen=True):
    """What is recorded together or not at all.

    `private` holds the vault row of an event by its place in `events`; `aliases` the new identifiers'
    keys, by that place too, for the learner of its vault row. `relied_on` names the streams that the
    decision read, each with the position at which it was read; `epoch` is the writer's from before the
    decision read anything, None where it relied on nothing.
    """

    events: Sequence[StoredEvent]
    private: dict[int, PrivateRow] = {}
    aliases: dict[int, bytes] = {}
    relied_on: Mapping[str, int] = {}
    epoch: int | None = None


class Appended(msgspec.Struct, frozen=True):
    """The answer of the SQL function `append`."""

    last: int
    conflicts: list[int]
    changed: dict[str, int] | None


_answer = msgspec.json.Decoder(Appended)


def append(cursor: Cursor, units: Sequence[Unit]) -> Appended:
    """Appends the units in one transaction, which is durable when this returns."""
    relied_on = since([unit.relied_on for unit in units])
    rows = _rows(units)
    if len(rows) >= COPY_FROM_ROWS:
        return _answer.decode(_call_with_copy(cursor, packed_rows(_STAGED, rows), relied_on))
    return _answer.decode(_call_with_literals(cursor, rows, relied_on))


def since(relied_on: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    """Each stream that one of them names, with the first position at which it was read."""
    distinct = {id(each): each for each in relied_on}.values()
    if len(distinct) == 1:
        return next(iter(distinct))
    first: dict[str, int] = {}
    for each in distinct:
        for subject, read_at in each.items():
            first[subject] = min(read_at, first.get(subject, read_at))
    return first


@functools.cache
def _type_of(topic: str) -> tuple[str, int]:
    """Type and schema version of a topic; the library's own tests have topics without one."""
    kind, _, schema = topic.rpartition("/")
    return (kind, int(schema)) if kind else (topic, 0)


def _rows(units: Sequence[Unit]) -> list[tuple[Any, ...]]:
    return [row for number, unit in enumerate(units) for row in _rows_of(number, unit)]


def _rows_of(number: int, unit: Unit) -> Iterable[tuple[Any, ...]]:
    for place, event in enumerate(unit.events):
        kind, schema = _type_of(event.topic)
        private = unit.private.get(place)
        yield (
            number,
            str(event.originator_id),
            event.originator_version,
            kind,
            schema,
            event.state,
            private.institution if private else None,
            private.learner_id if private else None,
            private.sealed if private else None,
            unit.aliases.get(place),
        )


def _call_with_literals(cursor: Cursor, rows: list[tuple[Any, ...]], relied_on: Mapping[str, int]) -> str:
    """One round trip, the rows in the statement."""
    literals = ",".join(map(_literal, rows)).encode()
    if b"\0" in literals:
        raise ValueError("PostgreSQL takes no NUL in a text")
    cursor.execute(
        b"SELECT append(ARRAY[%s]::append_row[]," % literals
        + cursor.mogrify("%s::text[],%s::bigint[])", _columns(relied_on))
    )
    (answer,) = cursor.fetchone() or ("",)
    return str(answer)


def _call_with_copy(cursor: Cursor, data: bytes, relied_on: Mapping[str, int]) -> str:
    """COPY into the session's staging table, then one message that appends and commits.

    The lock is taken in that last message only: a process stopped before it holds up nobody. The answer
    passes through a session setting, because the client sees the last result of a message alone.
    """
    copy_packed(cursor, "staged", _STAGED, data, "BEGIN;")
    cursor.execute(
        "SELECT set_config('registry.appended', append(NULL,%s::text[],%s::bigint[]), false);"
        "COMMIT;"
        "SELECT current_setting('registry.appended')",
        _columns(relied_on),
    )
    (answer,) = cursor.fetchone() or ("",)
    return str(answer)


def _columns(relied_on: Mapping[str, int]) -> tuple[list[str], list[int]]:
    return list(relied_on), list(relied_on.values())


def _literal(row: tuple[Any, ...]) -> str:
    """A row of the statement. Written here, at half the cost of `mogrify`."""
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
    """Bytes that are text as text (PostgreSQL's escape format): half as long as in hex, and read as fast."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _as_hex(value)
    return _as_hex(value) if "\0" in text else _quoted(text.replace("\\", "\\\\"))
