"""Read models fed from Kafka: with exactly-once effect, by as many consumers as wanted."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from consumers import kafka_feed
from consumers.applying import apply_page
from consumers.interventions import NotStoppedError, intervene
from consumers.kafka_feed import KafkaFeed, KafkaSource
from consumers.rebuild import level, rebuild
from consumers.store_feed import LogEnd, StoreFeed
from projections.all import read_models
from projections.badges.projection import Badges
from registry.event_store.read_model_positions import positions_of
from registry.kafka import records
from registry.postgres.connections import Pool
from registry.recording.commands import ReinstateInstitution, RevokeBadge, SuspendBadge, SuspendInstitution
from registry.recording.registry import Registry
from tests.kafka.streaming import PARTITIONS, Streaming
from tests.kafka.topics import EVENTS
from tests.postgres.commands import ORIGIN, award, registry_on
from tests.postgres.log import connection, execute, later, query, until, whole_log
from tests.postgres.projecting import folded, held, positions, projectors, stopped
from tests.postgres.test_poison import REVOKED, insert

BY_KEY = [model.name for model in read_models() if model.order == "by key"]
TOTAL = [model.name for model in read_models() if model.order == "total"]


def fill(registry: Registry, count: int, name: str = "a") -> None:
    for number in range(count):
        badge = award(registry, "27UM", f"{name}{number}", f"learner {number % 11}").id
        if number % 3 == 0:
            registry.record(SuspendBadge("27UM", badge, "appeal", None, ORIGIN))
        if number % 4 == 0:
            registry.record(RevokeBadge("27UM", badge, "fraud", None, None, ORIGIN))
    registry.record(SuspendInstitution("22OJ", "quality", None, ORIGIN))
    registry.record(ReinstateInstitution("22OJ", ORIGIN))


def rebuilt(url: str) -> None:
    """A rebuild from the store compares every row with what the feeds have made, and refuses a difference."""
    for model in read_models():
        said: list[str] = []
        rebuild(url, model, said.append)
        assert any("no difference" in line for line in said), said


def owners(url: str) -> dict[str, set[int]]:
    """Of each read model the positions on its partitions."""
    found: dict[str, set[int]] = {}
    for name, at in query(url, "SELECT name, position FROM read_model_position"):
        found.setdefault(name, set()).add(at)
    return found


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_read_models_fed_by_kafka_are_those_of_the_log(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    with streaming.relaying(), streaming.consuming():
        fill(registry, 40)
        streaming.projected()
        fill(registry, 40, "b")
        streaming.projected()
    last = len(whole_log(streaming.url))
    assert owners(streaming.url) == {model.name: {last} for model in read_models()}
    assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


def test_a_join_that_takes_longer_than_a_poll_is_completed_by_a_later_one(
    streaming: Streaming, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: the client forgot such a join, and the consumer stood still for ever."""
    monkeypatch.setattr(kafka_feed, "POLL_MS", 1)
    streaming.make_topics(8)
    fill(registry, 5)
    with (
        streaming.relaying(),
        connection(streaming.url, "registry_project") as opened,
        opened.cursor() as cursor,
        closing(KafkaSource(streaming.kafka).feed([Badges()], cursor)) as feed,
    ):
        assert isinstance(feed, KafkaFeed)
        until(lambda: bool(feed.read(100)))
        # What new metadata does: they differ from those by which this consumer assigned the partitions.
        feed._consumer._coordinator._assignment_snapshot = {}
        fill(registry, 5, "b")
        until(lambda: bool(feed.read(100)) and not feed._consumer._coordinator.rejoining)


def test_a_partition_without_traffic_holds_nothing_up(streaming: Streaming, registry: Registry) -> None:
    streaming.make_topics(8)
    with streaming.relaying(), streaming.consuming():
        award(registry, "27UM", "the only one", "learner")
        streaming.projected()


def test_several_consumers_share_the_partitions_and_one_takes_over_from_another(
    streaming: Streaming, registry: Registry
) -> None:
    streaming.make_topics(8)
    with streaming.relaying(), streaming.consuming() as first, streaming.consuming():
        fill(registry, 20)
        streaming.projected()
        for projector in first:
            projector.leave()
        fill(registry, 20, "b")
        streaming.projected()
        with streaming.consuming():
            fill(registry, 20, "c")
            streaming.projected()
    assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_a_running_read_model_changes_feeds_and_loses_and_doubles_nothing(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            fill(registry, 5, f"{number}-")
            number += 1

    with streaming.relaying():
        writing = later(write)
        try:
            for _ in range(2):
                with projectors(streaming.url, read_models()):
                    moved(streaming.url)
                with streaming.consuming():
                    moved(streaming.url)
                with streaming.consuming(), projectors(streaming.url, read_models()):
                    moved(streaming.url)
        finally:
            done.set()
            writing.result(20)
        with streaming.consuming():
            streaming.projected()
    assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


def moved(url: str) -> None:
    """Waits until every read model has gone on from where it is."""
    before = positions(url)
    until(lambda: all(at > before[name] for name, at in positions(url).items()))


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_a_rebuild_from_the_store_hands_over_to_kafka(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    with streaming.relaying(), streaming.consuming():
        fill(registry, 20)
        writing = later(lambda: fill(registry, 40, "b"))
        rebuilt(streaming.url)
        writing.result(20)
        streaming.projected()
    assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


def test_more_partitions_are_a_new_topic_that_read_models_go_on_with(
    streaming: Streaming, registry: Registry
) -> None:
    streaming.make_topics(1)
    with streaming.relaying(), streaming.consuming():
        fill(registry, 20)
        streaming.projected("badges")
    before = positions(streaming.url)
    for count in (8, 3):
        for model in read_models():
            level(streaming.url, model)
        streaming.make_topics(count, repartition=True)
        assert all(at >= before[name] for name, at in positions(streaming.url).items())
        with streaming.relaying(), streaming.consuming():
            fill(registry, 20, f"{count}-")
            streaming.projected()
        assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


def test_what_a_restored_store_has_lost_comes_into_no_read_model(
    streaming: Streaming, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    fill(registry, 20)
    with streaming.relaying(), streaming.consuming():
        streaming.projected()
    restored(streaming.url, 10)
    restored_to = len(whole_log(streaming.url))
    with registry_on(streaming.url) as later_on:
        fill(later_on, 20, "after the restore")
    with streaming.consuming():
        until(lambda: "has a different event at position" in caplog.text)
        award(registry, "27UM", "one more", "learner")
        streaming.projected("statistics")
    assert positions(streaming.url)["badges"] == restored_to
    with projectors(streaming.url, read_models()):
        streaming.projected()
    assert held(streaming.url) == folded(streaming.url)


def restored(url: str, last: int) -> None:
    """As from a backup made when the log ended there: read models and all."""
    execute(
        url,
        "ALTER TABLE event DISABLE TRIGGER USER;"
        f"DELETE FROM event WHERE position > {last};"
        "ALTER TABLE event ENABLE TRIGGER USER;"
        f"DELETE FROM vault WHERE position > {last};"
        "DELETE FROM alias a WHERE NOT EXISTS (SELECT FROM vault v WHERE v.learner_id = a.learner_id);"
        "UPDATE read_model_position SET position = 0",
    )
    for model in read_models():
        rebuild(url, model, lambda _: None, force_because="a test")
    with connection(url, "registry_project") as opened, opened.cursor() as cursor:
        for model in read_models():
            pool = Pool(url, "registry_project", 1)
            feed = StoreFeed(LogEnd(pool), positions_of(cursor, model.name))
            while page := feed.read(100):
                apply_page(cursor, model, page)
            pool.close()


def test_read_models_go_on_when_the_log_is_divided_while_they_are_at_work(
    streaming: Streaming, registry: Registry
) -> None:
    """First while they follow the store, then while they are fed from Kafka."""
    fill(registry, 5)
    with projectors(streaming.url, read_models()):
        streaming.projected()
        streaming.make_topics(8)
        fill(registry, 5, "b")
        streaming.projected()
    assert positions_by_partition(streaming.url) == {model.name: 8 for model in read_models()}
    with streaming.consuming():
        with streaming.relaying():
            fill(registry, 5, "c")
            streaming.projected()
        streaming.make_topics(3, repartition=True)
        with streaming.relaying():
            fill(registry, 5, "d")
            streaming.projected()
    assert positions_by_partition(streaming.url) == {model.name: 3 for model in read_models()}
    assert held(streaming.url) == folded(streaming.url)
    rebuilt(streaming.url)


def test_a_consumer_that_hears_nothing_notices_that_the_log_was_divided_anew(
    streaming: Streaming, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    streaming.make_topics(8)
    with streaming.consuming():
        with streaming.relaying():
            fill(registry, 5)
            streaming.projected()
        execute(streaming.url, "UPDATE stream SET partitions = 3")
        until(lambda: "the log has 3 partitions now, and had 8" in caplog.text)


def positions_by_partition(url: str) -> dict[str, int]:
    """On how many partitions each read model has a position."""
    return dict(query(url, "SELECT name, count(*) FROM read_model_position GROUP BY name"))


# What stops a read model, and what an operator does then.


def test_a_record_that_is_not_the_relays_stops_the_read_models(
    streaming: Streaming, registry: Registry
) -> None:
    streaming.relay_all()
    with streaming.consuming():
        streaming.projected()
        streaming.topics.send(EVENTS, b"what somebody else had to say")
        until(lambda: set(stopped(streaming.url)) == set(BY_KEY))
    for _, because in stopped(streaming.url).values():
        assert because.startswith("gap: partition 0 has at offset")


def test_a_word_to_skip_is_heard_by_every_consumer(streaming: Streaming, registry: Registry) -> None:
    streaming.make_topics(8)
    poison = insert(streaming.url, "badge.revoked", 1, REVOKED)
    fill(registry, 20)
    with streaming.relaying(), streaming.consuming(), streaming.consuming():
        until(lambda: "badges" in stopped(streaming.url))
        with connection(streaming.url) as owner:
            intervene(owner, "badges", "skip", poison, "recorded by a fault, see #12")
        streaming.projected(*BY_KEY)


def test_a_record_that_is_withheld_stops_the_read_model_and_the_store_mends_it(
    streaming: Streaming, registry: Registry
) -> None:
    """As by a broker that lost it: the record after it says what came before."""
    streaming.make_topics(1)
    fill(registry, 3)
    log = whole_log(streaming.url)
    with streaming.topics.producer("somebody") as producer:
        producer.begin_transaction()
        for event in log:
            if event.position != 7:
                headers = records.event_headers(event, event.position - 1)
                producer.send(
                    EVENTS, event.data, event.key.encode(), headers, 0, records.milliseconds(event.time)
                )
        producer.commit_transaction()
    with streaming.consuming():
        until(lambda: set(stopped(streaming.url)) == set(BY_KEY))
    for at, because in stopped(streaming.url).values():
        assert (at, because) == (8, "gap: on partition 0 the event follows 7, but the read model is at 6")
    assert positions(streaming.url) == dict.fromkeys(TOTAL, len(log)) | dict.fromkeys(BY_KEY, 6)
    with connection(streaming.url) as owner, pytest.raises(NotStoppedError, match="cannot be skipped"):
        intervene(owner, "badges", "skip", 8, "no")
    with projectors(streaming.url, read_models()):
        streaming.projected()
    assert stopped(streaming.url) == {}
    assert held(streaming.url) == folded(streaming.url)


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_a_poison_event_stops_its_read_models_until_an_operator_has_it_skipped(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    poison = insert(streaming.url, "badge.revoked", 1, REVOKED)
    award(registry, "27UM", "after", "b")
    with streaming.relaying(), streaming.consuming():
        streaming.projected("catalogue")
        until(lambda: set(stopped(streaming.url)) == {"badges", "statistics"})
        for at, because in stopped(streaming.url).values():
            assert at == poison
            assert "was never awarded" in because
        with connection(streaming.url) as owner:
            with pytest.raises(NotStoppedError, match=f"badges has stopped at {poison}, not at 1"):
                intervene(owner, "badges", "skip", 1, "a typing error")
            with pytest.raises(NotStoppedError, match="catalogue is not stopped"):
                intervene(owner, "catalogue", "retry", None, "no reason")
            assert intervene(owner, "badges", "skip", poison, "recorded by a fault, see #12") == poison
            until(lambda: set(stopped(streaming.url)) == {"statistics"})
            intervene(owner, "statistics", "skip", poison, "recorded by a fault, see #12")
        streaming.projected()
    assert query(streaming.url, "SELECT name, position, action FROM intervention ORDER BY id") == [
        ("badges", poison, "skip"),
        ("statistics", poison, "skip"),
    ]
    rebuilt(streaming.url)


def test_a_read_model_that_was_mended_goes_on_when_it_is_told_to_try_again(
    streaming: Streaming, registry: Registry
) -> None:
    class Faulty(Badges):
        mended = False

        def apply(self, cursor, events):  # type: ignore[no-untyped-def]
            if not Faulty.mended:
                raise ValueError("a fault of this release")
            super().apply(cursor, events)

    fill(registry, 3)
    with streaming.relaying(), streaming.consuming([Faulty()]):
        until(lambda: "badges" in stopped(streaming.url))
        Faulty.mended = True
        with connection(streaming.url) as owner:
            intervene(owner, "badges", "retry", None, "the fault is mended")
        streaming.projected("badges")
    assert stopped(streaming.url) == {}
