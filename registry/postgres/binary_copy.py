"""Rows in PostgreSQL's binary COPY format.

Source: https://www.postgresql.org/docs/current/sql-copy.html, section "Binary Format".
"""

from __future__ import annotations

import datetime as dt
import functools
import io
import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from registry.postgres.connections import Cursor

EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""The time from which PostgreSQL counts microseconds."""
_EPOCH_DAY = dt.date(2000, 1, 1).toordinal()
_MICROSECOND = dt.timedelta(microseconds=1)
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


def _sized(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _numbers(form: str, size: int) -> Callable[[Any], bytes]:
    return functools.partial(struct.Struct(f"!i{form}").pack, size)


_int4, _int8 = _numbers("i", 4), _numbers("q", 8)
# Packs a value with its length before it.
_PACKERS: dict[str, Callable[[Any], bytes]] = {
    "text": lambda value: _sized(value.encode()),
    "bytea": _sized,
    "uuid": lambda value: b"\0\0\0\x10" + bytes.fromhex(value.replace("-", "")),
    "bool": lambda value: b"\0\0\0\x01" + bytes([value]),
    "int2": _numbers("h", 2),
    "int4": _int4,
    "int8": _int8,
    "date": lambda value: _int4(value.toordinal() - _EPOCH_DAY),
    "timestamptz": lambda value: _int8((value - EPOCH) // _MICROSECOND),
}
_SELDOM_REPEATED = {"uuid", "int8", "bytea"}


def copy_rows(cursor: Cursor, table: str, columns: dict[str, str], rows: Sequence[Iterable[Any]]) -> None:
    """Copies rows into a table; `columns` gives names and types in the order of the values."""
    if rows:
        copy_packed(cursor, table, columns, packed_rows(columns, rows))


def copy_packed(cursor: Cursor, table: str, columns: Iterable[str], data: bytes, first: str = "") -> None:
    """Copies the result of `packed_rows`; the statements in `first` go in the same message."""
    names = ", ".join(f'"{name}"' for name in columns)
    # Send everything at once: after each piece the interpreter may switch to another thread.
    cursor.copy_expert(f"{first}COPY {table} ({names}) FROM STDIN BINARY", io.BytesIO(data), len(data))


def packed_rows(columns: dict[str, str], rows: Sequence[Iterable[Any]]) -> bytes:
    """At least one row in the format of binary COPY."""
    by_column = zip(columns.values(), zip(*rows, strict=True), strict=True)
    # Fields that are the same in every row are packed once, and joined with their neighbours.
    fields: list[bytes | list[bytes]] = [struct.pack("!h", len(columns))]
    for kind, values in by_column:
        packed, last = _packed(kind, values), fields[-1]
        if isinstance(packed, bytes) and isinstance(last, bytes):
            fields[-1] = last + packed
        else:
            fields.append(packed)
    by_row = zip(
        *(itertools.repeat(field, len(rows)) if isinstance(field, bytes) else field for field in fields),
        strict=True,
    )
    return b"".join([b"PGCOPY\n\xff\r\n\0", bytes(8), *itertools.chain.from_iterable(by_row), b"\xff\xff"])


def _packed(kind: str, values: Sequence[Any]) -> bytes | list[bytes]:
    """The values of a column; a single one where all are the same, as in most columns of a page."""
    pack, first = _PACKERS[kind], values[0]
    if values[-1] == first and values.count(first) == len(values):
        return _NULL if first is None else pack(first)
    if kind in _SELDOM_REPEATED:
        return [_NULL if value is None else pack(value) for value in values]
    # Each value is packed once.
    packed = {value: _NULL if value is None else pack(value) for value in set(values)}
    return [packed[value] for value in values]
