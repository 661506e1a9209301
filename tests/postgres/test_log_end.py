"""The end of the log, shared by several readers: each sees what it would have read alone."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from consumers import store_feed
from consumers.store_feed import LogEnd
from registry.postgres.connections import Pool
from tests.postgres.log import connection, identities, whole_log
from tests.postgres.writing import Writer, stream


@pytest.fixture
def end(url: str) -> Iterator[LogEnd]:
    pool = Pool(url, "registry_project", 2)
    yield LogEnd(pool)
    pool.close()


@pytest.fixture
def writer(url: str) -> Iterator[Writer]:
    opened = Writer(url)
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(8))
def test_readers_at_any_distance_see_every_event_once_and_in_order(
    url: str, end: LogEnd, writer: Writer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(store_feed, "MAX_KEPT", chance.choice([1, 5, 20, 1_000]))
    readers: list[list[tuple[str, int]]] = [[], [], []]
    at = [0, 0, 0]
    for turn in range(120):
        if turn < 60 and chance.random() < 0.5:
            writer.append(stream(chance.randint(1, 9)))
        which = chance.randrange(3) if turn < 60 else turn % 3
        page = end.read(at[which], chance.choice([1, 3, 10, 200]) if turn < 60 else 500)
        readers[which] += identities(page)
        at[which] = page[-1].position if page else at[which]
    assert readers == [identities(whole_log(url))] * 3


def test_what_one_has_read_and_decoded_the_next_one_finds(end: LogEnd, writer: Writer) -> None:
    writer.append(stream(20))
    first = end.read(0, 20)
    assert [id(each) for each in end.read(5, 10)] == [id(each) for each in first[5:15]]


@pytest.mark.parametrize("after", [2, 4])
def test_what_the_log_no_longer_holds_is_given_to_nobody(
    url: str, end: LogEnd, writer: Writer, after: int
) -> None:
    """As after a change to a server that lacked the last acknowledged events."""
    writer.append(stream(4))
    assert len(end.read(0, 10)) == 4
    with connection(url) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
        cursor.execute("DELETE FROM event WHERE position > 2")
    writer.append(stream(5))
    assert identities(end.read(after, 10)) == identities(whole_log(url, after))
    assert identities(end.read(2, 10)) == identities(whole_log(url, 2))
