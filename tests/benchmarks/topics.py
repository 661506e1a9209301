"""The registry's topics on the benchmark's broker."""

from __future__ import annotations

from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import make_topics
from registry.postgres.connections import connect


def new_topics(url: str, kafka: KafkaSettings, partitions: int) -> None:
    """Empty ones, in the place of those that were there."""
    owner = connect(url)
    make_topics(owner, kafka, partitions, repartition_because="measured anew")
    owner.close()
