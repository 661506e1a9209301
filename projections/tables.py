"""Tables as classes: a row is a Struct, a member is a column, and its annotation names the PostgreSQL type.

A read model writes its tables down twice, as SQL and as classes: a test compares the two. Every list of
columns follows from the classes.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Annotated, ClassVar, get_args

import msgspec

from registry.postgres.binary_copy import copy_rows
from registry.postgres.connections import Cursor

Uuid = Annotated[str, "uuid"]
Text = Annotated[str, "text"]
Bytea = Annotated[bytes, "bytea"]
SmallInt = Annotated[int, "int2"]
Integer = Annotated[int, "int4"]
BigInt = Annotated[int, "int8"]
Date = Annotated[dt.date, "date"]
Timestamp = Annotated[dt.datetime, "timestamptz"]


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of a table or view: `name: Text` is a NOT NULL column, `name: Text | None` one that may be null.

    A row never refers to itself, so the garbage collector need not walk through it.
    """

    TABLE: ClassVar[str]
    """The table or view; a class that only gives its columns to others names none."""


@functools.cache
def columns(row: type[Row]) -> dict[str, str]:
    """The PostgreSQL type of each column by its name, in the order of the members."""
    types = {}
    for member in msgspec.structs.fields(row):
        nullable = type(None) in get_args(member.type)
        types[member.name] = (get_args(member.type)[0] if nullable else member.type).__metadata__[0]
    return types


def names(row: type[Row], table: str = "") -> str:
    """The columns as SQL lists them, each qualified by the alias of its table where one is given."""
    return ", ".join(f"{table}.{name}" if table else name for name in columns(row))


def copy(cursor: Cursor, rows: Sequence[Row], table: str = "") -> None:
    """Adds rows, at least one and all of one class, to their table or to another like it, by COPY."""
    copy_rows(
        cursor, table or rows[0].TABLE, columns(type(rows[0])), [msgspec.structs.astuple(row) for row in rows]
    )


def insert(cursor: Cursor, row: Row, otherwise: str = "") -> None:
    """Adds a row; `otherwise` is an ON CONFLICT clause."""
    values = msgspec.structs.astuple(row)
    places = ", ".join(["%s"] * len(values))
    cursor.execute(f"INSERT INTO {row.TABLE} ({names(type(row))}) VALUES ({places}) {otherwise}", values)
