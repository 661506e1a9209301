"""The relay: the topic holds the log, each event once and in order, whatever happens to relays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import ProducerFencedError

from registry.domain.values import iso_time
from registry.event_store.log import SOURCE, LoggedEvent
from registry.kafka.records import PROGRESS, event_headers
from registry.kafka.relay import STAND_BY_SECONDS, Relay
from registry.kafka.topic_ends import HistoryError, event_tails
from registry.kafka.topics import TopicError, check_topics
from registry.postgres.locks import Lock
from registry.recording.commands import ReinstateBadge, RevokeBadge, SuspendBadge
from registry.recording.registry import Registry
from tests.kafka.streaming import PARTITIONS, Streaming
from tests.kafka.topics import EVENTS, STATUSES, TRANSACTIONAL_ID
from tests.postgres.commands import LEARNER_NAME, ORIGIN, award, registry_on
from tests.postgres.log import connection, execute, query, until, whole_log


def awards(registry: Registry, count: int, name: str = "a") -> list[str]:
    return [award(registry, "27UM", f"{name}{each}", f"learner {each % 5}").id for each in range(count)]


def check_topic(streaming: Streaming, partitions: int) -> None:
    """The topic is the log: its bytes, its keys and its order, and each record names the one before it."""
    carried, events = streaming.carried(partitions), {}
    for partition, carried_records in carried.items():
        last = reached = 0
        for headers, value, key in carried_records:
            names = dict(headers)
            position, previous = int(names["ce_position"]), int(names["ce_previous"])
            assert previous == last
            assert position >= reached
            reached = position
            if names["ce_type"] == PROGRESS.encode():
                assert value is None
                assert previous <= position
            else:
                assert position > last
                last, events[position] = position, (partition, headers, value, key)
    log = whole_log(streaming.url)
    assert sorted(events) == [event.position for event in log]
    for event in log:
        partition, headers, value, key = events[event.position]
        assert value == event.data
        assert key == event.key.encode()
        assert partition == event.partition(partitions)
        assert headers == [(name, text.encode()) for name, text in attributes(event).items()] + headers[-1:]
    tails = event_tails(streaming.kafka, partitions)
    assert {(tail.position, tail.is_marker) for tail in tails} == {(len(log), True)}


def attributes(event: LoggedEvent) -> dict[str, str]:
    """The headers of the stream and of CloudEvents' binding, but `ce_previous`."""
    return {
        "ce_specversion": "1.0",
        "content-type": "application/json",
        "ce_id": event.id,
        "ce_source": SOURCE,
        "ce_type": event.type,
        "ce_subject": event.subject,
        "ce_time": iso_time(event.time),
        "ce_dataschema": event.dataschema,
        "ce_position": str(event.position),
    }


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_the_topic_holds_each_event_once_in_order_byte_for_byte(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    with streaming.relaying():
        for number in range(5):
            awards(registry, 10, f"{number}-")
            streaming.settled()
    check_topic(streaming, partitions)


def test_a_learners_badges_share_a_partition(streaming: Streaming, registry: Registry) -> None:
    streaming.make_topics(8)
    for badge in awards(registry, 20):
        registry.record(RevokeBadge("27UM", badge, "fraud", None, None, ORIGIN))
    streaming.relay_all()
    of_learner: dict[str, set[int]] = {}
    for partition, carried_records in streaming.carried(8).items():
        for headers, value, _ in carried_records:
            if dict(headers)["ce_type"].startswith(b"badge."):
                of_learner.setdefault(json.loads(value or b"")["learnerId"], set()).add(partition)
    assert len(of_learner) == 5
    assert all(len(found) == 1 for found in of_learner.values())


def test_nothing_private_is_on_the_topics(streaming: Streaming, registry: Registry) -> None:
    badge = award(registry, "27UM", "geheim-verwijzing", "geheim-eduid").id
    registry.record(RevokeBadge("27UM", badge, "other", None, "geheim-notitie", ORIGIN))
    streaming.relay_all()
    for topic in (EVENTS, STATUSES):
        for record in streaming.topics.records(topic):
            whole = b"".join([record.key, record.value or b"", *(value for _, value in record.headers)])
            assert b"geheim" not in whole
            assert LEARNER_NAME.encode() not in whole


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_a_relay_that_starts_again_goes_on_where_the_topic_ends(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    for number in range(3):
        awards(registry, 7, f"{number}-")
        streaming.relay_all()
        streaming.relay_all()
    assert [said.partition(",")[0] for said in streaming.said[::2]] == [
        "relaying from position 0",
        "relaying from position 11",
        "relaying from position 18",
    ]
    check_topic(streaming, partitions)


def test_of_two_relays_one_works_and_the_other_takes_over(streaming: Streaming, registry: Registry) -> None:
    with streaming.relaying() as first:
        until(lambda: len(streaming.said) == 1)
        with streaming.relaying():
            awards(registry, 5)
            streaming.settled()
            first.leave()
            awards(registry, 5, "b")
            until(lambda: len(streaming.said) == 2)
            streaming.settled()
    check_topic(streaming, 1)


def test_a_relay_that_stands_by_keeps_its_connection_and_takes_over(
    streaming: Streaming, registry: Registry
) -> None:
    def sessions() -> set[tuple[int, ...]]:
        rows = query(
            streaming.url,
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'registry_project' AND position('try_advisory' IN query) > 0",
        )
        return set(rows)

    streaming.make_topics(1)
    awards(registry, 5)
    with connection(streaming.url) as holding, holding.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.RELAY,))
        with streaming.relaying() as relay:
            until(lambda: len(sessions()) == 1)
            turned, seen = relay.turned, sessions()

            def has_stood_by() -> bool:
                seen.update(sessions())
                return relay.turned > turned + 3 * STAND_BY_SECONDS

            until(has_stood_by)
            assert len(seen) == 1
            assert sessions() == seen
            assert streaming.said == []
            cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.RELAY,))
            streaming.settled()
    check_topic(streaming, 1)


def begun(streaming: Streaming, transactional_id: str = TRANSACTIONAL_ID) -> KafkaProducer:
    """A producer as the relay's, in the middle of a transaction."""
    producer = KafkaProducer(
        bootstrap_servers=streaming.kafka.bootstrap_servers,
        transactional_id=transactional_id,
        enable_idempotence=True,
        acks="all",
    )
    producer.init_transactions()
    producer.begin_transaction()
    log = whole_log(streaming.url)
    for event in log[-3:]:
        producer.send(EVENTS, event.data, b"k", event_headers(event, 0), 0).get(10)
    return producer


def test_what_a_relay_had_not_committed_is_never_read(streaming: Streaming, registry: Registry) -> None:
    streaming.relay_all()
    awards(registry, 5)
    broken = begun(streaming)
    with streaming.relaying():
        streaming.settled()
        with pytest.raises(ProducerFencedError):
            broken.commit_transaction()
    broken.close(timeout=0)
    check_topic(streaming, 1)


def test_a_relay_whose_session_was_ended_is_fenced_and_begins_again(
    streaming: Streaming, registry: Registry
) -> None:
    """As one that was frozen, for longer than PostgreSQL waits, and wakes."""
    with streaming.relaying(), streaming.relaying():
        for number in range(4):
            awards(registry, 5, f"{number}-")
            execute(
                streaming.url,
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND objid = %s AND granted",
                (Lock.RELAY,),
            )
            streaming.settled()
    check_topic(streaming, 1)


def test_the_end_is_found_behind_many_records_that_nobody_is_to_read(
    streaming: Streaming, registry: Registry
) -> None:
    streaming.relay_all()
    awards(registry, 3)
    for _ in range(40):
        broken = begun(streaming)
        broken.abort_transaction()
        broken.close(timeout=5)
    streaming.relay_all()
    check_topic(streaming, 1)


# What a relay refuses, before it sends anything.


def refused(streaming: Streaming) -> str:
    # A transaction that was just committed may not be seen yet.
    until(lambda: bool(streaming.topics.records(EVENTS)))
    before = streaming.topics.records(EVENTS, range(1))
    with pytest.raises(HistoryError) as refusal:
        Relay(streaming.url, streaming.kafka, streaming.said.append).run()
    assert len(streaming.topics.records(EVENTS, range(1))) == len(before)
    return str(refusal.value)


def forget(url: str, count: int) -> None:
    """Takes the last events back, as a restore of an older backup does."""
    execute(
        url,
        "ALTER TABLE event DISABLE TRIGGER USER;"
        f"DELETE FROM event WHERE position > (SELECT max(position) - {count} FROM event);"
        "ALTER TABLE event ENABLE TRIGGER USER;"
        "DELETE FROM vault WHERE position > (SELECT max(position) FROM event)",
    )


def test_a_topic_that_is_ahead_of_the_store_is_refused(streaming: Streaming, registry: Registry) -> None:
    awards(registry, 10)
    streaming.relay_all()
    forget(streaming.url, 4)
    assert "holds events through position 14, and the log ends at 10" in refused(streaming)


def test_a_topic_with_other_events_than_the_store_is_refused(
    streaming: Streaming, registry: Registry
) -> None:
    awards(registry, 10)
    streaming.relay_all()
    forget(streaming.url, 4)
    registry.close()
    with registry_on(streaming.url) as restored:
        awards(restored, 9, "after the restore")
    assert "has a different event at position 14 than the log" in refused(streaming)


def test_a_topic_whose_tails_disagree_is_refused(streaming: Streaming, registry: Registry) -> None:
    streaming.make_topics(8)
    awards(registry, 10)
    streaming.relay_all()
    other = begun(streaming, "somebody else")
    other.commit_transaction()
    other.close(timeout=5)
    assert "tails of registry.events.v1 disagree (partition 0 at" in refused(streaming)


def refused_topics(streaming: Streaming) -> str:
    with pytest.raises(TopicError) as refusal:
        Relay(streaming.url, streaming.kafka, streaming.said.append).run()
    return str(refusal.value)


def test_no_topic_is_made_anew_under_a_relay_that_would_go_on_in_its_middle(
    streaming: Streaming, registry: Registry
) -> None:
    awards(registry, 3)
    with streaming.relaying():
        streaming.settled()
        streaming.delete_topics()
        with pytest.raises(TopicError, match="a relay is at work"):
            streaming.make_topics(1)
    streaming.make_topics(1)
    streaming.relay_all()
    check_topic(streaming, 1)


def test_a_topic_that_was_deleted_is_refused_and_filled_again_when_told(
    streaming: Streaming, registry: Registry
) -> None:
    awards(registry, 10)
    streaming.relay_all()
    streaming.delete_topics()
    assert "does not exist; was it deleted?" in refused_topics(streaming)
    streaming.make_topics(1)
    streaming.relay_all()
    check_topic(streaming, 1)


def test_a_topic_with_another_number_of_partitions_is_refused(
    streaming: Streaming, registry: Registry
) -> None:
    streaming.make_topics(1)
    streaming.delete_topics()
    with KafkaAdminClient(bootstrap_servers=streaming.kafka.bootstrap_servers) as client:
        client.create_topics(
            {name: {"num_partitions": 3, "replication_factor": 1} for name in (EVENTS, STATUSES)},
            wait_for_metadata=True,
        )
    assert "has 3 partitions, but the recorded number is 1" in refused_topics(streaming)


def test_a_topic_that_forgets_is_refused(streaming: Streaming, registry: Registry) -> None:
    streaming.make_topics(1)
    with KafkaAdminClient(bootstrap_servers=streaming.kafka.bootstrap_servers) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, {"retention.ms": "1000"})])
        until(lambda: bool(_refusal(streaming)))
    assert "retention.ms=1000, but it must be -1: run `registry topics`" in refused_topics(streaming)
    streaming.make_topics(1)  # as the command does
    until(lambda: not _refusal(streaming))


def _refusal(streaming: Streaming) -> str:
    with connection(streaming.url) as opened, opened.cursor() as cursor:
        try:
            check_topics(cursor, streaming.kafka)
        except TopicError as error:
            return str(error)
    return ""


def test_a_broker_that_cannot_be_reached_is_said(url: str) -> None:
    streaming = Streaming(url, "127.0.0.1:1")
    with pytest.raises(TopicError, match=r"127\.0\.0\.1:1 cannot be reached"):
        streaming.make_topics(1)


# The statuses.


def statuses(streaming: Streaming, partitions: int = 1) -> dict[str, dict[str, Any]]:
    """The last of each badge."""
    records = streaming.topics.records(STATUSES, range(partitions))
    return {record.key.decode(): json.loads(record.value) for record in records}


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_the_latest_status_of_each_badge_is_on_a_topic_of_its_own(
    streaming: Streaming, registry: Registry, partitions: int
) -> None:
    streaming.make_topics(partitions)
    active, suspended, revoked, again = awards(registry, 4)
    registry.record(SuspendBadge("27UM", suspended, "appeal", None, ORIGIN))
    with streaming.relaying():
        streaming.settled()
        registry.record(RevokeBadge("27UM", revoked, "fraud", None, None, ORIGIN))
        streaming.settled()
        registry.record(SuspendBadge("27UM", again, "appeal", None, ORIGIN))
        registry.record(ReinstateBadge("27UM", again, ORIGIN))
        streaming.settled()
    found = statuses(streaming, partitions)
    assert {badge: each["status"] for badge, each in found.items()} == {
        active: "active",
        suspended: "suspended",
        revoked: "revoked",
        again: "active",
    }
    last = whole_log(streaming.url)[-1]
    assert found[again] == {
        "id": again,
        "status": "active",
        "since": iso_time(last.time),
        "institution": "27UM",
        "position": last.position,
    }


def test_a_topic_of_statuses_alone_is_not_made_anew_without_what_it_held(
    streaming: Streaming, registry: Registry
) -> None:
    (badge,) = awards(registry, 1)
    streaming.relay_all()
    with KafkaAdminClient(bootstrap_servers=streaming.kafka.bootstrap_servers) as client:
        client.delete_topics([STATUSES])
        until(lambda: STATUSES not in client.list_topics())
    with pytest.raises(TopicError, match="`registry topics --repartition` recreates both"):
        streaming.make_topics(1)
    streaming.make_topics(1, repartition=True)
    streaming.relay_all()
    assert list(statuses(streaming)) == [badge]


def test_a_refilled_topic_takes_no_status_back(streaming: Streaming, registry: Registry) -> None:
    (badge,) = awards(registry, 1)
    streaming.relay_all()
    registry.record(RevokeBadge("27UM", badge, "fraud", None, None, ORIGIN))
    streaming.relay_all()
    with KafkaAdminClient(bootstrap_servers=streaming.kafka.bootstrap_servers) as client:
        client.delete_topics([EVENTS])
        until(lambda: EVENTS not in client.list_topics())
    streaming.make_topics(1)
    streaming.relay_all()
    records = streaming.topics.records(STATUSES)
    assert [json.loads(record.value)["status"] for record in records] == ["active", "revoked"]
    check_topic(streaming, 1)
