"""Positions on partitions, moved by several at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from registry.event_store.read_model_positions import OvertakenError, advance, positions_of, set_positions
from registry.postgres.connections import Cursor
from tests.postgres.log import connection, later, query, until

NAME, COUNT = "badges", 8


@contextmanager
def cursors(url: str) -> Iterator[tuple[Cursor, Cursor]]:
    """Of two connections."""
    with connection(url) as one, connection(url) as other, one.cursor() as first, other.cursor() as second:
        yield first, second


def begun(cursor: Cursor) -> Cursor:
    cursor.execute("BEGIN")
    return cursor


def waits(url: str) -> bool:
    asked = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(query(url, asked))


def test_who_moves_positions_in_any_order_waits_for_who_holds_one_and_holds_none_itself(url: str) -> None:
    with cursors(url) as (holding, moving):
        # As they lie in the table, the one that is held comes last.
        set_positions(holding, NAME, dict.fromkeys(reversed(range(COUNT)), 0))
        begun(holding).execute(
            "SELECT FROM read_model_position WHERE name = %s AND source = 'log' FOR UPDATE", (NAME,)
        )
        backwards = dict.fromkeys(reversed(range(COUNT)), 0)
        moved = later(lambda: advance(begun(moving), NAME, backwards, dict.fromkeys(backwards, 5), COUNT))
        until(lambda: waits(url))
        assert set(positions_of(holding, NAME, lock=True).values()) == {0}
        holding.execute("COMMIT")
        moved.result(20)
        moving.execute("COMMIT")
        assert set(positions_of(moving, NAME).values()) == {5}


def test_who_has_waited_for_another_that_moved_first_is_overtaken(url: str) -> None:
    with cursors(url) as (first, second):
        set_positions(first, NAME, dict.fromkeys(range(COUNT), 0))
        at = dict.fromkeys(range(COUNT), 0)
        advance(begun(first), NAME, at, {3: 5}, COUNT)
        moved = later(lambda: advance(begun(second), NAME, at, {3: 7, 4: 7}, COUNT))
        until(lambda: waits(url))
        first.execute("COMMIT")
        with pytest.raises(OvertakenError):
            moved.result(20)
        second.execute("ROLLBACK")
        assert positions_of(second, NAME) == at | {3: 5}


def test_another_number_of_partitions_than_is_recorded_moves_nothing(url: str) -> None:
    with connection(url) as opened, opened.cursor() as cursor:
        set_positions(cursor, NAME, dict.fromkeys(range(COUNT), 0))
        with pytest.raises(OvertakenError):
            advance(cursor, NAME, {0: 0}, {0: 5}, COUNT - 1)
        assert set(positions_of(cursor, NAME).values()) == {0}
