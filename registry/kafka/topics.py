"""The two topics: how they are made, and checked before anyone uses them.

Into how many partitions the log is divided is recorded in PostgreSQL, where the read models keep their
positions by partition: a topic with another number is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from registry.event_store.read_model_positions import positions_of, recorded_partitions, set_positions
from registry.kafka.clients import connected
from registry.kafka.records import EVENTS, STATUSES, TRANSACTIONAL_ID
from registry.kafka.settings import KafkaSettings
from registry.kafka.transactions import producing
from registry.postgres.connections import Connection, Cursor
from registry.postgres.locks import Lock

DELETE_SECONDS = 30
KNOWN_SECONDS = 5.0
"""So long a broker may not know yet of a topic that another has made, or that was there before it started."""
_ALWAYS = str(2**63 - 1)
# Timestamps are the log's: a record is kept however old it is, and taken whatever the broker's clock says.
_BOTH = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": _ALWAYS,
    "message.timestamp.after.max.ms": _ALWAYS,
    "unclean.leader.election.enable": "false",
}
SETTINGS = {
    EVENTS: {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", **_BOTH},
    STATUSES: {"cleanup.policy": "compact", **_BOTH},
}


class TopicError(Exception):
    """A topic is not there, or not as it must be; says what to do."""


class KafkaAwayError(TopicError):
    """No broker answers, or not in the way that it should: later it may."""


@contextmanager
def administering(kafka: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """A client for topics; brokers that do not answer are a `KafkaAwayError`."""
    try:
        client = connected(KafkaAdminClient, **kafka.client())
    except KafkaError as error:
        raise KafkaAwayError(
            f"Kafka at {kafka.bootstrap_servers} cannot be reached ({error_name(error)})"
        ) from error
    try:
        yield client
    except KafkaError as error:
        kind = KafkaAwayError if error.retriable else TopicError
        raise kind(f"Kafka refused ({error_name(error)})") from error
    finally:
        client.close()


def error_name(error: BaseException) -> str:
    """What is said of an error of the client's: its text can hold a record."""
    return type(error).__name__


def make_topics(
    connection: Connection, kafka: KafkaSettings, partitions: int | None = None, *, repartition: bool = False
) -> int:
    """Makes the topics that are not there and records their number of partitions, which it answers.

    Without a number it is the one recorded, or 1. Another one is refused with `TopicError` unless
    `repartition` is set: then both topics are deleted and made anew, for the relay to fill from the start,
    and every read model goes on from where it is; they must all be level (see `StoreFeed`).
    """
    with connection.cursor() as cursor, administering(kafka) as client:
        cursor.execute("BEGIN")
        try:
            cursor.execute("LOCK TABLE stream IN EXCLUSIVE MODE")
            recorded = recorded_partitions(cursor)
            count = partitions or recorded or 1
            _refuse_another(recorded, count, repartition)
            if repartition or recorded != count:
                _divide(cursor, count)
            if repartition or EVENTS not in client.list_topics():
                # It would go on from where it is, into a topic that lacks all that lies before.
                _refuse_while_relaying(cursor)
            if repartition:
                _delete(client)
            if EVENTS in _make(client, count):
                cursor.execute("UPDATE stream SET relayed = 0")
                _fence(kafka)
            _check(client, count)
            cursor.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
        return count


def make_first_topics(connection: Connection, kafka: KafkaSettings) -> None:
    """Makes the topics where none has carried this log yet; one that was lost is for an operator to see."""
    with connection.cursor() as cursor:
        first = recorded_partitions(cursor) is None
    if first:
        make_topics(connection, kafka)


def _refuse_another(recorded: int | None, count: int, repartition: bool) -> None:
    if recorded not in {None, count} and not repartition:
        raise TopicError(
            f"the log is divided into {recorded} partitions; --repartition makes it {count}:"
            " see docs/runbooks/partitions.md"
        )


def _divide(cursor: Cursor, count: int) -> None:
    """Records the number of partitions, and gives every read model a position on each."""
    cursor.execute("SELECT name FROM read_model ORDER BY name")
    for (name,) in cursor.fetchall():
        at = set(positions_of(cursor, name, lock=True).values())
        if len(at) > 1:
            raise TopicError(f"{name} is not level; stop the consumers and try again")
        set_positions(cursor, name, dict.fromkeys(range(count), at.pop()))
    cursor.execute("DELETE FROM stream")
    cursor.execute("INSERT INTO stream (topic, partitions) VALUES (%s, %s)", (EVENTS, count))


def _refuse_while_relaying(cursor: Cursor) -> None:
    """Nor does one begin before the transaction ends."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (Lock.RELAY,))
    if cursor.fetchone() != (True,):
        raise TopicError("a relay is at work; stop every `registry relay` first")


def _fence(kafka: KafkaSettings) -> None:
    """A relay that was frozen since before may wake: it sends nothing any more."""
    with producing(kafka, TRANSACTIONAL_ID) as producer:
        producer.init_transactions()


def _delete(client: KafkaAdminClient) -> None:
    there = set(client.list_topics()) & set(SETTINGS)
    if there:
        client.delete_topics(sorted(there))
    until = time.monotonic() + DELETE_SECONDS
    while set(client.list_topics()) & set(SETTINGS):
        if time.monotonic() > until:
            raise TopicError("the broker has not deleted the topics yet; try again")
        time.sleep(0.2)


def check_topics(cursor: Cursor, kafka: KafkaSettings) -> int:
    """Refuses topics that are not as they must be; answers the number of partitions."""
    count = recorded_partitions(cursor)
    if count is None:
        raise TopicError("no topic carries the log yet; start `registry relay`, or run `registry topics`")
    with administering(kafka) as client:
        _check(client, count)
    return count


def _make(client: KafkaAdminClient, partitions: int) -> set[str]:
    """Makes the topics that are not there; answers their names."""
    there = set(client.list_topics())
    if EVENTS in there and STATUSES not in there:
        raise TopicError(
            f"the topic {STATUSES} is not there; was it deleted? `registry topics --repartition` fills both"
            " anew: see docs/runbooks/topic-lost.md"
        )
    brokers = len(client.describe_cluster()["brokers"])
    replicas = min(3, brokers)
    settings = {"min.insync.replicas": str(max(1, replicas - 1))}
    new: dict[str, dict[str, Any]] = {
        name: {
            "num_partitions": partitions,
            "replication_factor": replicas,
            "configs": {**settings, **each},
        }
        for name, each in SETTINGS.items()
        if name not in there
    }
    if new:
        client.create_topics(new, wait_for_metadata=True)
    return set(new)


def _check(client: KafkaAdminClient, partitions: int) -> None:
    for name, count in _counted(client).items():
        if not count:
            raise TopicError(
                f"the topic {name} is not there; was it deleted? See docs/runbooks/topic-lost.md"
            )
        if count != partitions:
            raise TopicError(f"the topic {name} has {count} partitions, and {partitions} are recorded")
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in SETTINGS]
    found = client.describe_configs(resources, config_filter="all")["topic"]
    for name, wanted in SETTINGS.items():
        for key, value in wanted.items():
            if (has := found[name][key]["value"]) != value:
                raise TopicError(f"the topic {name} has {key}={has}; set it to {value}")


def _counted(client: KafkaAdminClient) -> dict[str, int]:
    """The number of partitions of each topic; 0 for one that no broker knows of."""
    until = time.monotonic() + KNOWN_SECONDS
    while True:
        described = client.describe_topics(list(SETTINGS))
        found = dict.fromkeys(SETTINGS, 0) | {each["name"]: len(each["partitions"]) for each in described}
        if all(found.values()) or time.monotonic() > until:
            return found
        time.sleep(0.1)
