"""The broker of deploy/compose.yaml: only the relay writes to it, and only consumers read beside it.

The broker is a real one with the very settings of that file, but for its addresses and folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import KafkaError

from deploy.kafka import cluster
from deploy.kafka.broker import Broker
from registry.kafka.rights import give_rights
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import TopicError, administering, make_topics
from registry.kafka.transactions import producing
from registry.recording.registry import Registry
from tests.end_to_end.processes import PROJECT
from tests.kafka.conftest import ended
from tests.kafka.streaming import Streaming
from tests.kafka.topics import EVENTS, STATUSES, TRANSACTIONAL_ID
from tests.postgres.commands import admitted, award, registry_on
from tests.postgres.log import connection
from tests.postgres.projecting import folded, held

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text())["services"]
# Not for Kafka's configuration file, or about the place of the data.
LEFT_OUT = {"CLUSTER_ID", "KAFKA_HEAP_OPTS", "KAFKA_LOG_DIRS"}
PASSWORD = "geheim van {}"


def password_of(variable: str) -> str:
    return PASSWORD.format(variable.removeprefix("KAFKA_").removesuffix("_PASSWORD").lower())


def with_passwords(text: object) -> str:
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: password_of(found[1]), str(text))


def properties(clients_port: int) -> str:
    """The settings of the compose file as a file of the test's broker, with one more listener.

    The helpers that start a broker ask through it whether it answers; nobody has rights there.
    """
    lines = ["log.dirs=data"]
    for name, value in COMPOSE["kafka"]["environment"].items():
        if name not in LEFT_OUT:
            key = name.removeprefix("KAFKA_").lower().replace("__", "\0").replace("_", ".").replace("\0", "_")
            lines.append(f"{key}={with_passwords(value)}")
    text = "\n".join(lines) + "\n"
    for ours, theirs in (
        ("CLIENTS://:9092", f"CLIENTS://127.0.0.1:{clients_port},PLAINTEXT://{{host}}:{{port}}"),
        ("CLIENTS://kafka:9092", f"CLIENTS://127.0.0.1:{clients_port},PLAINTEXT://{{host}}:{{port}}"),
        ("127.0.0.1:9093", "127.0.0.1:{controller_port}"),
        ("CLIENTS:SASL_PLAINTEXT", "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    return text


def settings_of(service: str, servers: str) -> KafkaSettings:
    """How a service of the compose file reaches its broker."""
    given = COMPOSE[service]["environment"]
    return KafkaSettings(
        servers,
        given["REGISTRY_KAFKA_SECURITY_PROTOCOL"],
        mechanism=given["REGISTRY_KAFKA_SECURITY_MECHANISM"],
        username=given["REGISTRY_KAFKA_SECURITY_USERNAME"],
        password=with_passwords(given["REGISTRY_KAFKA_SECURITY_PASSWORD"]),
    )


class Guarded:
    """The broker, and how each service of the compose file reaches it."""

    def __init__(self, plain: str, servers: str) -> None:
        self.nobody = KafkaSettings(plain)
        self.topics, self.relay, self.consume = (
            settings_of(service, servers) for service in ("topics", "relay", "consume")
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    broker, (port,) = Broker(tmp_path_factory.mktemp("guarded")), cluster._free_ports(1)
    for _ in ended(broker):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(cluster, "PROPERTIES", properties(port))
            broker.start()
        yield Guarded(broker.bootstrap_servers, f"127.0.0.1:{port}")


def carry(url: str, topics: KafkaSettings) -> None:
    """Topics, as the service `topics` of the compose file leaves them, and a few awards in the log."""
    words = COMPOSE["topics"]["command"]
    users = [words[words.index(option) + 1] for option in ("--relay-user", "--consumer-user")]
    with connection(url) as owner:
        make_topics(owner, topics, 2)
    give_rights(topics, *users)
    with registry_on(url) as registry:
        admitted(registry, "27UM")
        for number in range(5):
            award(registry, "27UM", str(number), f"learner {number}")


@pytest.fixture
def carried(url: str, guarded: Guarded) -> None:
    Streaming(url, "", guarded.topics).delete_topics()
    carry(url, guarded.topics)


@pytest.mark.usefixtures("carried")
def test_the_log_reaches_the_read_models_with_the_rights_of_relay_and_consumer(
    url: str, guarded: Guarded
) -> None:
    relaying = Streaming(url, "", guarded.relay)
    consuming = Streaming(url, "", guarded.consume)
    with relaying.relaying(), consuming.consuming():
        relaying.settled()
        consuming.projected()
    assert held(url) == folded(url)


def names_of_rules(kafka: KafkaSettings) -> set[str]:
    """The names on which the broker has rules."""
    any_name = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    with administering(kafka) as client:
        rules, _ = client.describe_acls(
            ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, any_name)
        )
    return {rule.resource_pattern.resource_name for rule in rules}


def test_under_a_prefix_rights_are_on_the_names_of_that_prefix_alone(
    url: str, guarded: Guarded, registry: Registry
) -> None:
    """On a cluster that two registries share, neither's relay may write to the topics of the other."""
    topics, relay, consume = (
        replace(kafka, prefix="acceptance.registry")
        for kafka in (guarded.topics, guarded.relay, guarded.consume)
    )
    with connection(url) as owner:
        make_topics(owner, topics, 2)
    before = names_of_rules(topics)
    give_rights(topics, "relay", "consumer")
    names = {topics.events, topics.statuses, topics.transactional_id, topics.group}
    assert names_of_rules(topics) - before == names
    award(registry, "27UM", "1", "learner")
    relaying, consuming = (Streaming(url, "", kafka) for kafka in (relay, consume))
    with relaying.relaying(), consuming.consuming():
        consuming.projected()
    assert held(url) == folded(url)


def write(kafka: KafkaSettings, topic: str) -> None:
    with closing(KafkaProducer(**kafka.client(), max_block_ms=10_000)) as producer:
        producer.send(topic, b"forged", partition=0).get(30)


def write_as_the_relay(kafka: KafkaSettings, topic: str) -> None:
    with producing(kafka, TRANSACTIONAL_ID) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"forged", partition=0).get(30)


def delete(kafka: KafkaSettings, topic: str) -> None:
    with administering(kafka) as client:
        client.delete_topics([topic])


def create(kafka: KafkaSettings, topic: str) -> None:
    with administering(kafka) as client:
        client.create_topics({f"{topic}.more": {"num_partitions": 1, "replication_factor": 1}})


def rule(kafka: KafkaSettings, topic: str) -> None:
    give_rights(kafka, "consumer", "consumer")


CHANGES = (write, write_as_the_relay, delete, create, rule)


def ends(guarded: Guarded) -> dict[TopicPartition, int]:
    partitions = [TopicPartition(topic, number) for topic in (EVENTS, STATUSES) for number in range(2)]
    with closing(KafkaConsumer(**guarded.topics.client())) as consumer:
        found: dict[TopicPartition, int] = consumer.end_offsets(partitions)
        return found


@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize("topic", [EVENTS, STATUSES])
@pytest.mark.parametrize("work", CHANGES, ids=lambda work: work.__name__)
@pytest.mark.parametrize("who", ["consume", "nobody"])
def test_consumers_and_who_has_no_name_change_nothing(
    guarded: Guarded, who: str, work: Callable[[KafkaSettings, str], None], topic: str
) -> None:
    before = ends(guarded)
    with pytest.raises((KafkaError, TopicError)) as refusal:
        work(getattr(guarded, who), topic)
    assert "Authorization" in f"{refusal.type.__name__} {refusal.value}", refusal.value
    assert ends(guarded) == before


@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize("work", [delete, create, rule], ids=lambda work: work.__name__)
def test_a_relay_neither_makes_nor_deletes_topics_nor_gives_rights(
    guarded: Guarded, work: Callable[[KafkaSettings, str], None]
) -> None:
    with pytest.raises(TopicError, match="Authorization"):
        work(guarded.relay, EVENTS)


@pytest.mark.usefixtures("carried")
def test_who_has_no_name_does_not_even_see_the_topics(guarded: Guarded) -> None:
    def seen(kafka: KafkaSettings) -> set[str]:
        with administering(kafka) as client:
            return set(client.list_topics()) & {EVENTS, STATUSES}

    assert seen(guarded.consume) == {EVENTS, STATUSES}
    assert seen(guarded.nobody) == set()


@pytest.mark.parametrize("service", ["topics", "relay", "consume"])
def test_a_wrong_password_is_refused(guarded: Guarded, service: str) -> None:
    wrong = replace(getattr(guarded, service), password="zoute drop")
    with pytest.raises(TopicError) as refusal, administering(wrong):
        pass
    assert "zoute drop" not in str(refusal.value)


def test_a_broker_without_an_authorizer_gives_no_rights_and_that_is_said(broker: Broker) -> None:
    with pytest.raises(TopicError, match="authorizer"):
        give_rights(KafkaSettings(broker.bootstrap_servers), "relay", "consumer")
