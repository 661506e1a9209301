"""CSV for spreadsheets and for programs: the one writer of every CSV that the registry gives."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fastapi import Response

Separator = Literal[",", ";"]
APOSTROPHE = "'"
ACTIVE = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of these for a formula, also where it is quoted."""


def csv_answer(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], separator: Separator, name: str
) -> Response:
    """RFC 4180 with a header line, as a file to save; an empty cell is null."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=separator)
    writer.writeheader()
    writer.writerows({column: cell(row[column]) for column in columns} for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def cell(value: object) -> object:
    """A value as a cell that stays what it is: a text that would not gets an apostrophe before it.

    That is a formula, a code that reads as a number, and, so that the rule can be undone, an apostrophe.
    """
    if isinstance(value, str) and (value.startswith((*ACTIVE, APOSTROPHE)) or _reads_as_number(value)):
        return APOSTROPHE + value
    return value


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
