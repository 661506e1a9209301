"""Whether a broker of Kafka answers, for readiness and metrics: asked at each question, never for long."""

from __future__ import annotations

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from registry.kafka.settings import KafkaSettings

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0


class Brokers:
    """The brokers by which a process finds Kafka."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._servers = kafka.bootstrap_servers.split(",")
        self._threads = ThreadPoolExecutor(1, "kafka-brokers")
        self._asking: Future[bool] | None = None

    def answer(self) -> bool:
        """Whether one accepts a connection within `ANSWER_SECONDS`."""
        # To look up a host's name has no time limit: a look-up that hangs is waited for by one thread only.
        if self._asking is None or self._asking.done():
            self._asking = self._threads.submit(self._one_accepts)
        try:
            return self._asking.result(ANSWER_SECONDS)
        except TimeoutError:
            return False

    def _one_accepts(self) -> bool:
        for server in self._servers:
            host, _, port = server.strip().rpartition(":")
            with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
                return True
        return False
