"""One contract for both feeds: events in order, each once, from where a read model is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from consumers.feeds import Feed, Source, StoreSource
from consumers.kafka_feed import KafkaSource
from consumers.store_feed import Page
from projections.all import read_models
from projections.badges.projection import Badges
from projections.read_model import ReadModel
from registry.event_store.log import LoggedEvent
from registry.event_store.read_model_positions import positions_of, set_positions
from registry.postgres.connections import Cursor, Pool
from registry.recording.commands import RevokeBadge
from registry.recording.registry import Registry
from tests.kafka.streaming import Streaming
from tests.postgres.commands import ORIGIN, award
from tests.postgres.log import connection, execute, until, whole_log


@pytest.fixture(params=["the store", "Kafka, 1 partition", "Kafka, 8 partitions"])
def carried(request: pytest.FixtureRequest, url: str) -> Iterator[Carried]:
    with ExitStack() as stack:
        if request.param == "the store":
            with connection(url) as owner, owner.cursor() as cursor:
                for model in read_models():
                    set_positions(cursor, model.name, dict.fromkeys(range(8), 0))
            pool = Pool(url, "registry_project", 2)
            stack.callback(pool.close)
            yield Carried(url, StoreSource(pool), lambda: None)
        else:
            streaming: Streaming = request.getfixturevalue("streaming")
            streaming.make_topics(int(request.param.split()[1]))
            stack.enter_context(streaming.relaying())
            yield Carried(url, KafkaSource(streaming.kafka), streaming.settled)


class Carried:
    """A log, and a source that carries it."""

    def __init__(self, url: str, source: Source, settled: Callable[[], None]) -> None:
        self.url, self.source, self.settled = url, source, settled

    @contextmanager
    def feed(self, model: ReadModel) -> Iterator[Reading]:
        with (
            connection(self.url, "registry_project") as opened,
            opened.cursor() as cursor,
            closing(self.source.feed([model], cursor)) as feed,
        ):
            yield Reading(feed, cursor, model.name)


class Reading:
    """A feed that is read, and what it has given so far."""

    def __init__(self, feed: Feed, cursor: Cursor, name: str) -> None:
        self._feed = feed
        self.at = positions_of(cursor, name)
        self.events: list[LoggedEvent] = []

    def read(self, limit: int = 100) -> Page | None:
        """Checks that a page goes on where the one before it ended."""
        for _, page in self._feed.read(limit):
            assert {each: self.at[each] for each in page.to} == page.at
            self.at |= page.to
            self.events += page.events
            return page
        return None

    def until(self, last: int) -> list[LoggedEvent]:
        """All events, when every partition has come to this position."""

        def reached() -> bool:
            self.read()
            return set(self.at.values()) == {last}

        until(reached)
        return self.events


def fill(registry: Registry, count: int, name: str = "a") -> None:
    for number in range(count):
        badge = award(registry, "27UM", f"{name}{number}", f"learner {number % 7}").id
        if number % 3 == 0:
            registry.record(RevokeBadge("27UM", badge, "fraud", None, None, ORIGIN))


def by_key(events: list[LoggedEvent]) -> dict[str, list[LoggedEvent]]:
    found: dict[str, list[LoggedEvent]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event)
    return found


def test_a_feed_gives_each_event_of_the_log_once_as_it_was_stored(
    carried: Carried, registry: Registry
) -> None:
    fill(registry, 20)
    with carried.feed(Badges()) as reading:
        log = whole_log(carried.url)
        events = list(reading.until(len(log)))
        fill(registry, 20, "b")
        log = whole_log(carried.url)
        events = reading.until(len(log))
    assert by_key(events) == by_key(log)


def test_a_feed_goes_on_from_where_the_read_model_is(carried: Carried, registry: Registry) -> None:
    fill(registry, 20)
    for position in (1, 2, 9, len(whole_log(carried.url))):
        execute(
            carried.url,
            "UPDATE read_model_position SET position = %s WHERE name = %s",
            (position, "badges"),
        )
        with carried.feed(Badges()) as reading:
            log = whole_log(carried.url)
            assert by_key(reading.until(len(log))) == by_key(log[position:])


def test_a_feed_goes_on_from_where_the_read_model_is_on_each_partition(
    carried: Carried, registry: Registry
) -> None:
    """As after another feed, or other consumers, that had not come equally far."""
    fill(registry, 30)
    with connection(carried.url, "registry_project") as opened, opened.cursor() as cursor:
        count = len(positions_of(cursor, "badges"))
    execute(
        carried.url,
        "UPDATE read_model_position SET position = 3 + 5 * substr(source || '/0', 5, 1)::integer"
        " WHERE name = 'badges' AND source <> 'log'",
    )
    with carried.feed(Badges()) as reading:
        at = dict(reading.at)
        log = whole_log(carried.url)
        events = reading.until(len(log))
    wanted = [event for event in log if event.position > at[event.partition(count)]]
    assert by_key(events) == by_key(wanted)


def test_a_feed_with_nothing_new_answers_soon_that_there_is_nothing(
    carried: Carried, registry: Registry
) -> None:
    with carried.feed(Badges()) as reading:
        reading.until(len(whole_log(carried.url)))
        assert reading.read() is None


def test_pages_are_no_longer_than_wanted(carried: Carried, registry: Registry) -> None:
    fill(registry, 30)
    carried.settled()
    with carried.feed(Badges()) as reading:
        sizes = []
        while len(reading.events) < len(whole_log(carried.url)):
            if page := reading.read(7):
                sizes.append(len(page.events))
    assert max(sizes) <= 7
