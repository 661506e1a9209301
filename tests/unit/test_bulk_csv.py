"""Edubadges' bulk CSV, by eppn and by e-mail address."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from registry.domain.private_parts import Evidence, Recipient
from registry.edubadges.bulk import read_bulk
from registry.edubadges.items import AwardItem, RefusedItem
from tests.hosted import BY_EMAIL, BY_EPPN, TITLES

MODULE = "11111111-1111-8111-8111-111111111111"
DAY = dt.date(2024, 6, 1)


def read(path: Path, text: str | bytes) -> dict[str, AwardItem | RefusedItem]:
    file = path / "bulk.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return {item.place.rpartition("/")[2]: item for item in read_bulk(file, MODULE, DAY)}


def reasons(items: dict[str, AwardItem | RefusedItem]) -> dict[str, str]:
    return {place: item.reason for place, item in items.items() if isinstance(item, RefusedItem)}


def test_a_row_by_eppn_has_the_eppn_in_its_reference(tmp_path: Path) -> None:
    items = read(tmp_path, BY_EPPN)
    first = items["bulk.csv:2"]
    assert isinstance(first, AwardItem)
    assert first.reference == f"{MODULE}/2024-06-01/averzonnen@hogeschool.example"
    assert first.recipient == Recipient(
        eppn="AVerzonnen@Hogeschool.example", email="a.verzonnen@hogeschool.example"
    )
    assert first.evidence == (
        Evidence(
            url="https://example.org/e1",
            name="Map",
            narrative="Een; verhaal",
            description="Reflectie",
        ),
    )
    assert (first.grade, first.findings, first.badge) == ("8", (), None)
    assert set(items) == {"bulk.csv:2", "bulk.csv:3", "bulk.csv:5", "bulk.csv:6"}
    assert reasons(items).keys() == {"bulk.csv:5", "bulk.csv:6"}
    assert "123456789" not in reasons(items)["bulk.csv:5"]


def test_a_row_by_e_mail_address_names_nobody_else(tmp_path: Path) -> None:
    items = read(tmp_path, "\ufeff" + BY_EMAIL.replace("\n", "\r\n"))
    first = items["bulk.csv:2"]
    assert isinstance(first, AwardItem)
    assert first.reference == f"{MODULE}/2024-06-01/e.verzonnen@example.org"
    assert first.recipient == Recipient(
        edubadges="email:E.Verzonnen@example.org", name="Els van Verzonnen", email="E.Verzonnen@example.org"
    )
    assert first.findings == ("recipient-email",)
    assert reasons(items) == {
        "bulk.csv:3": "needs a valid e-mail address: it must contain only visible ASCII characters,"
        " and no white space"
    }


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_the_line_by_which_a_spreadsheet_names_the_delimiter_is_skipped(
    delimiter: str, tmp_path: Path
) -> None:
    titled = f"{TITLES}\na@example.org;b@example.org;;;;;8\n".replace(";", delimiter)
    for end in ("\n", "\r\n"):
        (item,) = read(tmp_path, f"\ufeffsep={delimiter}{end}{titled}").values()
        assert isinstance(item, AwardItem)
        assert (item.place.rpartition(":")[2], item.grade) == ("3", "8")


def test_a_grade_that_is_longer_than_the_api_accepts_is_kept_and_noted(tmp_path: Path) -> None:
    for length, findings in ((100, ()), (101, ("grade-long",))):
        (item,) = read(tmp_path, f"{TITLES}\na@example.org;b@example.org;;;;;{'8' * length}\n").values()
        assert isinstance(item, AwardItem)
        assert (item.grade, item.findings) == ("8" * length, findings)


def test_without_titles_the_variant_by_eppn_is_taken_and_no_other(tmp_path: Path) -> None:
    items = read(tmp_path, "a@example.org,b@example.org\nc@example.org,d@example.org,verhaal\n")
    assert [type(item) for item in items.values()] == [AwardItem, AwardItem]
    items = read(tmp_path, "a@example.org;Els;Verzonnen;;\n")
    assert "titles" in reasons(items)["bulk.csv"]
    assert "Els" not in reasons(items)["bulk.csv"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "titles"),
        ("sep=;\n".encode("utf-16"), "UTF-16"),
        (b"Recipient mailadres;Recipient EPPN\ncaf\xe9@x;y\n", "UTF-8"),
        ("Recipient mailadres;Recipient EPPN;Geheim\n", "column 3"),
        (f'{TITLES}\n"{"x" * 200_000}"\n', "not valid CSV"),
        (f"{TITLES}\na@example.org;b@example.org;;;;;;rest\n", "more cells"),
        (f"{TITLES}\na@example.org;b@example.org;;ftp://x;;;\n", "web address"),
        (f"{TITLES}\na@example.org,b@example.org,,,,,8\n", "one delimiter in the file"),
        (f'{TITLES}\na@example.org,b@example.org,"verhaal; meer",,,,8\n', "one delimiter in the file"),
        (f"{TITLES}\na@example.org;b@example.org;;;two\u2028lines;;\n", "must not contain control"),
        (f"{TITLES}\na@example.org;b@example.org;;;;;\u00a0\n", "must have a visible character"),
        (f"{TITLES}\na@example.org;b@example.org;;;;;8\n".encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        (f"{TITLES}\na@example.org;b@example.org;;www.example.org;;;\n", "begins with https://"),
        (f"{TITLES}\nGeheim;b@example.org;;;;;\n", "a valid e-mail address"),
        (f"{TITLES}\na@example.org;b@example.org;Ge\x00heim;;;;\n", "must not contain control"),
        (f'{TITLES}\na@example.org;"b@exam\nple.org";;;;;\n', "a valid eppn"),
    ],
)
def test_what_is_wrong_is_said_without_what_it_holds(text: str | bytes, reason: str, tmp_path: Path) -> None:
    (said,) = reasons(read(tmp_path, text)).values()
    assert reason in said
    assert "Geheim" not in said


def test_a_quote_that_is_not_closed_refuses_the_whole_file(tmp_path: Path) -> None:
    """Else the rows after it would lie in the narrative of another learner."""
    opened = (
        BY_EPPN.replace("averzonnen", "averzonnen", 1).rstrip()
        + '\nx@example.org;x@hogeschool.example;"open\n'
    )
    items = read(tmp_path, opened + "y@example.org;y@hogeschool.example;goed\n")
    assert list(reasons(items)) == list(items) == ["bulk.csv"]
    assert "quote" in reasons(items)["bulk.csv"]
