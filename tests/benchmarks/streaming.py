"""The way through Kafka: relaying, and projecting what was relayed, each beside the same without us.

One broker, and a log of awards of which one in ten was revoked. The relay's peer is a bare transactional
producer that sends the same records, made beforehand, as many in a transaction. The peer of projecting from
Kafka projects the same events from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from consumers.projector import at_work
from deploy.kafka.broker import Broker
from registry.cli.stream import projectors
from registry.kafka.relay import Carrier
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import Tail
from registry.kafka.transactions import producing
from registry.postgres.connections import Pool, connect
from tests.benchmarks import consumers, material, visible
from tests.benchmarks.measure import Compared, Goal, Result, take_turns
from tests.benchmarks.projecting import EVENTS, fill
from tests.benchmarks.servers import Server
from tests.benchmarks.topics import new_topics
from tests.kafka.topics import TRANSACTIONAL_ID

PROJECTED = 100_000
"""To join the group of consumers takes half a second: of the time for so many events it is little."""
PATIENCE_SECONDS = 120


def measure(server: Server, folder: Path, rounds: int) -> Iterator[Result]:
    broker = Broker(folder)
    broker.start()
    try:
        kafka, log = KafkaSettings(broker.bootstrap_servers), server.registry()
        fill(log)
        new_topics(log, kafka, 1)
        yield _relaying(kafka, log, rounds)
        yield _projecting(server, kafka, rounds)
        yield consumers.measure(server, folder, kafka, log, rounds)
        yield from visible.measure(server, folder, kafka)
    finally:
        broker.stop()


def _relaying(kafka: KafkaSettings, log: str, rounds: int) -> Compared:
    compared = Compared("relaying to Kafka", "events/s", "a bare transactional producer", Goal(0.6, 0.8))
    sent = _Kept()
    _carry(log, kafka, sent)
    pages = sent.pages

    def ours() -> float:
        new_topics(log, kafka, 1)
        with producing(kafka, TRANSACTIONAL_ID) as producer:
            producer.init_transactions()
            return EVENTS / _timed(partial(_carry, log, kafka, producer))

    def peer() -> float:
        new_topics(log, kafka, 1)
        with producing(kafka, TRANSACTIONAL_ID) as producer:
            producer.init_transactions()
            return EVENTS / _timed(partial(_send, producer, pages))

    return take_turns(compared, rounds, ours, peer)


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _carry(log: str, kafka: KafkaSettings, producer: Any) -> None:
    connection = connect(log, "registry_project")
    with closing(connection), connection.cursor() as cursor:
        carrier = Carrier(cursor, producer, kafka, [Tail()], 0)
        while carrier.carry():
            pass


class _Kept:
    """Stands for a producer, and keeps what each transaction would send."""

    def __init__(self) -> None:
        self.pages: list[list[tuple[Any, ...]]] = []

    def begin_transaction(self) -> None:
        self.pages.append([])

    def send(self, *record: Any) -> _Kept:
        self.pages[-1].append(record)
        return self

    def succeeded(self) -> bool:
        """Of what was sent: as the client's future says it."""
        return True

    def flush(self) -> None:
        """Nothing was sent."""

    def commit_transaction(self) -> None:
        """Nothing was sent."""


def _send(producer: KafkaProducer, pages: Sequence[Sequence[tuple[Any, ...]]]) -> None:
    for page in pages:
        producer.begin_transaction()
        for record in page:
            producer.send(*record)
        producer.commit_transaction()


def _projecting(server: Server, kafka: KafkaSettings, rounds: int) -> Compared:
    compared = Compared("projecting from Kafka", "events/s", "projecting from the store", Goal(0.6, 0.8))
    log = server.registry()
    fill(log, PROJECTED)
    new_topics(log, kafka, 1)
    with producing(kafka, TRANSACTIONAL_ID) as producer:
        producer.init_transactions()
        _carry(log, kafka, producer)
    ours, peer = partial(_project, server, log, kafka), partial(_project, server, log, None)
    return take_turns(compared, rounds, ours, peer)


def _project(server: Server, log: str, kafka: KafkaSettings | None) -> float:
    """All read models at once, as `registry consume` has them, from the first that moves to the end."""
    url = server.copy(log)
    last = material.size_of_log(url)
    pool = Pool(url, "registry_project", 4)
    with closing(pool), at_work(projectors(url, pool, kafka)):
        began = _when(url, lambda positions: max(positions) > 0)
        ended = _when(url, lambda positions: min(positions) == last)
    return last / (ended - began)


def _when(url: str, reached: Callable[[Sequence[int]], bool]) -> float:
    """The moment at which the positions of the read models are so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection = connect(url)
    with closing(connection), connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT position FROM read_model_position")
            if reached([position for (position,) in cursor.fetchall()]):
                return time.perf_counter()
            time.sleep(0.002)
    raise RuntimeError("the read models did not come so far")
