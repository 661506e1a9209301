"""Values of the field: texts, identifiers, numbers and days."""

from __future__ import annotations

import datetime as dt
import sys
import time
import unicodedata
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain import values

BIDIRECTIONAL = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
MARKS = "\u200e\u200f\u061c"
FORBIDDEN = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in BIDIRECTIONAL
] + list(MARKS)
SURROGATES = ["\ud800", "\udbff", "\udc00", "\udfff"]


MOST = 1_000


def refused(clean: Callable[[str, int], str], value: str) -> bool:
    try:
        clean(value, MOST)
    except ValueError:
        return True
    return False


def test_a_line_holds_no_control_bidirectional_or_surrogate_character() -> None:
    assert [each for each in FORBIDDEN + SURROGATES if not refused(values.clean_line, f"a{each}b")] == []


def test_a_text_holds_of_these_only_line_feed_and_tab() -> None:
    passed = [each for each in FORBIDDEN + SURROGATES if not refused(values.clean_text, f"a{each}b")]
    assert passed == ["\t", "\n"]


def test_in_a_text_carriage_return_and_line_feed_become_a_line_feed() -> None:
    assert values.clean_text("een\r\ntwee\r\n\tdrie\n", MOST) == "een\ntwee\n\tdrie\n"


@pytest.mark.parametrize("clean", [values.clean_line, values.clean_text])
def test_a_composed_and_a_decomposed_letter_become_the_same(clean: Callable[[str, int], str]) -> None:
    assert clean("Zoe\u0308", MOST) == clean("Zo\u00eb", MOST) == "Zo\u00eb"


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(ValueError, match="must not contain") as error:
        values.clean_line("geheim\0", MOST)
    assert "geheim" not in str(error.value)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_what_is_clean_is_in_nfc_and_stays_as_it_is(value: str) -> None:
    if refused(values.clean_text, value):
        return
    clean = values.clean_text(value, MOST)
    assert unicodedata.is_normalized("NFC", clean)
    assert values.clean_text(clean, MOST) == clean


EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_no_run_of_more_than_30_combining_marks_is_normalised_whatever_mark_it_is() -> None:
    """A mark is a character whose decomposition begins with one: NFC sorts the whole run."""
    marks = [each for each in EVERY_CHARACTER if unicodedata.combining(unicodedata.normalize("NFD", each)[0])]
    assert len(marks) > 900
    assert [each for each in marks if not refused(values.clean_line, f"a{each * 31}b")] == []
    assert not refused(values.clean_line, "a" + "\u0301\u0316" * 15 + "b")
    assert refused(values.clean_line, "a" + "\u0301\u0316" * 15 + "\u0f73")


@pytest.mark.parametrize("clean", [values.clean_line, values.clean_text])
@pytest.mark.parametrize(
    "unit", ["a", "\u0301\u0316", "\u0f73", "e\u0301", "\u1f82", "(", "[{},", "\r\n", "가"]
)
def test_a_text_of_any_size_takes_little_time(clean: Callable[[str, int], str], unit: str) -> None:
    for most in (100, 60_000):
        for value in (unit * (2**20 // len(unit)), unit * (4 * most // len(unit))):
            began = time.process_time()
            refused_ = refused(lambda text, _: clean(text, most), value)  # noqa: B023 - called at once
            assert time.process_time() - began < 1
            assert refused_ == (len(value) > most)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.integers(1, 12))
def test_the_bound_of_the_raw_length_refuses_nothing_that_fits_after_normalisation(
    value: str, most: int
) -> None:
    length = len(unicodedata.normalize("NFC", value))
    said = ""
    try:
        values.clean_line(value, most)
    except ValueError as error:
        said = str(error)
    assert said.startswith("must be 1 to") <= (not 1 <= length <= most)
    assert said or length <= most


def test_every_character_that_python_takes_for_invisible_is_blank() -> None:
    shown = [each for each in EVERY_CHARACTER if not values.is_blank(each)]
    assert {unicodedata.category(each)[0] for each in shown} == set("LMNPS")
    assert not set(shown) & set("\u00ad\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0100")


@pytest.mark.parametrize("given_", [5, 5.0, Decimal(5), Decimal("5.0"), Decimal("5.00"), Decimal("0.5E1")])
def test_whole_credits_are_an_integer(given_: object) -> None:
    found = values.ects(given_)
    assert (found, type(found)) == (5, int)


@pytest.mark.parametrize("given_", [2.5, Decimal("2.5"), Decimal("2.50"), Decimal("25E-1")])
def test_half_credits_have_one_decimal(given_: object) -> None:
    found = values.ects(given_)
    assert (found, type(found)) == (2.5, float)


@pytest.mark.parametrize(
    "given_",
    [
        *[5.25, 0.1, 0, 0.0, -0.0, -5, -0.5, 1_000_000.5, 10**100_000],
        *[float("nan"), float("inf"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")],
        *[Decimal("5.0000000000000000000000000000000000001"), Decimal("1E-400"), Decimal("1E+400")],
        *["5", "2.5", "", b"5", True, False, None, [5], {"ects": 5}, 5 + 0j],
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_credits_that_are_no_positive_half_are_refused(given_: object) -> None:
    with pytest.raises(ValueError, match=r"number|multiple"):
        values.ects(given_)


@pytest.mark.parametrize("given_", [1, 240, 10_001, 1_000_000])
def test_hours_of_study_are_a_positive_whole_number(given_: int) -> None:
    assert values.sbu(given_) == given_


@pytest.mark.parametrize(
    "given_", [0, -1, 1_000_001, 240.0, 0.5, Decimal(240), "240", True, None, float("nan"), [240]]
)
def test_other_hours_of_study_are_refused(given_: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        values.sbu(given_)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2024-01-10T22:59:59.999999Z", "2024-01-10"),
        ("2024-01-10T23:00:00Z", "2024-01-11"),
        ("2024-07-10T21:59:59.999999Z", "2024-07-10"),
        ("2024-07-10T22:00:00Z", "2024-07-11"),
        ("2024-07-10T18:00:00-05:00", "2024-07-11"),
    ],
)
def test_a_day_begins_at_midnight_in_amsterdam(moment: str, day: str) -> None:
    assert values.day_in_amsterdam(dt.datetime.fromisoformat(moment)) == dt.date.fromisoformat(day)


@settings(max_examples=200, deadline=None)
@given(st.dates(min_value=dt.date(2018, 1, 1), max_value=dt.date(2100, 1, 1)))
def test_a_day_ends_at_the_midnight_after_it_and_not_before(day: dt.date) -> None:
    end = values.midnight_after(day)
    assert values.day_in_amsterdam(end) == day + dt.timedelta(days=1)
    assert values.day_in_amsterdam(end - dt.timedelta(microseconds=1)) == day


def test_an_award_lies_from_2018_through_today() -> None:
    today = dt.date(2024, 6, 3)
    for day in (dt.date(2018, 1, 1), today):
        assert values.award_day(day, today) == day
    for day in (dt.date(2017, 12, 31), today + dt.timedelta(days=1)):
        with pytest.raises(ValueError, match="through today"):
            values.award_day(day, today)


def test_a_time_is_written_in_utc_with_six_decimals() -> None:
    assert values.iso_time(dt.datetime.fromisoformat("2024-06-03T12:00:00+02:00")) == (
        "2024-06-03T10:00:00.000000Z"
    )


@pytest.mark.parametrize("tag", ["nl", "nl-NL", "en-GB", "zh-Hant-TW", "es-419", "de-1996", "sl-rozaj"])
def test_a_language_tag_is_taken(tag: str) -> None:
    assert values.LANGUAGE.fullmatch(tag)


@pytest.mark.parametrize("tag", ["", "n", "nederlands", "nl_NL", "nl-", "-nl", "nl-NL ", "nl-N", "nl\n"])
def test_what_is_no_language_tag_is_not(tag: str) -> None:
    assert not values.LANGUAGE.fullmatch(tag)


@pytest.mark.parametrize("number", ["1e-999999999", "1e-400", "0.4999999999999999999999", "1e999999999"])
def test_a_number_with_a_huge_exponent_is_no_study_load(number: str) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        values.ects(Decimal(number))
