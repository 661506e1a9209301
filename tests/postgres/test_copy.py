"""Binary COPY: what is sent is what the table holds, whatever a column is made of."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.postgres.binary_copy import copy_rows
from registry.postgres.connections import connect
from tests.support import Databases

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    "bytea": st.binary(max_size=5),
    "uuid": st.uuids().map(str),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "date": st.dates(),
    "timestamptz": st.datetimes(dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC)),
}
COLUMNS = {f"a_{kind}": kind for kind in VALUES}


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Columns of one value, of several, and with nothing in them here and there."""
    count = draw(st.integers(0, 6))
    columns = []
    for values in VALUES.values():
        some = draw(st.lists(st.none() | values, min_size=1, max_size=2))
        columns.append(draw(st.lists(st.sampled_from(some), min_size=count, max_size=count)))
    return list(zip(*columns, strict=True))


def test_what_is_copied_is_what_is_read(databases: Databases) -> None:
    connection = connect(databases.url("postgres"))
    with connection.cursor() as cursor:
        names = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        cursor.execute(f"CREATE TEMPORARY TABLE copied (number int4, {names})")

        @settings(max_examples=100, deadline=None)
        @given(tables())
        def check(rows: list[tuple[Any, ...]]) -> None:
            numbered = [(number, *row) for number, row in enumerate(rows)]
            copy_rows(cursor, "copied", {"number": "int4", **COLUMNS}, numbered)
            cursor.execute("SELECT * FROM copied ORDER BY number")
            assert [_plain(row) for row in cursor.fetchall()] == numbered
            cursor.execute("TRUNCATE copied")

        check()
    connection.close()


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        bytes(each) if isinstance(each, memoryview) else str(each) if isinstance(each, uuid.UUID) else each
        for each in row
    )
