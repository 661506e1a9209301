"""Opaque cursors: they lead back to their place, and only in their own list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http import cursors
from registry.domain.errors import InvalidInput
from registry.domain.values import BRIN

filters = st.lists(st.tuples(st.sampled_from(["status", "reference"]), st.text(max_size=3)), max_size=2)
lists = st.builds(
    lambda path, filters: cursors.list_at(path, *filters), st.sampled_from(["/v1/a", "/v1/b"]), filters
)
positions = st.integers(0, 10**18 - 1)


def place_in(asked: str, cursor: str) -> str | None:
    try:
        return cursors.decode(asked, cursor)
    except InvalidInput:
        return None


@settings(max_examples=100, deadline=None)
@given(lists, positions)
def test_a_cursor_leads_back_to_its_place(asked: str, position: int) -> None:
    cursor = cursors.encode(asked, position)
    assert cursors.decode_position(asked, cursor, 0) == position
    assert place_in(asked, cursor) == str(position)
    assert len(cursor) <= 100


@settings(max_examples=100, deadline=None)
@given(lists, lists, positions)
def test_a_cursor_of_another_list_is_refused(asked: str, other: str, position: int) -> None:
    assert (place_in(other, cursors.encode(asked, position)) is None) is (asked != other)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=100), st.text(alphabet="YmFkZ2VzOj-_=+/AQgw0", max_size=30)))
def test_a_text_is_refused_unless_it_is_exactly_a_cursor(text: str) -> None:
    place = place_in("badges", text)
    assert place is None or cursors.encode("badges", place) == text


@pytest.mark.parametrize("place", ["", "-1", "1.5", "x", "1" * 19, "٣", " 1"])
def test_a_cursor_whose_place_is_no_position_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        cursors.decode_position("badges", cursors.encode("badges", place), 0)
    assert [pointer for pointer, _ in refused.value.errors] == ["/cursor"]


@pytest.mark.parametrize("place", ["27um", "27U", "27UM0", "'--", "é"])
def test_a_cursor_whose_place_has_another_form_is_refused(place: str) -> None:
    assert cursors.decode("institutions", cursors.encode("institutions", "27UM"), BRIN) == "27UM"
    with pytest.raises(InvalidInput):
        cursors.decode("institutions", cursors.encode("institutions", place), BRIN)


def test_without_a_cursor_a_list_begins_at_its_beginning() -> None:
    assert cursors.decode_position("badges", None, 42) == 42


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.integers(1, 20))
def test_pages_hold_each_item_once_and_in_order(count: int, limit: int) -> None:
    items, found, after = list(range(1, count + 1)), list[int](), 0
    for _ in range(count + 1):
        rows = [item for item in items if item > after][: limit + 1]
        shown, cursor = cursors.page("items", rows, limit, lambda item: item)
        found += shown
        if cursor is None:
            break
        assert len(shown) == limit
        after = cursors.decode_position("items", cursor, 0)
    assert found == items
