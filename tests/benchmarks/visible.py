"""How long after its acknowledgement an award is visible through Kafka, at 300 awards a second."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import closing
from pathlib import Path

from registry.kafka.settings import KafkaSettings
from registry.postgres.connections import connect
from tests import support
from tests.benchmarks import material
from tests.benchmarks.candidates import Serving, asked, environment, saying, serving
from tests.benchmarks.measure import Result, Seen
from tests.benchmarks.servers import Server
from tests.benchmarks.topics import new_topics

RATE = 300
SECONDS = 15
CLIENTS = 6
MODELS = ("badges", "statistics")


def measure(server: Server, folder: Path, kafka: KafkaSettings) -> list[Result]:
    url = server.registry()
    new_topics(url, kafka, 1)
    more = {"REGISTRY_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    settings = environment(url, folder, "registry_stream", **more)
    with (
        serving(url, folder, **more) as served,
        saying("relay", settings, b"relaying"),
        saying("consume", settings, b"following Kafka"),
    ):
        registrar, token = served.token("registrar"), served.token("institution", material.BRIN)
        asked(served.port, "PUT", f"/v1/institutions/{material.BRIN}", registrar, support.INSTITUTION)
        asked(served.port, "POST", "/v1/modules", token, support.MODULE)
        served.settle(60)
        acknowledged, seen = _award(served, token)
    millis = sorted(1000 * (_first(seen, position) - at) for position, at in acknowledged.items())
    more_seen = {"awards": len(millis), "p50": millis[len(millis) // 2], "max": millis[-1]}
    p99 = millis[len(millis) * 99 // 100]
    return [
        Seen(f"acknowledged until visible through Kafka, {RATE}/s, p99", "ms", p99, 2_000, more=more_seen)
    ]


def _award(served: Serving, token: str) -> tuple[dict[int, float], list[tuple[float, int]]]:
    """When each position was acknowledged, and when which one was visible."""
    acknowledged: dict[int, float] = {}
    watch = _Watch(served.url)
    threads = [
        threading.Thread(target=_client, args=(served.port, token, number, acknowledged))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged, watch.stop(max(acknowledged))


def _client(port: int, token: str, number: int, acknowledged: dict[int, float]) -> None:
    """Its part of the rate, evenly."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    began = time.perf_counter()
    for turn in range(RATE * SECONDS // CLIENTS):
        time.sleep(max(0.0, began + turn * CLIENTS / RATE - time.perf_counter()))
        learner = {"eduId": f"visible-{number}-{turn}", "name": "A. Jansen"}
        body = json.dumps(support.award(f"visible-{number}-{turn}", learner=learner))
        connection.request("POST", "/v1/badges", body, headers)
        answer = json.loads(connection.getresponse().read())
        acknowledged[answer["position"]] = time.perf_counter()
    connection.close()


class _Watch:
    """Sees how far the read models have come, every few milliseconds."""

    def __init__(self, url: str) -> None:
        self._url, self._last = url, threading.Event()
        self._seen: list[tuple[float, int]] = []
        self._wanted = 2**62
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        connection = connect(self._url)
        with closing(connection), connection.cursor() as cursor:
            while not self._seen or self._seen[-1][1] < self._wanted:
                cursor.execute(
                    "SELECT min(position) FROM read_model_position WHERE name = ANY(%s)", (list(MODELS),)
                )
                (position,) = cursor.fetchone() or (0,)
                self._seen.append((time.perf_counter(), position))
                time.sleep(0.004)

    def stop(self, wanted: int) -> list[tuple[float, int]]:
        """What it saw, once everything was visible."""
        self._wanted = wanted
        self._thread.join(60)
        return self._seen


def _first(seen: list[tuple[float, int]], position: int) -> float:
    """The moment at which a position was visible first."""
    low, high = 0, len(seen) - 1
    while low < high:
        middle = (low + high) // 2
        if seen[middle][1] >= position:
            high = middle
        else:
            low = middle + 1
    return seen[low][0]
