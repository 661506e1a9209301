"""The two topics: how they are created, and checked before they are used.

The number of partitions of the log is recorded in PostgreSQL, where the read models keep their positions by
partition: a topic with another number is refused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from registry.domain.events import LogRepartitioned
from registry.event_store.read_model_positions import positions_of, recorded_partitions, set_positions
from registry.failures import Failure
from registry.kafka.clients import connected
from registry.kafka.settings import KafkaSettings
from registry.kafka.transactions import producing
from registry.postgres.connections import Connection, Cursor
from registry.postgres.locks import Lock
from registry.recording import operators

DELETE_SECONDS = 30
KNOWN_SECONDS = 5.0
"""How long a broker may not know of a topic that another broker has created, or that is older than itself."""
log = logging.getLogger("registry.topics")
_UNLIMITED = str(2**63 - 1)
# Timestamps are the log's: a record is accepted whatever the broker's clock says, and kept at any age.
_BOTH = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": _UNLIMITED,
    "message.timestamp.after.max.ms": _UNLIMITED,
    "unclean.leader.election.enable": "false",
}


def settings_of(kafka: KafkaSettings) -> dict[str, dict[str, str]]:
    """The settings that each topic must have."""
    return {
        kafka.events: {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", **_BOTH},
        kafka.statuses: {"cleanup.policy": "compact", **_BOTH},
    }


class TopicError(Failure):
    """A topic is missing or set up wrongly; says what to do."""


class KafkaAwayError(TopicError):
    """No broker answers as it should; a later attempt may succeed."""


@contextmanager
def administering(kafka: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """A client for topics; raises `KafkaAwayError` where no broker answers."""
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
    """The name of an error of the client, without its text, which can hold a record."""
    return type(error).__name__


def make_topics(
    connection: Connection,
    kafka: KafkaSettings,
    partitions: int | None = None,
    *,
    repartition_because: str | None = None,
) -> int:
    """Creates the missing topics, sets them up, and records their number of partitions, which it returns.

    The number is by default the recorded one, or else 1. A number other than the recorded one is refused with
    `TopicError` unless `repartition_because` gives a reason: then both topics are deleted and recreated, the
    relay fills them from the start, and every read model continues from where it is. For that, each read
    model must be at one position on all partitions.
    """
    repartition = repartition_because is not None
    with connection.cursor() as cursor, administering(kafka) as client:
        cursor.execute("BEGIN")
        try:
            cursor.execute("LOCK TABLE stream IN EXCLUSIVE MODE")
            recorded = recorded_partitions(cursor)
            count = partitions or recorded or 1
            _refuse_another(recorded, count, repartition)
            if repartition or recorded != count:
                _divide(cursor, kafka, count)
            if repartition or kafka.events not in client.list_topics():
                # A relay would continue from where it is, in a topic that lacks everything before that.
                _refuse_while_relaying(cursor)
            if repartition:
                _delete(client, kafka)
            if kafka.events in _make(client, kafka, count):
                cursor.execute("UPDATE stream SET relayed = 0")
                _fence(kafka)
            _set(client, kafka)
            _check(client, kafka, count)
            if repartition_because is not None:
                fact = LogRepartitioned(**operators.ORIGIN, partitions=count, reason=repartition_because)
                operators.record_act(cursor, fact)
            cursor.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
        return count


def make_first_topics(connection: Connection, kafka: KafkaSettings) -> None:
    """Creates the topics where none has carried this log yet; a topic that was lost needs an operator."""
    with connection.cursor() as cursor:
        first = recorded_partitions(cursor) is None
    if first:
        make_topics(connection, kafka)


def _refuse_another(recorded: int | None, count: int, repartition: bool) -> None:
    if recorded is not None and recorded != count and not repartition:
        raise TopicError(
            f"the log is divided into {counted(recorded)}; --repartition changes that to {count}:"
            " see docs/runbooks/partitions.md"
        )


def counted(partitions: int) -> str:
    """The number of partitions in words: `1 partition`, `8 partitions`."""
    return f"{partitions} partition{'' if partitions == 1 else 's'}"


def _divide(cursor: Cursor, kafka: KafkaSettings, count: int) -> None:
    """Records the number of partitions, and gives every read model a position on each."""
    cursor.execute("SELECT name FROM read_model ORDER BY name")
    for (name,) in cursor.fetchall():
        at = set(positions_of(cursor, name, lock=True).values())
        if len(at) > 1:
            raise TopicError(
                f"{name} is not at one position on all partitions; stop the consumers and try again"
            )
        set_positions(cursor, name, dict.fromkeys(range(count), at.pop()))
    cursor.execute("DELETE FROM stream")
    cursor.execute("INSERT INTO stream (topic, partitions) VALUES (%s, %s)", (kafka.events, count))


def _refuse_while_relaying(cursor: Cursor) -> None:
    """Refuses while a relay works, and keeps relays from starting until the transaction ends."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (Lock.RELAY,))
    if cursor.fetchone() != (True,):
        raise TopicError("a relay is at work; stop every `registry relay` first")


def _fence(kafka: KafkaSettings) -> None:
    """Keeps a relay that is frozen, and may wake up, from sending anything more."""
    with producing(kafka, kafka.transactional_id) as producer:
        producer.init_transactions()


def _delete(client: KafkaAdminClient, kafka: KafkaSettings) -> None:
    ours = {kafka.events, kafka.statuses}
    existing = set(client.list_topics()) & ours
    if existing:
        client.delete_topics(sorted(existing))
    until = time.monotonic() + DELETE_SECONDS
    while set(client.list_topics()) & ours:
        if time.monotonic() > until:
            raise TopicError("the broker is still deleting the topics; try again")
        time.sleep(0.2)


def check_topics(cursor: Cursor, kafka: KafkaSettings) -> int:
    """Refuses topics that are not as they must be; returns the number of partitions."""
    count = recorded_partitions(cursor)
    if count is None:
        raise TopicError("no topic carries the log yet; start `registry relay`, or run `registry topics`")
    with administering(kafka) as client:
        _check(client, kafka, count)
    return count


def _make(client: KafkaAdminClient, kafka: KafkaSettings, partitions: int) -> set[str]:
    """Creates the missing topics; returns their names."""
    existing = set(client.list_topics())
    if kafka.events in existing and kafka.statuses not in existing:
        raise TopicError(
            f"the topic {kafka.statuses} does not exist; was it deleted?"
            " `registry topics --repartition` recreates both: see docs/runbooks/topic-lost.md"
        )
    brokers = len(client.describe_cluster()["brokers"])
    replicas = min(3, brokers)
    settings = {"min.insync.replicas": str(max(1, replicas - 1))}
    new: dict[str, dict[str, Any]] = {
        name: {
            "num_partitions": partitions,
            "replication_factor": replicas,
            "configs": {**settings, **topic_settings},
        }
        for name, topic_settings in settings_of(kafka).items()
        if name not in existing
    }
    if new:
        client.create_topics(new, wait_for_metadata=True)
    return set(new)


def _check(client: KafkaAdminClient, kafka: KafkaSettings, partitions: int) -> None:
    for name, count in _partition_counts(client, list(settings_of(kafka))).items():
        if not count:
            raise TopicError(
                f"the topic {name} does not exist; was it deleted? See docs/runbooks/topic-lost.md"
            )
        if count != partitions:
            raise TopicError(
                f"the topic {name} has {counted(count)}, but the recorded number is {partitions}"
            )
    for name, key, current, value in _wrong_settings(client, kafka):
        raise TopicError(
            f"the topic {name} has {key}={current}, but it must be {value}: run `registry topics`"
        )


def _wrong_settings(client: KafkaAdminClient, kafka: KafkaSettings) -> list[tuple[str, str, str, str]]:
    """Topic, name, value and right value of each setting that is not as it must be."""
    wanted_settings = settings_of(kafka)
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted_settings]
    actual = client.describe_configs(resources, config_filter="all")["topic"]
    return [
        (name, key, current, value)
        for name, wanted in wanted_settings.items()
        for key, value in wanted.items()
        if (current := actual[name][key]["value"]) != value
    ]


def _set(client: KafkaAdminClient, kafka: KafkaSettings) -> None:
    """Sets what someone has set otherwise."""
    if any(not count for count in _partition_counts(client, list(settings_of(kafka))).values()):
        return
    for name, key, current, value in _wrong_settings(client, kafka):
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs={key: value})])
        log.warning("the topic %s had %s=%s, and has %s now", name, key, current, value)


def _partition_counts(client: KafkaAdminClient, topics: list[str]) -> dict[str, int]:
    """The number of partitions of each topic; 0 for a topic that no broker knows."""
    until = time.monotonic() + KNOWN_SECONDS
    while True:
        described = client.describe_topics(topics)
        counts = dict.fromkeys(topics, 0) | {topic["name"]: len(topic["partitions"]) for topic in described}
        if all(counts.values()) or time.monotonic() > until:
            return counts
        time.sleep(0.1)
