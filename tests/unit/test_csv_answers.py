"""CSV: each text is harmless in a spreadsheet, stays a text, and is read back by the codebook's rule."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.csv_answers import ACTIVE, WORDS, Separator, cell, csv_answer

WIDE = tuple("＝＋－＠﹢﹣﹦﹫")
TEXTS = st.one_of(
    st.text(min_size=1, max_size=20),
    st.builds(str.__add__, st.sampled_from([*ACTIVE, *WIDE, "'", "''"]), st.text(max_size=20)),
    st.sampled_from([form(word) for word in WORDS for form in (str, str.upper, str.title, " {} ".format)]),
    st.from_regex(r"\A[0-9]{1,4}(\.[0-9])?(e[0-9])?\Z"),
)


@given(TEXTS)
def test_no_text_is_a_formula_or_a_number_and_each_is_read_back(text: str) -> None:
    written = cell(text)
    assert isinstance(written, str)
    assert not written.startswith((*ACTIVE, *WIDE))
    assert written.strip().lower() not in WORDS
    with pytest.raises(ValueError, match="could not convert"):
        float(written)
    assert written.removeprefix("'") == text


@given(st.lists(st.tuples(TEXTS, st.none() | st.integers(0)), max_size=5), st.sampled_from([",", ";"]))
def test_every_text_column_goes_through_the_rule(
    rows: list[tuple[str, int | None]], separator: Separator
) -> None:
    columns = ["a", "b"]
    answer = csv_answer(columns, [dict(zip(columns, row, strict=True)) for row in rows], separator, "name")
    text = bytes(answer.body).decode()
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    assert found[0] == columns
    assert [(first.removeprefix("'"), second) for first, second in found[1:]] == [
        (first, "" if second is None else str(second)) for first, second in rows
    ]
    assert not any(each.startswith((*ACTIVE, *WIDE)) for row in found for each in row)
