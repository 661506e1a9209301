"""CSV for spreadsheets and for programs: the one writer of every CSV that the registry gives."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fastapi import Response

Separator = Literal[",", ";"]
APOSTROPHE = "'"
ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins with one of these for a formula, also where it is quoted.

Some take their other widths too, such as the full-width equals sign.
"""
WORDS = frozenset({"true", "false", "na", "n/a", "#na", "#n/a", "<na>", "null", "none"})
"""Readers that guess types take these for a truth value or for an empty cell, in any case."""


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

    That is a formula, a code that reads as a number, one of `WORDS`, and, so that the rule can be undone, an
    apostrophe.
    """
    return APOSTROPHE + value if isinstance(value, str) and _is_read_otherwise(value) else value


def _is_read_otherwise(text: str) -> bool:
    first = unicodedata.normalize("NFKC", text[:1])
    return first in (*ACTIVE, APOSTROPHE) or text.strip().lower() in WORDS or _reads_as_number(text)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
