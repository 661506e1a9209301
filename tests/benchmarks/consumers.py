"""Two consumers that share eight partitions, beside one that has them all: what an event costs.

On two cores there is nothing to be gained in time, so that what is compared is CPU time of the consumers,
from when they stand ready until they hold everything: one consumer's over that of two, at least 1 / 1.1.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path

from registry.kafka.relay import Carrier
from registry.kafka.settings import KafkaSettings
from registry.kafka.topic_ends import Tail
from registry.kafka.transactions import producing
from registry.postgres.connections import connect
from tests.benchmarks import material
from tests.benchmarks.candidates import environment, saying
from tests.benchmarks.measure import Compared, Goal, take_turns
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.servers import Server
from tests.benchmarks.topics import new_topics
from tests.kafka.topics import TRANSACTIONAL_ID

PARTITIONS = 8
JOIN_SECONDS = 8
PATIENCE_SECONDS = 180


def measure(server: Server, folder: Path, kafka: KafkaSettings, log: str, rounds: int) -> Compared:
    compared = Compared(
        f"events per CPU second, two consumers, P = {PARTITIONS}",
        "events/s",
        "one consumer",
        Goal(1 / 1.1, 1),
    )

    def events_per_cpu_second(count: int) -> float:
        url = server.copy(log)
        new_topics(url, kafka, PARTITIONS)
        settings = environment(
            url, folder, "registry_stream", REGISTRY_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers
        )
        with ExitStack() as stack:
            pids = [
                stack.enter_context(saying("consume", settings, b"following Kafka")).pid for _ in range(count)
            ]
            time.sleep(JOIN_SECONDS)
            before = sum(cpu_seconds(pid) for pid in pids)
            _relay(url, kafka)
            _settled(url)
            return material.size_of_log(url) / (sum(cpu_seconds(pid) for pid in pids) - before)

    return take_turns(
        compared, min(rounds, 3), lambda: events_per_cpu_second(2), lambda: events_per_cpu_second(1)
    )


def _relay(url: str, kafka: KafkaSettings) -> None:
    connection = connect(url, "registry_project")
    with closing(connection), connection.cursor() as cursor, producing(kafka, TRANSACTIONAL_ID) as producer:
        producer.init_transactions()
        carrier = Carrier(cursor, producer, kafka, [Tail()] * PARTITIONS, 0)
        while carrier.carry():
            pass


def _settled(url: str) -> None:
    deadline, last = time.monotonic() + PATIENCE_SECONDS, material.size_of_log(url)
    connection = connect(url)
    with closing(connection), connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT min(position) FROM read_model_position")
            if cursor.fetchone() == (last,):
                return
            time.sleep(0.05)
    raise RuntimeError("the consumers did not come to the end")
