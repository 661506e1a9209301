"""Who reads along on the topic while everything fails: an outsider, with the client as it comes."""

from __future__ import annotations

import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.end_to_end.client import until

TOPIC = "registry.events.v1"
AGAIN_SECONDS = 0.5


class Seen(NamedTuple):
    """A record as a reader met it."""

    offset: int
    position: int
    kind: str
    digest: int


def seen(record: Any) -> Seen:
    headers = dict(record.headers)
    digest = zlib.crc32(repr((record.key, record.value, record.headers)).encode())
    return Seen(record.offset, int(headers["ce_position"]), headers["ce_type"].decode(), digest)


class Observer:
    """Polls every partition, of what is committed; after an error it goes on from the offset that it had."""

    def __init__(self, servers: str, partitions: int) -> None:
        self._servers = servers.split(",")
        self._partitions = [TopicPartition(TOPIC, each) for each in range(partitions)]
        self.seen: dict[int, list[Seen]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._thread.start()

    def stop(self, ends: Sequence[int], seconds: float = 60) -> None:
        """Waits until it has seen the records at these offsets, the last of each partition, and ends."""
        try:
            until(lambda: self._at() >= list(ends), seconds, f"an observer at {ends}; it is at {self._at()}")
        finally:
            self._leaving.set()
            self._thread.join(30)

    def _at(self) -> list[int]:
        return [self._next(each) - 1 for each in self._partitions]

    def _next(self, partition: TopicPartition) -> int:
        found = self.seen[partition.partition]
        return found[-1].offset + 1 if found else 0

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                self._observe()
            except (KafkaError, OSError) as error:
                self.errors[type(error).__name__] += 1
                self._leaving.wait(AGAIN_SECONDS)

    def _observe(self) -> None:
        with closing(self._consumer()) as consumer:
            consumer.assign(self._partitions)
            for each in self._partitions:
                consumer.seek(each, self._next(each))
            while not self._leaving.is_set():
                for partition, records in consumer.poll(timeout_ms=200).items():
                    self.seen[partition.partition] += [seen(record) for record in records]

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=5_000,
            metrics_enabled=False,
        )
