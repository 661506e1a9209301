"""Reads the bulk CSV that Edubadges accepts for direct awards: by eppn, or by e-mail address.

The columns are found by their titles. A file without titles must have the columns of the sample that
Edubadges offers: e-mail address, eppn, narrative, evidence URL, its name and description, grade.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.domain import values
from registry.domain.private_parts import Evidence, Recipient
from registry.edubadges.files import decoded_text, printable, read_bytes
from registry.edubadges.items import AwardItem, RefusedItem, Unreadable
from registry.edubadges.texts import address, line, long_parts, text, trimmed

MAX_FILE = 64 * 1024 * 1024
MAX_CELLS, MAX_DELIMITERS = 100, 10_000
"""Cells of a row, and delimiters on a line, of which a text in quotes may hold many."""
_UNTITLED = ("email", "eppn", "narrative", "url", "evidence name", "description", "grade")
_TITLES = {
    "recipient mailadres": "email",
    "recipient email": "email",
    "recipient e-mail": "email",
    "recipient eppn": "eppn",
    "recipient first name": "first name",
    "recipient firstname": "first name",
    "first name": "first name",
    "firstname": "first name",
    "recipient surname": "surname",
    "surname": "surname",
    "narrative": "narrative",
    "evidence url": "url",
    "evidence name": "evidence name",
    "evidence description": "description",
    "grade": "grade",
}
_DELIMITERS = ";,\t"
# The columns that may have several lines.
_TEXTS = ("narrative", "description")
# The line by which a spreadsheet names the delimiter of the file.
_SEP = re.compile(r"sep=([;,\t])")

Row = dict[str, str]


def read_bulk(path: Path, module_id: str, awarded_on: dt.date) -> Iterator[AwardItem | RefusedItem]:
    """Returns an item per row that is not empty, or one for the whole file where it cannot be read."""
    place = printable(path)
    try:
        lines = iter(_lines(read_bytes(path, MAX_FILE)))
        number, first = next(lines, (0, []))
        columns = _columns(first)
        titled = columns is not None
        if columns is None:
            columns = _untitled(first)
        if not titled:
            yield _item(f"{place}:{number}", first, columns, module_id, awarded_on)
        for number, cells in lines:
            yield _item(f"{place}:{number}", cells, columns, module_id, awarded_on)
    except Unreadable as error:
        yield RefusedItem(place, str(error))


def _lines(raw: bytes) -> list[tuple[int, list[str]]]:
    """Line number and cells of each row that is not empty.

    The whole file is read or refused: an unclosed quote would put other learners' rows into one cell.
    """
    decoded = decoded_text(raw)
    first, _, rest = decoded.partition("\n")
    named = _SEP.fullmatch(first.rstrip("\r"))
    content = rest if named else decoded
    delimiter = named[1] if named else max(_DELIMITERS, key=first.count)
    skipped = 1 if named else 0
    reader = csv.reader(
        _narrow(io.StringIO(content, newline=""), delimiter), delimiter=delimiter, strict=True
    )
    rows = []
    try:
        for cells in reader:
            if len(cells) > MAX_CELLS:
                raise _too_wide()
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num + skipped, cells))
    except csv.Error:
        raise Unreadable(
            f"is not valid CSV at line {reader.line_num + skipped}; is a quote not closed?"
        ) from None
    return rows


def _narrow(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """The lines, before they are parsed: one of delimiters alone would take ten times its size."""
    for line_ in lines:
        if line_.count(delimiter) > MAX_DELIMITERS:
            raise _too_wide()
        yield line_


def _too_wide() -> Unreadable:
    return Unreadable(f"has a row of more than {MAX_CELLS} cells")


def _columns(cells: list[str]) -> list[str] | None:
    """The columns by their titles; None where the first row does not hold titles."""
    titles = [_title(cell) for cell in cells]
    if not titles or _TITLES.get(titles[0]) is None:
        return None
    unknown = [str(place) for place, title in enumerate(titles, 1) if title and title not in _TITLES]
    if unknown:
        raise Unreadable(f"has an unknown title in column {', '.join(unknown)}")
    columns = [_TITLES.get(title, "") for title in titles]
    for column in filter(None, columns):
        if columns.count(column) > 1:
            raise Unreadable(f"has two columns of {column}; keep the one that is right")
    if not {"email", "eppn"} & set(columns):
        raise Unreadable("needs a column of eppns or e-mail addresses")
    return columns


def _title(cell: str) -> str:
    """A title in lower case, without what is in brackets, as in `Narrative (optional)`."""
    before, _, rest = cell.partition("(")
    _, closed, after = rest.partition(")")
    return " ".join((f"{before} {after}" if closed else cell).lower().split())


def _untitled(cells: list[str]) -> list[str]:
    if len(cells) < 2 or not re.fullmatch(values.EMAIL, cells[1].strip()):
        raise Unreadable("has no titles; without titles, column 2 must be the eppn")
    return list(_UNTITLED)


def _item(
    place: str, cells: list[str], columns: list[str], module_id: str, awarded_on: dt.date
) -> AwardItem | RefusedItem:
    if any(cell.strip() for cell in cells[len(columns) :]):
        return RefusedItem(place, "has more cells than there are columns")
    named = dict(zip(columns, cells, strict=False))
    identifiers = [trimmed(named.pop(kind, None)) for kind in ("email", "eppn")]
    if _is_separated_otherwise(cells, columns, identifiers):
        return RefusedItem(place, "is separated otherwise than the titles are; use one delimiter in the file")
    try:
        row = {
            column: value
            for column, cell in named.items()
            if (value := (text if column in _TEXTS else line)(cell)) is not None
        }
        return _award(place, row, identifiers, "eppn" in columns, module_id, awarded_on)
    except Unreadable as error:
        return RefusedItem(place, str(error))


def _is_separated_otherwise(cells: list[str], columns: list[str], identifiers: list[str | None]) -> bool:
    """Whether a row by commas lies under titles by semicolons, or the like.

    It is then one cell, or one with the e-mail address and the eppn together.
    """
    whole = cells if len(cells) == 1 < len(columns) else list(filter(None, identifiers))
    return any(set(_DELIMITERS) & set(cell) and (len(cells) == 1 or cell.count("@") > 1) for cell in whole)


def _award(
    place: str,
    row: Row,
    identifiers: list[str | None],
    by_eppn: bool,
    module_id: str,
    awarded_on: dt.date,
) -> AwardItem:
    email, eppn = identifiers
    name = " ".join(row[part] for part in ("first name", "surname") if part in row) or None
    if by_eppn:
        identifier = _identifier("eppn", eppn, values.eppn)
        recipient = Recipient(
            eppn=identifier, name=name, email=email and _identifier("e-mail address", email, values.email)
        )
    else:
        identifier = _identifier("e-mail address", email, values.email_identifier)
        recipient = Recipient(edubadges=f"email:{identifier}", name=name, email=identifier)
    evidence = _evidence(row)
    return AwardItem(
        place,
        f"{module_id}/{awarded_on}/{identifier.lower()}",
        recipient,
        awarded_on,
        grade=row.get("grade"),
        evidence=evidence,
        findings=(
            *(() if by_eppn else ("recipient-email",)),
            *(("recipient-name-long",) if len(name or "") > values.MAX_NAME else ()),
            *long_parts(row.get("grade"), evidence),
        ),
    )


def _identifier(title: str, stated: str | None, check: Callable[[str], str]) -> str:
    if stated is None:
        raise Unreadable(f"needs a valid {title}")
    try:
        return check(stated)
    except ValueError as error:
        raise Unreadable(f"needs a valid {title}: it {error}") from None


def _evidence(row: Row) -> tuple[Evidence, ...] | None:
    url = row.get("url")
    if url is not None and address(url) is None:
        raise Unreadable("evidence URL must be a web address that begins with https:// or http://")
    evidence = Evidence(
        url=address(url),
        name=row.get("evidence name"),
        narrative=row.get("narrative"),
        description=row.get("description"),
    )
    return None if evidence == Evidence() else (evidence,)
