"""What tests send to a broker and read from it, with the client that the registry has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from registry.kafka.settings import KafkaSettings

_DEFAULT = KafkaSettings("")
EVENTS, STATUSES, TRANSACTIONAL_ID = _DEFAULT.events, _DEFAULT.statuses, _DEFAULT.transactional_id


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers.split(",")

    def create(self, partitions: int = 1, replicas: int = 1) -> str:
        """A new topic's name."""
        name = f"test-{uuid4()}"
        wanted = {name: {"num_partitions": partitions, "replication_factor": replicas}}
        with KafkaAdminClient(bootstrap_servers=self._servers) as client:
            client.create_topics(wanted)
        return name

    def partitions(self, topic: str) -> set[int]:
        """Empty where there is no such topic; asks as a client that would have it made."""
        with KafkaConsumer(bootstrap_servers=self._servers) as consumer:
            return set(consumer.partitions_for_topic(topic) or ())

    @contextmanager
    def producer(self, transactional_id: str) -> Iterator[Any]:
        """A producer that has fenced those before it under the same name."""
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            transactional_id=transactional_id,
            enable_idempotence=True,
            acks="all",
        )
        try:
            producer.init_transactions()
            yield producer
        finally:
            producer.close(timeout=10)

    def send(self, topic: str, *values: bytes) -> None:
        """All in one transaction."""
        with self.producer(f"{topic}-sender") as producer:
            producer.begin_transaction()
            for value in values:
                producer.send(topic, value)
            producer.commit_transaction()

    def records(self, topic: str, partitions: Sequence[int] = (0,)) -> list[Any]:
        """Every committed record from the first to the last."""
        with KafkaConsumer(
            bootstrap_servers=self._servers, isolation_level="read_committed", auto_offset_reset="none"
        ) as consumer:
            wanted = [TopicPartition(topic, each) for each in partitions]
            consumer.assign(wanted)
            consumer.seek_to_beginning(*wanted)
            ends = consumer.end_offsets(wanted)
            found: list[Any] = []
            while any(consumer.position(each) < ends[each] for each in wanted):
                for records in consumer.poll(timeout_ms=1000).values():
                    found += records
            return found

    def values(self, topic: str) -> list[bytes]:
        return [record.value for record in self.records(topic)]
