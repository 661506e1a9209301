"""Every text of an import, huge: it is refused or read in little time, and nothing of it is in the reason."""

from __future__ import annotations

import argparse
import copy
import csv
import datetime as dt
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.cli.main import _parser
from registry.domain.private_parts import Evidence
from registry.edubadges.assertions import read_assertion
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.bulk import _TITLES, read_bulk
from registry.edubadges.files import read_documents
from registry.edubadges.items import AwardItem, RefusedItem, StatedClass, Unreadable
from registry.edubadges.members import NAMES
from registry.edubadges.texts import MAX_TEXT
from tests.hosted import BADGE, assertion, expanded, expanded_class, extension, folder, issuer

TODAY = dt.date(2026, 11, 26)
MODULE = "11111111-1111-8111-8111-111111111111"
UNITS = ["\u0301\u0316", "\u0f73", "(", "[{},", '"a":1,', " \u200b", "https://a", "@", "1,"]
CPU_SECONDS = 10.0
"""A generous end: what took quadratic time took minutes."""
EVIDENCE = [
    {"type": "Evidence", "id": "https://example.org/e1", "name": "n", "narrative": "v", "description": "d"}
]


def huge(unit: str, size: int = 2**20) -> str:
    return unit * (size // len(unit))


def texts(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of each text in a document."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from texts(member, (*at, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, (*at, number))
    elif isinstance(value, str):
        yield at


def changed(document: dict[str, Any], at: tuple[str | int, ...], value: str) -> dict[str, Any]:
    made = copy.deepcopy(document)
    holder: Any = made
    for name in at[:-1]:
        holder = holder[name]
    holder[at[-1]] = value
    return made


HOSTED = expanded(evidence=EVIDENCE, narrative="n", grade_achieved="8", expires="2030-01-01")


@pytest.mark.parametrize("at", list(texts(HOSTED)), ids=lambda at: ".".join(map(str, at)))
def test_a_huge_text_of_a_hosted_assertion_takes_little_time(
    at: tuple[str | int, ...], tmp_path: Path
) -> None:
    for unit in UNITS:
        path = folder(tmp_path, a=changed(HOSTED, at, huge(unit)))
        began = time.process_time()
        items = read_documents(path, TODAY)
        assert time.process_time() - began < CPU_SECONDS, unit
        for item in items:
            assert not isinstance(item, RefusedItem) or len(item.reason) < 200


MANY = 200_000
WIDE: dict[str, dict[str, Any]] = {
    "words": expanded(of=expanded_class(assessmentType="," * MANY)),
    "listed words": expanded(of=expanded_class(assessmentType=["testing"] * MANY)),
    "codes": expanded(of=expanded_class(**extension("EducationProgramIdentifier", [34560] * MANY))),
    "evidence": expanded(evidence=[{}] * MANY),
    "members": expanded() | {f"m{n}": 1 for n in range(MANY)},
    "members of the badge class": expanded(of=expanded_class() | {f"m{n}": 1 for n in range(MANY)}),
    "grades": expanded(grade_achieved=["8"] * MANY),
}


@pytest.mark.parametrize("document", WIDE.values(), ids=WIDE.keys())
def test_many_members_or_words_take_little_time_and_make_few_findings(
    document: dict[str, Any], tmp_path: Path
) -> None:
    path = folder(tmp_path, a=document)
    began = time.process_time()
    (item,) = read_documents(path, TODAY)
    assert time.process_time() - began < CPU_SECONDS
    if isinstance(item, AwardItem):
        assert isinstance(item.stated, StatedClass | str)
        findings = item.stated.module.findings if isinstance(item.stated, StatedClass) else ()
        assert len((*item.findings, *findings)) < 20


COLUMNS = ["email", "eppn", "narrative", "url", "evidence name", "description", "grade"]
TITLES = [
    "Recipient mailadres", "Recipient EPPN", "Narrative", "Evidence URL", "Evidence NAME",
    "Evidence Description", "Grade",
]  # fmt: skip
ROW = ["a@example.org", "a@hhs.nl", "", "https://example.org/e1", "", "", "8"]


@pytest.mark.parametrize("row", [0, 1], ids=["titles", "cells"])
@pytest.mark.parametrize("column", range(7))
def test_a_huge_cell_of_the_bulk_csv_takes_little_time(row: int, column: int, tmp_path: Path) -> None:
    for unit in UNITS:
        for size in (2**17 - 1, 2**20):  # below and above what a cell may hold
            rows = [list(TITLES), list(ROW)]
            rows[row][column] = huge(unit, size)
            text = io.StringIO()
            csv.writer(text, delimiter=";").writerows(rows)
            file = tmp_path / "bulk.csv"
            file.write_text(text.getvalue())
            began = time.process_time()
            items = list(read_bulk(file, MODULE, TODAY))
            assert time.process_time() - began < CPU_SECONDS, unit
            assert all(isinstance(item, RefusedItem) and len(item.reason) < 200 for item in items)


@pytest.mark.parametrize(
    "unit", [";", ";" * 9_000 + '"\n"', "a;" * 9_000 + "\n"], ids=["one line", "one row", "rows"]
)
def test_a_wide_row_of_the_bulk_csv_is_refused_at_once(unit: str, tmp_path: Path) -> None:
    file = tmp_path / "bulk.csv"
    file.write_text(";".join(TITLES) + "\n" + huge(unit, 2**24))
    began = time.process_time()
    (item,) = read_bulk(file, MODULE, TODAY)
    assert time.process_time() - began < CPU_SECONDS
    assert item == RefusedItem(str(file), "has a row of more than 100 cells")


def test_a_text_that_fits_is_read_whole_and_one_more_character_is_refused(tmp_path: Path) -> None:
    for length in (MAX_TEXT, MAX_TEXT + 1):
        path = folder(tmp_path, a=expanded(narrative="é" * length))
        (item,) = read_documents(path, TODAY)
        if length == MAX_TEXT:
            assert isinstance(item, AwardItem)
            assert item.evidence == (Evidence(narrative="é" * length),)
        else:
            assert item == RefusedItem("a.json", f"has a text of more than {MAX_TEXT} characters")


def test_a_badge_class_with_many_combining_marks_is_refused() -> None:
    with pytest.raises(Unreadable, match="combining marks in a row"):
        read_badge_class(BADGE, expanded_class(description="a" + "\u0301\u0316" * 16))
    assert json.dumps(read_badge_class(BADGE, expanded_class()).content.description)


def test_the_command_line_takes_an_id_in_any_case() -> None:
    def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        for action in parser._actions:
            yield action
            for inner in action.choices.values() if isinstance(action.choices, dict) else ():
                yield from walk(inner)

    ids = {action.dest: action.type for action in walk(_parser()) if action.metavar == "ID"}
    assert ids.keys() >= {"badge", "module", "learner"}
    for name, read in ids.items():
        assert callable(read), name
        assert read(MODULE.replace("1", "A")) == MODULE.replace("1", "a"), name


def test_the_evidence_of_an_assertion_is_bounded_as_a_whole() -> None:
    """The private parts of a badge are read whole, whatever is asked of them."""
    pieces = [{"narrative": "x" * 9_000} for _ in range(20)]
    with pytest.raises(Unreadable, match="characters of evidence"):
        read_assertion("a.json", assertion() | {"evidence": pieces}, TODAY)
    assert read_assertion("a.json", assertion() | {"evidence": pieces[:10]}, TODAY)


def twice(document: dict[str, Any], at: tuple[str | int, ...]) -> str:
    """The document as JSON, with the member at this place twice: first as it is, then as null."""
    made = copy.deepcopy(document)
    holder: Any = made
    for name in at[:-1]:
        holder = holder[name]
    holder["?again?"] = None
    return json.dumps(made).replace("?again?", str(at[-1]))


def members_of(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of each member of each object in a document."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield (*at, name)
        yield from members_of(inner, (*at, name))
    for number, inner in enumerate(value if isinstance(value, list) else ()):
        yield from members_of(inner, (*at, number))


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "an assertion": (HOSTED, "%s"),
    "a revoked assertion": (assertion() | {"revoked": True, "unknown": {"also": 1}}, "%s"),
    "a badge class": (expanded_class(), "%s"),
    "an issuer": (issuer(), "%s"),
    "one of a list": (HOSTED, "[%s]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_is_stated_twice_is_refused_in_every_kind_of_document(
    kind: str, tmp_path: Path
) -> None:
    """Of `revoked` as true and then as null the last was taken, and the badge was imported as valid."""
    document, form = KINDS[kind]
    for at in members_of(document):
        (tmp_path / "a.json").write_text(form % twice(document, at))
        name = at[-1] if at[-1] in NAMES else "a member"
        refused = RefusedItem("a.json", f"states {name} twice; keep the one that is right")
        assert read_documents(tmp_path, TODAY) == [refused], at


@pytest.mark.parametrize("again", _TITLES)
def test_a_column_that_comes_twice_is_refused_whatever_its_titles(again: str, tmp_path: Path) -> None:
    column = _TITLES[again]
    others = [title for title in TITLES if _TITLES[title.lower()] != column]
    same = [title for title in _TITLES if _TITLES[title] == column]
    for other in same:
        titles = [*others, again, f"{other} (2)"]
        file = tmp_path / "bulk.csv"
        file.write_text(";".join(titles) + "\n" + ";".join(["a@hhs.nl"] * len(titles)))
        refused = RefusedItem(str(file), f"has two columns of {column}; keep the one that is right")
        assert list(read_bulk(file, MODULE, TODAY)) == [refused], titles
