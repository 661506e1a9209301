"""A registry whose log goes through Kafka, in this process: the relay and the consumers as threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from kafka import KafkaAdminClient

from consumers.kafka_feed import KafkaSource
from consumers.projector import Projector, at_work, projectors_of
from projections.read_model import ReadModel
from registry.cli.stream import projectors
from registry.kafka.records import Headers
from registry.kafka.relay import Relay
from registry.kafka.settings import KafkaSettings
from registry.kafka.topics import make_first_topics, make_topics
from registry.postgres.connections import Pool
from tests.kafka.topics import Topics
from tests.postgres.log import connection, later, until, whole_log
from tests.postgres.projecting import positions

PARTITIONS = (1, 8)


class Streaming:
    """One registry, and the topics that it has for itself on the shared broker."""

    def __init__(self, url: str, servers: str, kafka: KafkaSettings | None = None) -> None:
        self.url, self.kafka, self.topics = url, kafka or KafkaSettings(servers), Topics(servers)
        self.said: list[str] = []

    def delete_topics(self) -> None:
        names = {self.kafka.events, self.kafka.statuses}
        with KafkaAdminClient(**self.kafka.client()) as client:
            if there := set(client.list_topics()) & names:
                client.delete_topics(sorted(there))
            until(lambda: not set(client.list_topics()) & names)

    def make_topics(self, partitions: int, *, repartition: bool = False) -> None:
        with connection(self.url) as owner:
            assert (
                make_topics(
                    owner, self.kafka, partitions, repartition_because="a test" if repartition else None
                )
                == partitions
            )

    @contextmanager
    def relaying(self) -> Iterator[Relay]:
        """A relay at work until the block ends, as the command has it; what ended it is raised there."""
        with connection(self.url) as owner:
            make_first_topics(owner, self.kafka)
        relay = Relay(self.url, self.kafka, self.said.append)
        running = later(relay.run)
        try:
            yield relay
        finally:
            relay.leave()
            running.result(30)

    @contextmanager
    def consuming(self, models: Sequence[ReadModel] | None = None) -> Iterator[list[Projector]]:
        """A consumer of these read models, or as `registry consume` has them, until the block ends."""
        pool = Pool(self.url, "registry_project", 4)
        if models is None:
            started = projectors(self.url, pool, self.kafka)
        else:
            started = projectors_of(self.url, KafkaSource(self.kafka), models)
        with closing(pool), at_work(started):
            yield started

    def relay_all(self) -> None:
        """Carries what the log holds now."""
        with self.relaying():
            self.settled()

    def settled(self) -> None:
        """Waits until the topic holds the whole log."""
        last = len(whole_log(self.url))
        until(lambda: self.relayed() == last)

    def relayed(self) -> int:
        with connection(self.url) as opened, opened.cursor() as cursor:
            cursor.execute("SELECT relayed FROM stream")
            (found,) = cursor.fetchone() or (0,)
            return int(found)

    def projected(self, *names: str) -> None:
        """Waits until these read models, or all, hold the whole log."""
        last = len(whole_log(self.url))
        until(
            lambda: all(at == last for name, at in positions(self.url).items() if not names or name in names)
        )

    def carried(self, partitions: int) -> dict[int, list[tuple[Headers, bytes | None, bytes]]]:
        """By partition, headers, value and key of every record, committed, of the topic of events."""
        found: dict[int, list[tuple[Headers, bytes | None, bytes]]] = defaultdict(list)
        for record in self.topics.records(self.kafka.events, range(partitions)):
            found[record.partition].append((list(record.headers), record.value, record.key))
        return found
